"""`pytest tests/runner/test_release.py`: intermediate files that are freed once they are used up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import run_works as works

from dolma.data import streams
from dolma.errors import Unfinished
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.runner.stage import open_stage
from dolma.runner.task import Task, TaskResult

ONE = RunOptions(workers=1)


class Stopped(KeyboardInterrupt):
    """Stands for a kill: nothing of ours catches it."""


class Stages:
    """parts -> join -> copy, of which the parts are released after the join; `done` are the tasks that ran."""

    def __init__(self, folder: str, *, options: RunOptions = ONE, stop_in: str = "") -> None:
        self.folder, self.options, self.stop_in, self.done = folder, options, stop_in, []

    def run(self) -> StageReport[None]:
        with open_stage([works.file_set(self.folder)], options=self.options) as stage:
            stage.leave_if_complete()
            self.work = stage.work_folder
            parts = stage.run("parts", works.tasks_of(works.names(4)), self._write)
            self._stop("parts")
            stage.run("join", [Task(key="all", size=1, spec=[part.payload["name"] for part in parts])], self._join)
            self._stop("join")
            stage.release("parts", below="parts/")
            self._stop("release")
            copied = stage.run("copy", [Task(key="copy", size=1, spec="all.txt")], self._copy)
            self._stop("copy")
            return stage.finish([*parts, *copied])
        return stage.report()

    def _stop(self, after: str) -> None:
        if after == self.stop_in:
            raise Stopped

    def _write(self, name: str) -> TaskResult:
        self.done.append(name)
        made = works.Write(folder=f"{self.work}/parts")(name)
        (out,) = made.outputs
        made.outputs = [works.OutputFile(set=self.work, path=f"parts/{out.path}", bytes=out.bytes, checksum="")]
        return made

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


def stopped(folder: str, where: str) -> None:
    with pytest.raises(Stopped):
        Stages(folder, stop_in=where).run()


@pytest.mark.parametrize("where", ["parts", "join", "release", "copy"])
def test_a_run_that_is_stopped_does_no_phase_again(folder: str, whole: dict[str, bytes], where: str) -> None:
    stopped(folder, where)
    assert parts_of(folder) == (
        [f"{name}.txt" for name in sorted(works.names(4))] if where in ("parts", "join") else []
    )
    again = Stages(folder)
    again.run()
    assert again.done == {"parts": ["join", "copy"], "join": ["copy"], "release": ["copy"], "copy": []}[where]
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
    again = Stages(folder, stop_in="release")
    with pytest.raises(Stopped):
        again.run()
    assert (parts_of(folder), again.done) == ([], [])


def test_a_released_phase_is_done_again_if_its_reader_has_lost_an_output(folder: str, whole: dict[str, bytes]) -> None:
    stopped(folder, "release")
    os.unlink(f"{folder}/.work/all.txt")
    again = Stages(folder)
    again.run()
    assert again.done == [*works.names(4), "join", "copy"]
    assert works.contents(folder) == whole


def test_one_shard_frees_files_after_the_barrier(folder: str, whole: dict[str, bytes]) -> None:
    def attempt(i: int) -> list[str]:
        stages = Stages(folder, options=RunOptions(workers=1, shard=(i, 2), wait=False))
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
