"""Many runs become few, as phases of a stage. Run: pytest tests/runner/test_merging.py"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma.data import exchange, streams
from dolma.data.exchange import END_OF_KEYS, Partition, RunFile, RunWriter, Table, prefix_bounds, read_sorted
from dolma.data.manifest import FileSet
from dolma.runner.merging import partitioned
from dolma.runner.options import RunOptions
from dolma.runner.stage import StageRun, open_stage
from dolma.runner.task import Task, TaskResult, Work

TABLE = Table(name="t", schema=pa.schema([("key", pa.uint64()), ("n", pa.int64())]), key=("key",))
N_ROWS = 50


def write(work: str, n_files: int) -> list[RunFile]:
    rng = np.random.default_rng(0)
    files = []
    for number in range(n_files):
        keys = rng.integers(0, END_OF_KEYS, N_ROWS, dtype=np.uint64)
        keys[:3] = 7
        arrays = [pa.array(keys), pa.array(np.arange(number * N_ROWS, (number + 1) * N_ROWS))]
        with RunWriter(TABLE, work, f"{number:06d}") as out:
            out.add(pa.RecordBatch.from_arrays(arrays, schema=TABLE.schema))
        files.append(out.file)
    return files


def opened(folder: Path) -> StageRun:
    file_set = FileSet(folder=str(folder / "out"), stage="test", name="test", config={}, inputs=[])
    return open_stage([file_set], options=RunOptions(workers=1))


def records(work: str, parts: Sequence[Partition]) -> list[tuple[int, int]]:
    batches = [batch for part in parts for batch in read_sorted(TABLE, work, part)]
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(("n_files", "phases"), [(3, 0), (4, 0), (5, 1), (17, 2), (65, 3)])
@pytest.mark.parametrize("n_parts", [1, 20])
def test_records_come_out_in_order_from_a_few_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_files: int, phases: int, n_parts: int
) -> None:
    monkeypatch.setattr(exchange, "FAN_IN", 4)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 100)
    ran: list[str] = []
    run = StageRun.run

    def noting(self: StageRun, phase: str, tasks: Sequence[Task], work: Work, **given: Any) -> list[TaskResult]:
        ran.append(phase)
        return run(self, phase, tasks, work, **given)

    monkeypatch.setattr(StageRun, "run", noting)
    with opened(tmp_path) as stage:
        files = write(stage.work_folder, n_files)
        parts = partitioned(stage, TABLE, files, prefix_bounds(n_parts), memory=exchange.MEMORY)
        found = records(stage.work_folder, parts)
        (whole,) = exchange.partitions(TABLE, stage.work_folder, files, [0, END_OF_KEYS])
        assert found == records(stage.work_folder, [whole])
    assert len(found) == n_files * N_ROWS and found == sorted(found)
    assert [phase for phase in ran if phase.startswith("merge-t-")] == [f"merge-t-{i + 1}" for i in range(phases)]
    assert max(len(part.stretches) for part in parts) <= 4


def test_short_stretches_are_sorted_into_ranges_first(tmp_path: Path) -> None:
    with opened(tmp_path) as stage:
        files = write(stage.work_folder, 10)
        parts = partitioned(stage, TABLE, files, prefix_bounds(100), memory=1000)
        assert records(stage.work_folder, parts) == sorted(records(stage.work_folder, parts))
    assert sum(len(part.stretches) for part in parts) < 120
    assert len({path for part in parts for path in part.paths}) > 3


def test_a_merge_of_other_files_is_another_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FAN_IN", 4)
    for n_files in (9, 10):
        with opened(tmp_path) as stage:
            files = write(stage.work_folder, n_files)
            parts = partitioned(stage, TABLE, files, [0, END_OF_KEYS], memory=exchange.MEMORY)
            firsts = [n for _, n in records(stage.work_folder, parts) if n % N_ROWS == 0]
            assert firsts == list(range(0, n_files * N_ROWS, N_ROWS))


def test_a_merge_that_was_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FAN_IN", 4)
    with opened(tmp_path) as stage:
        files = write(stage.work_folder, 9)
        first = partitioned(stage, TABLE, files, [0, END_OF_KEYS], memory=exchange.MEMORY)
    written = sorted(path for path in (tmp_path / "out" / ".work").rglob("*") if path.is_file())
    times = [path.stat().st_mtime_ns for path in written]
    with opened(tmp_path) as stage:
        again = partitioned(stage, TABLE, files, [0, END_OF_KEYS], memory=exchange.MEMORY)
    assert [part.paths for part in again] == [part.paths for part in first]
    assert [path.stat().st_mtime_ns for path in written] == times


@pytest.mark.slow
def test_twenty_thousand_producers_are_read_a_few_times_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_files, n_reads = 20_000, 0
    read_chunks = streams.read_chunks

    def counting(path: str, **given: Any) -> Iterator[bytes]:
        nonlocal n_reads
        n_reads += 1  # to open it counts too
        for chunk in read_chunks(path, **given):
            n_reads += 1
            yield chunk

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(streams, "read_chunks", counting)
    with opened(tmp_path) as stage:
        files = []
        for number in range(n_files):
            keys = pa.array(np.array([number * 7919 % n_files], np.uint64))
            with RunWriter(TABLE, stage.work_folder, f"{number:06d}") as out:
                out.write_run([pa.RecordBatch.from_arrays([keys, pa.array([number])], schema=TABLE.schema)])
            files.append(out.file)
        parts = partitioned(stage, TABLE, files, [0, n_files // 2, END_OF_KEYS], memory=exchange.MEMORY)
        found = records(stage.work_folder, parts)
    assert [key for key, _ in found] == list(range(n_files))
    assert n_reads < 2.2 * n_files
