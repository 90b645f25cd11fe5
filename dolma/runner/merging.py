"""From the files of one phase to the partitions of the next, by way of as many merges as that takes.

Tasks are named after what they merge, so that a run that is taken up with other files never takes an old merge for a
new one. Merges are phases like any other: shared by workers, and done once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dolma.data import exchange
from dolma.data.exchange import Partition, RunFile, RunWriter, Table, read_sorted
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRuns:
    """Makes one run of several. Called with (name of the new file, what it shall hold)."""

    table: Table
    work: str
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        with RunWriter(self.table, self.work, name) as out:
            out.write_run(read_sorted(self.table, self.work, partition, memory=self.memory))
        return TaskResult(outputs=out.outputs, payload={"file": msgspec.to_builtins(out.file)})


def partitioned(
    stage: StageRun, table: Table, files: Sequence[RunFile], bounds: Sequence[int], *, memory: int
) -> list[Partition]:
    """What lies between each bound and the next one: of at most `FAN_IN` runs, in stretches worth a read.

    Raises:
        DataError: a file is not what an earlier phase wrote.
    """
    files = merged(stage, table, files, memory=memory)
    n_runs, n_bytes = sum(len(file.runs) for file in files), sum(file.index for file in files)
    n_readers = len(bounds) - 1
    if n_runs > 1 and n_runs * n_readers * exchange.BLOCK_BYTES > 2 * n_bytes and n_readers > 1:
        # So many short stretches that to read each takes longer than to put the records in order once more.
        n_ranges = min(n_readers, 1 + n_bytes // memory)
        ranges = [bounds[n_readers * i // n_ranges] for i in range(n_ranges + 1)]
        parts = exchange.partitions(table, stage.work_folder, files, ranges)
        files = _merge(stage, f"sort-{table.name}", table, parts, memory=memory)
    return exchange.partitions(table, stage.work_folder, files, bounds)


def merged(stage: StageRun, table: Table, files: Sequence[RunFile], *, memory: int) -> Sequence[RunFile]:
    """The same records in at most `FAN_IN` runs."""
    n_passes = 0
    while sum(len(file.runs) for file in files) > exchange.FAN_IN:
        n_passes += 1
        groups = exchange.whole_runs(files).in_parts(exchange.FAN_IN)
        files = _merge(stage, f"merge-{table.name}-{n_passes}", table, groups, memory=memory)
    return files


def _merge(stage: StageRun, phase: str, table: Table, parts: Sequence[Partition], *, memory: int) -> list[RunFile]:
    tasks = []
    for number, part in enumerate(parts):
        name = f"{phase}/{number:06d}-{part.fingerprint}"
        tasks.append(Task(key=name, size=part.n_bytes, spec=(name, part)))
    results = stage.run(phase, tasks, MergeRuns(table=table, work=stage.work_folder, memory=memory))
    return [msgspec.convert(result.payload["file"], RunFile) for result in results]
