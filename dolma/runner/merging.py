"""From the files of one phase to the partitions of the next, by way of as many merges as that takes.

Tasks are named after what they merge, so that a run that is taken up with other files never takes an old merge for a
new one. Merges are phases like any other: shared by workers, and done once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import xxhash

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPartitions:
    """Looks up what lies between bounds. Called with (files, bounds)."""

    table: Table
    work: str

    def __call__(self, spec: tuple[Sequence[RunFile], Sequence[int]]) -> TaskResult:
        parts = exchange.partitions(self.table, self.work, *spec)
        return TaskResult(payload={"stretches": [part.stretches.astype("<i8").tobytes() for part in parts]})


def partitioned(
    stage: StageRun,
    table: Table,
    files: Sequence[RunFile],
    bounds: Sequence[int],
    *,
    memory: int,
    before: Sequence[RunFile] = (),
) -> list[Partition]:
    """What lies between each bound and the next one: of at most `FAN_IN` runs, in stretches worth a read.

    `before` are files that come before all others and are not merged: of each range of keys one has nearly all.

    Files that were merged are freed. The phase that reads the partitions `uses_up` the folder `table.name`, if it is
    the last one to.

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
        parts = _planned(stage, f"plan-sort-{table.name}", table, files, ranges)
        files = _merge(stage, f"sort-{table.name}", table, parts, memory=memory)
    return _planned(stage, f"plan-{table.name}", table, [*before, *files], bounds)


def _planned(
    stage: StageRun, phase: str, table: Table, files: Sequence[RunFile], bounds: Sequence[int]
) -> list[Partition]:
    whole = exchange.whole_runs(files)
    if len(bounds) == 2:
        return [replace(whole, first=bounds[0], end=bounds[1])]
    key = xxhash.xxh3_64_hexdigest(f"{whole.fingerprint} {list(bounds)}".encode())
    task = Task(key=key, size=len(files), spec=(tuple(files), tuple(bounds)))
    planned = stage.plan(phase, task, PlanPartitions(table=table, work=stage.work_folder))
    found = msgspec.convert(planned.payload["stretches"], list[bytes])
    return [
        replace(whole, stretches=np.frombuffer(stretches, "<i8").reshape(-1, 3), first=first, end=end)
        for stretches, (first, end) in zip(found, itertools.pairwise(bounds), strict=True)
    ]


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
    merging = MergeRuns(table=table, work=stage.work_folder, memory=memory)
    results = stage.run(phase, tasks, merging, uses_up=(table.name,))
    return [msgspec.convert(result.payload["file"], RunFile) for result in results]
