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


Files = Sequence[RunFile]
Bounds = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPartitions:
    """Looks up what lies between bounds. Called with files and bounds, once or several times."""

    table: Table
    work: str

    def __call__(self, spec: Sequence[tuple[Files, Bounds]]) -> TaskResult:
        found = [exchange.partitions(self.table, self.work, files, bounds) for files, bounds in spec]
        return TaskResult(
            payload={"stretches": [[part.stretches.astype("<i8").tobytes() for part in parts] for parts in found]}
        )


def partitioned(
    stage: StageRun, table: Table, files: Files, bounds: Bounds, *, memory: int, before: Files = ()
) -> list[Partition]:
    """What lies between each bound and the next one: of at most `FAN_IN` runs, in stretches worth a read.

    `before` are files that come before all others and are not merged: of each range of keys one has nearly all.

    Files that were merged are freed. The phase that reads the partitions `uses_up` the folder `table.name`, if it is
    the last one to.

    Raises:
        DataError: a file is not what an earlier phase wrote.
    """
    (parts,) = partitioned_groups(stage, table, [files], [bounds], memory=memory, before=before)
    return parts


def partitioned_groups(
    stage: StageRun,
    table: Table,
    groups: Sequence[Files],
    bounds: Sequence[Bounds],
    *,
    memory: int,
    before: Files = (),
) -> list[list[Partition]]:
    """As `partitioned`, of several groups of files that share a folder, each with bounds of its own."""
    groups = _merged_groups(stage, table, groups, memory=memory)
    if any(_is_scattered(files, some) for files, some in zip(groups, bounds, strict=True)):
        ranges = [_ranges(files, some, memory=memory) for files, some in zip(groups, bounds, strict=True)]
        parts = _planned(stage, f"plan-sort-{table.name}", table, groups, ranges)
        groups = _merge(stage, f"sort-{table.name}", table, parts, memory=memory)
    return _planned(stage, f"plan-{table.name}", table, [[*before, *files] for files in groups], bounds)


def _is_scattered(files: Files, bounds: Bounds) -> bool:
    """Whether so many short stretches would be read that it takes longer than to put the records in order once more."""
    n_runs, n_bytes = sum(len(file.runs) for file in files), sum(file.n_bytes for file in files)
    n_readers = len(bounds) - 1
    return n_runs > 1 and n_runs * n_readers * exchange.BLOCK_BYTES > 2 * n_bytes and n_readers > 1


def _ranges(files: Files, bounds: Bounds, *, memory: int) -> Bounds:
    n_readers = len(bounds) - 1
    n_ranges = min(n_readers, 1 + sum(file.n_bytes for file in files) // memory)
    return [bounds[n_readers * i // n_ranges] for i in range(n_ranges + 1)]


def _planned(
    stage: StageRun, phase: str, table: Table, groups: Sequence[Files], bounds: Sequence[Bounds]
) -> list[list[Partition]]:
    wholes = [exchange.whole_runs(files) for files in groups]
    if all(len(some) == 2 for some in bounds):
        return [[replace(whole, first=some[0], end=some[1])] for whole, some in zip(wholes, bounds, strict=True)]
    told = [f"{whole.fingerprint} {list(some)}" for whole, some in zip(wholes, bounds, strict=True)]
    task = Task(
        key=xxhash.xxh3_64_hexdigest("\n".join(told).encode()),
        size=sum(map(len, groups)),
        spec=[(tuple(files), tuple(some)) for files, some in zip(groups, bounds, strict=True)],
    )
    planned = stage.plan(phase, task, PlanPartitions(table=table, work=stage.work_folder))
    found = msgspec.convert(planned.payload["stretches"], list[list[bytes]])
    return [
        [
            replace(whole, stretches=np.frombuffer(stretches, "<i8").reshape(-1, 3), first=first, end=end)
            for stretches, (first, end) in zip(parts, itertools.pairwise(some), strict=True)
        ]
        for whole, parts, some in zip(wholes, found, bounds, strict=True)
    ]


def merged(stage: StageRun, table: Table, files: Files, *, memory: int) -> Files:
    """The same records in at most `FAN_IN` runs."""
    (found,) = _merged_groups(stage, table, [files], memory=memory)
    return found


def _merged_groups(stage: StageRun, table: Table, groups: Sequence[Files], *, memory: int) -> Sequence[Files]:
    n_passes = 0
    while any(sum(len(file.runs) for file in files) > exchange.FAN_IN for files in groups):
        n_passes += 1
        parts = [exchange.whole_runs(files).in_parts(exchange.FAN_IN) for files in groups]
        groups = _merge(stage, f"merge-{table.name}-{n_passes}", table, parts, memory=memory)
    return groups


def _merge(
    stage: StageRun, phase: str, table: Table, groups: Sequence[Sequence[Partition]], *, memory: int
) -> list[Files]:
    """A file of each partition. All groups are merged together, as the files before are freed together."""
    tasks = []
    for number, part in enumerate(part for parts in groups for part in parts):
        name = f"{phase}/{number:06d}-{part.fingerprint}"
        tasks.append(Task(key=name, size=part.n_bytes, spec=(name, part)))
    merging = MergeRuns(table=table, work=stage.work_folder, memory=memory)
    results = iter(stage.run(phase, tasks, merging, uses_up=(table.name,)))
    return [[msgspec.convert(next(results).payload["file"], RunFile) for _ in parts] for parts in groups]
