"""Small tasks that are done as one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import run_works as works
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import DataError, Unfinished, WorkerError
from dolma.runner import together as module
from dolma.runner.options import RunOptions
from dolma.runner.stage import open_stage
from dolma.runner.task import Task, TaskResult, Work
from dolma.runner.together import GROUP_BYTES, grouped, together

N_FILES = 96
SPECS = works.names(N_FILES)


@given(st.lists(st.integers(0, 2 * GROUP_BYTES), max_size=200))
def test_groups_have_all_in_order_and_are_small(sizes: list[int]) -> None:
    groups = grouped(sizes)
    assert list(itertools.chain.from_iterable(groups)) == list(range(len(sizes)))
    assert all(len(group) == 1 or sum(sizes[i] for i in group) <= GROUP_BYTES for group in groups)


def test_few_have_a_task_each() -> None:
    assert grouped([1] * 32) == [[i] for i in range(32)]


def test_many_small_ones_are_32_tasks() -> None:
    assert [len(group) for group in grouped([100] * 3200)] == [100] * 32


def test_a_task_of_several_names_the_first_and_says_how_many_follow() -> None:
    first, second = together(small_tasks())[:2]
    assert (first.key, first.size, first.spec) == (SPECS[0], 30, tuple(SPECS[:3]))
    assert first.place(0) == f"/in/{SPECS[0]}, or one of the 2 after it"
    assert second.key == SPECS[3]


# --- as a phase -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture(autouse=True)
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is flushed in this process; nothing waits for the disk."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    return flushed


def small_tasks() -> list[Task]:
    return [replace(task, size=10) for task in works.tasks_of(SPECS)]


def run(folder: str, work: Work | None = None, **options: object) -> list[TaskResult]:
    chosen = RunOptions(**{"workers": 1, **options})  # type: ignore[arg-type]
    with open_stage([works.file_set(folder)], options=chosen) as stage:
        results = stage.run("write", small_tasks(), work or works.Write(folder=folder))
        stage.finish(results)
    return results


def said(results: Sequence[TaskResult]) -> list[object]:
    return [([out.path for out in result.outputs], result.ledger, result.payload["name"]) for result in results]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_has_the_result_and_the_files_that_it_has_alone(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = run(str(tmp_path / "joined"), workers=workers)
    monkeypatch.setattr(module, "grouped", lambda sizes: [[i] for i in range(len(sizes))])
    alone = run(str(tmp_path / "alone"))
    assert said(joined) == said(alone)
    assert works.contents(tmp_path / "joined") == works.contents(tmp_path / "alone")


def test_the_outputs_are_flushed_once_each_and_before_they_have_their_names(
    folder: str, flushed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    rename = os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (flushed.append(number), order.append("flush"))[0])
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(str(new)), rename(old, new))[1])
    run(folder)
    assert len(flushed) == N_FILES + 3  # what the run is, its heartbeat, the manifest
    for at, what in enumerate(order):
        if what.endswith(".txt"):
            assert order[:at].count("flush") >= len([name for name in order[: at + 1] if name.endswith(".txt")])


def test_there_is_a_record_for_each_group(folder: str) -> None:
    with open_stage([works.file_set(folder)], options=RunOptions(workers=1)) as stage:
        stage.run("write", small_tasks(), works.Write(folder=folder))
    assert len(list(Path(folder, ".journal", "write").iterdir())) == 32


def test_a_resumed_run_does_the_groups_that_are_not_done(folder: str) -> None:
    failing = works.Fail(write=works.Write(folder=folder), name=SPECS[50], known=True)
    with pytest.raises(DataError):
        run(folder, failing)
    there = {name for name in works.contents(folder) if name.endswith(".txt")}
    assert there == {f"{name}.txt" for name in SPECS[:48]}
    before = {name: Path(folder, name).stat().st_mtime_ns for name in there}
    run(folder)
    assert {name: Path(folder, name).stat().st_mtime_ns for name in there} == before
    assert {name for name in works.contents(folder) if name.endswith(".txt")} == {f"{name}.txt" for name in SPECS}


def test_no_file_of_a_group_that_fails_is_left(folder: str) -> None:
    with pytest.raises(DataError):
        run(folder, works.Fail(write=works.Write(folder=folder), name=SPECS[2], known=True))
    assert [name for name in works.contents(folder) if ".txt" in name] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_names_the_file_that_was_begun(folder: str, workers: int) -> None:
    failing = works.Fail(write=works.Write(folder=folder), name=SPECS[50], known=False)
    with pytest.raises(WorkerError, match=rf"^/in/{SPECS[50]}: ValueError: a defect\n"):
        run(folder, failing, workers=workers)


def test_a_worker_that_is_killed_twice_was_at_the_file_that_was_begun(folder: str, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    killing = works.KillOnce(write=works.Write(folder=folder), name=SPECS[50], marks=str(tmp_path / "marks"), times=9)
    with pytest.raises(WorkerError, match=rf"^/in/{SPECS[50]}: a worker process was killed by SIGKILL here twice"):
        run(folder, killing, workers=2)


@pytest.mark.parametrize("n_shards", [2, 3])
def test_shards_share_the_groups(tmp_path: Path, folder: str, n_shards: int) -> None:
    for i in reversed(range(1, n_shards + 1)):
        try:
            run(folder, shard=(i, n_shards), wait=False)
        except Unfinished:
            assert i > 1
    run(str(tmp_path / "whole"))
    made, whole = works.contents(folder), works.contents(tmp_path / "whole")
    assert {name: made[name] for name in whole} == whole
