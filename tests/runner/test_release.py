"""`pytest tests/runner/test_release.py`: intermediate files that are freed once they are used up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import run_works as works

from dolma.data import streams
from dolma.errors import DataError, Unfinished
from dolma.runner import journal
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.runner.stage import open_stage
from dolma.runner.task import Task, TaskResult

ONE = RunOptions(workers=1)


class Stopped(KeyboardInterrupt):
    """Stands for a kill: nothing of ours catches it."""


class Stages:
    """parts -> join -> copy, of which the join uses up the parts; `done` are the tasks that ran."""

    def __init__(self, folder: str, *, options: RunOptions = ONE, stop_in: str = "") -> None:
        self.folder, self.options, self.stop_in, self.done = folder, options, stop_in, []

    def run(self) -> StageReport[None]:
        with open_stage([works.file_set(self.folder)], options=self.options) as stage:
            stage.leave_if_complete()
            self.work = stage.work_folder
            parts = stage.run("parts", works.tasks_of(works.names(4)), self._write)
            self._stop("parts")
            joined = Task(key="all", size=1, spec=[part.payload["name"] for part in parts])
            stage.run("join", [joined], self._join, uses_up=("parts",))
            self._stop("join")
            copied = stage.run("copy", [Task(key="copy", size=1, spec="all.txt")], self._copy)
            self._stop("copy")
            return stage.finish([*parts, *copied])
        return stage.report()

    def _stop(self, after: str) -> None:
        if after == self.stop_in:
            raise Stopped

    def _write(self, name: str) -> TaskResult:
        self.done.append(name)
        return works.Write(folder=self.work, below="parts/")(name)

    def _join(self, names: list[str]) -> TaskResult:
        self.done.append("join")
        return works.Join(work_folder=f"{self.work}/parts", folder=self.work)(names)

    def _copy(self, name: str) -> TaskResult:
        self.done.append("copy")
        written = streams.concatenate([f"{self.work}/{name}"], f"{self.folder}/{name}")
        out = works.OutputFile(set=self.folder, path=name, bytes=written.bytes, checksum=written.checksum)
        return TaskResult(outputs=[out])


def parts_of(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder, ".work", "parts").glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    Stages(str(tmp_path / "whole")).run()
    return works.contents(tmp_path / "whole")


def stopped(folder: str, where: str, *, options: RunOptions = ONE) -> None:
    with pytest.raises(Stopped):
        Stages(folder, stop_in=where, options=options).run()


def shard(i: int) -> RunOptions:
    return RunOptions(workers=1, shard=(i, 2), wait=False)


@pytest.mark.parametrize("where", ["parts", "join", "copy"])
def test_a_run_that_is_stopped_does_no_phase_again(folder: str, whole: dict[str, bytes], where: str) -> None:
    stopped(folder, where)
    assert parts_of(folder) == ([f"{name}.txt" for name in sorted(works.names(4))] if where == "parts" else [])
    again = Stages(folder)
    again.run()
    assert again.done == {"parts": ["join", "copy"], "join": ["copy"], "copy": []}[where]
    assert works.contents(folder) == whole


def test_files_that_a_kill_has_left_are_removed_by_the_next_run(folder: str, monkeypatch) -> None:
    remove, removed = streams.remove, []

    def stop_at_the_third(path: str) -> None:
        if len(removed) == 2:
            raise Stopped
        removed.append(path)
        remove(path)

    monkeypatch.setattr(streams, "remove", stop_at_the_third)
    with pytest.raises(Stopped):
        Stages(folder).run()
    monkeypatch.setattr(streams, "remove", remove)
    assert len(parts_of(folder)) == 2
    again = Stages(folder, stop_in="join")
    with pytest.raises(Stopped):
        again.run()
    assert (parts_of(folder), again.done) == ([], [])


def test_a_released_phase_is_done_again_if_its_reader_has_lost_an_output(folder: str, whole: dict[str, bytes]) -> None:
    stopped(folder, "join")
    os.unlink(f"{folder}/.work/all.txt")
    again = Stages(folder)
    again.run()
    assert again.done == [*works.names(4), "join", "copy"]
    assert works.contents(folder) == whole


def test_one_shard_frees_files_after_the_barrier(folder: str, whole: dict[str, bytes]) -> None:
    def attempt(i: int) -> list[str]:
        stages = Stages(folder, options=shard(i))
        try:
            stages.run()
        except Unfinished:
            pass
        return stages.done

    names = works.names(4)
    assert attempt(2) == names[1::2]
    assert len(parts_of(folder)) == 2
    assert attempt(1) == [*names[0::2], "join", "copy"]
    assert attempt(2) == []
    assert works.contents(folder) == whole


def test_a_lost_output_is_made_again_by_the_shard_that_finds_it(folder: str, whole: dict[str, bytes]) -> None:
    """The one that made it may be in a later phase, and would never come back."""
    stopped(folder, "parts")
    os.unlink(f"{folder}/.work/parts/{works.names(4)[1]}.txt")
    again = Stages(folder, options=shard(1))
    again.run()
    assert again.done == [works.names(4)[1], "join", "copy"]
    assert works.contents(folder) == whole


def test_files_that_are_freed_while_they_are_looked_for_are_used_up(folder: str, monkeypatch) -> None:
    """A shard that is started again reads records while the first shard goes on."""
    stopped(folder, "parts")
    is_there, done = journal._is_there, []

    def free_first(out: works.OutputFile) -> bool:
        if not done:
            done.append(True)
            stopped(folder, "join", options=shard(1))
        return is_there(out)

    monkeypatch.setattr(journal, "_is_there", free_first)
    late = Stages(folder, options=shard(2), stop_in="join")
    with pytest.raises(Stopped):
        late.run()
    assert (late.done, parts_of(folder)) == ([], [])


def test_each_folder_of_a_phase_is_freed_by_itself(folder: str) -> None:
    def both(name: str) -> TaskResult:
        outputs = []
        for table in ("left", "right"):
            streams.write_bytes(f"{folder}/.work/{table}/{name}", b"x")
            outputs.append(works.OutputFile(set=f"{folder}/.work", path=f"{table}/{name}", bytes=1, checksum=""))
        done.append(name)
        return TaskResult(outputs=outputs)

    def read(spec: str) -> TaskResult:
        done.append(spec)
        return TaskResult()

    done: list[str] = []
    for attempt in range(2):
        with pytest.raises(Stopped), open_stage([works.file_set(folder)], options=ONE) as stage:
            stage.run("both", works.tasks_of(["a", "b"]), both)
            stage.plan("first", Task(key="first", size=1, spec="first"), read, uses_up=("left",))
            assert sorted(os.listdir(f"{folder}/.work/right")) == ["a", "b"] or attempt
            stage.plan("second", Task(key="second", size=1, spec="second"), read, uses_up=("right",))
            raise Stopped
    assert done == ["a", "b", "first", "second"]
    assert [path for path in Path(folder, ".work").rglob("*") if path.is_file()] == []


def planned(folder: str, options: RunOptions, work: Callable[[None], TaskResult]) -> dict[str, int]:
    with open_stage([works.file_set(folder)], options=options) as stage:
        return stage.plan("plan", Task(key="all", size=1, spec=None), work).payload


def test_a_shard_that_does_not_wait_plans_by_itself(folder: str) -> None:
    open_stage([works.file_set(folder)], options=shard(1)).__exit__(None, None, None)
    assert planned(folder, shard(2), lambda _: TaskResult(payload={"n": 3})) == {"n": 3}


def test_a_plan_whose_files_a_faster_shard_has_freed_is_taken_from_it(folder: str) -> None:
    def too_slow(_: None) -> TaskResult:
        planned(folder, shard(1), lambda _: TaskResult(payload={"n": 3}))
        return spoiled(None)

    def spoiled(_: None) -> TaskResult:
        raise DataError("is gone", file="a")

    open_stage([works.file_set(folder)], options=shard(1)).__exit__(None, None, None)
    with pytest.raises(DataError, match="is gone"):
        planned(folder, shard(2), spoiled)
    assert planned(folder, shard(2), too_slow) == {"n": 3}
