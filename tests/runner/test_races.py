"""`pytest tests/runner/test_races.py`: what one process does in a folder at the worst moment of another one.

The moment is made, not waited for: a function that the first one calls then is replaced by one that runs the other.
"""

# ruff: noqa: SIM117 - the inner block is the one that is expected to raise

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_works as works

from dolma.data import manifest as manifests
from dolma.data import streams
from dolma.errors import DataError, Unfinished
from dolma.runner import standing
from dolma.runner.heartbeat import statuses
from dolma.runner.lock import RunLock
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter
from dolma.runner.report import StageReport
from dolma.runner.stage import open_stage
from dolma.runner.task import Task, TaskResult

ONE = RunOptions(workers=1)
WORK = ".work"


def shard(i: int, n: int, *, take_over: tuple[int, ...] = (), wait: bool = False) -> RunOptions:
    return RunOptions(workers=1, shard=(i, n), wait=wait, take_over=take_over)


def attempt(run: Callable[[], object]) -> None:
    """Run, as far as the others allow."""
    try:
        run()
    except Unfinished:
        pass


def both(folder: str, options: RunOptions, reporter: NullReporter | None = None) -> StageReport[None]:
    return works.run_two_phases(folder, options=options, n_tasks=5, reporter=reporter)


def hidden(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).rglob(".*"))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    both(str(tmp_path / "whole"), ONE)
    return works.contents(tmp_path / "whole")


class Notes(NullReporter):
    """Keeps the notes; does something at the first one."""

    def __init__(self, step: Callable[[], object] = lambda: None) -> None:
        self.notes: list[str] = []
        self._step = step

    def note(self, text: str) -> None:
        self.notes.append(text)
        step, self._step = self._step, lambda: None
        step()


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, first: Callable[[], object]) -> None:
    """Have the next call of a function preceded by this."""
    function = getattr(owner, name)

    def preceded(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, name, function)
        first()
        return function(*arguments, **named)

    monkeypatch.setattr(owner, name, preceded)


# --- looks at a folder in which another run begins or ends ------------------------------------------------------------


def test_a_run_that_ends_while_its_outputs_are_listed_has_left_no_strangers_files(
    folder: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, standing, "own_files", lambda: both(folder, ONE))
    assert both(folder, ONE).complete_before
    assert works.contents(folder) == whole


def test_a_run_that_ends_just_before_the_folder_is_taken_leaves_nothing_hidden(
    folder: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, RunLock, "alone", lambda: both(folder, ONE))
    assert both(folder, ONE).complete_before
    assert works.contents(folder) == whole
    assert hidden(folder) == []


def test_a_heartbeat_that_goes_while_it_is_looked_for_is_left_out(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(lambda: both(folder, shard(1, 2)))
    attempt(lambda: both(folder, shard(2, 2)))
    (second,) = Path(folder, ".journal", "shards").glob("00002-*")
    list_files = streams.list_files

    def then_one_goes(path: str) -> list[str]:
        files = list_files(path)
        second.unlink()
        return files

    monkeypatch.setattr(streams, "list_files", then_one_goes)
    (status,) = statuses(folder)
    assert [beat.shard for beat in status.shards] == [1]


# --- shards that leave ------------------------------------------------------------------------------------------------


def test_work_files_stay_until_the_last_shard_has_left(folder: str, whole: dict[str, bytes]) -> None:
    attempt(lambda: both(folder, shard(1, 2)))
    with open_stage([works.file_set(folder)], options=shard(2, 2)) as second:
        parts = second.run("parts", works.tasks_of(works.names(5)), works.Write(folder=second.work_folder))
        assert both(folder, shard(1, 2)).outputs == 1
        assert Path(folder, "manifest.json").exists()
        assert Path(second.work_folder, "a-00.txt").exists()
        task = Task(key="all", size=1, spec=[part.payload["name"] for part in parts])
        joined = second.run("join", [task], works.Join(work_folder=second.work_folder, folder=folder))
        second.finish(parts + joined)
    assert second.report().outputs == 1
    assert works.contents(folder) == whole
    assert hidden(folder) == []


def test_a_shard_that_was_not_to_wait_and_is_overtaken_by_the_end_reports_it(
    folder: str, whole: dict[str, bytes]
) -> None:
    attempt(lambda: both(folder, shard(1, 2)))
    with open_stage([works.file_set(folder)], options=shard(2, 2)) as second:
        second.run("parts", works.tasks_of(works.names(5)), works.Write(folder=second.work_folder))
        both(folder, shard(1, 2))
        raise Unfinished("said a moment before")
    assert second.report().outputs == 1
    assert works.contents(folder) == whole
    assert hidden(folder) == []


def test_an_error_of_a_shard_whose_stage_others_have_finished_is_a_note(folder: str, whole: dict[str, bytes]) -> None:
    def fail(name: str) -> TaskResult:
        both(folder, shard(1, 2, take_over=(2,)))
        raise DataError("lost its connection", file="/in/b")

    notes = Notes()
    with open_stage([works.file_set(folder)], options=shard(2, 2), reporter=notes) as second:
        second.run("other", works.tasks_of(works.names(5)), fail)
    assert second.report().outputs == 1
    assert notes.notes == ["test: others have finished this meanwhile; here it ended with: /in/b: lost its connection"]
    assert works.contents(folder) == whole
    assert hidden(folder) == []


def test_an_error_of_a_shard_whose_tasks_nobody_else_has_done_stays_one(folder: str) -> None:
    attempt(lambda: both(folder, shard(1, 2)))
    work = works.Fail(write=works.Write(folder=folder), name="b-01", known=True)
    with pytest.raises(DataError, match="/in/b-01:7: not JSON"):
        with open_stage([works.file_set(folder)], options=shard(2, 2)) as second:
            second.run("parts", works.tasks_of(works.names(5)), work)


def test_a_shard_goes_on_whose_tasks_were_taken_over_and_their_inputs_freed(folder: str) -> None:
    names = works.names(4)

    def stage_of(options: RunOptions, copy: Callable[[str], TaskResult], reporter: NullReporter | None = None) -> None:
        with open_stage([works.file_set(folder)], options=options, reporter=reporter) as stage:
            work = works.Write(folder=stage.work_folder, below="parts/")
            stage.run("parts", works.tasks_of(names), work)
            copied = stage.run("copy", works.tasks_of(names), copy, uses_up=("parts",))
            stage.run("more", works.tasks_of([f"{name}-more" for name in names]), works.Write(folder=folder))
            stage.finish(copied)

    def copy(name: str) -> TaskResult:
        if not Path(folder, WORK, "parts", f"{name}.txt").exists():
            raise DataError("no such file", file=name)
        return TaskResult(payload={"name": name})

    def copy_late(name: str) -> TaskResult:
        attempt(lambda: stage_of(shard(1, 3, take_over=(2,)), copy))
        return copy(name)

    for i in (1, 3):
        attempt(lambda i=i: stage_of(shard(i, 3), copy))
    attempt(lambda: stage_of(shard(2, 3), lambda name: (_ for _ in ()).throw(Unfinished("stopped"))))
    attempt(lambda: stage_of(shard(3, 3), copy))
    notes = Notes()
    with pytest.raises(Unfinished, match="more: waiting for shard 3/3"):
        stage_of(shard(2, 3), copy_late, notes)
    assert notes.notes[-1].startswith("test: others have done copy meanwhile; here it ended with: b-01: no such file")


def test_of_two_shards_that_leave_the_last_one_is_alone(folder: str) -> None:
    first, second = (RunLock([f"{folder}/x", f"{folder}/y"], shard=True) for _ in range(2))
    assert first.shared() and second.shared()
    assert not first.alone()
    assert second.alone()
    second.discard()
    assert hidden(folder) == []


# --- shards that come -------------------------------------------------------------------------------------------------


def test_a_shard_waits_for_one_that_prepares_however_long_that_takes(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolma.runner.stage.WAIT_SECONDS", 0.0)
    other = RunLock([folder], shard=True)
    assert other.alone()
    with pytest.raises(Unfinished, match="test: waiting for another shard, which prepares the folders"):
        both(folder, shard(1, 1))
    notes = Notes(other.release)
    assert both(folder, shard(1, 1, wait=True), notes).outputs == 1
    assert notes.notes == ["test: waiting for another shard, which prepares the folders"]


def test_a_run_that_is_no_shard_is_waited_for_a_while(folder: str) -> None:
    other = RunLock([folder])
    assert other.alone()
    notes = Notes(other.release)
    assert both(folder, shard(1, 1), notes).outputs == 1
    assert notes.notes == ["test: waiting for another run in the same folder"]


def test_what_another_run_has_left_is_removed_before_its_mark_is(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards on storage without locks begin when the mark is theirs, so nothing may be removed after that."""
    attempt(lambda: works.run_write(folder, options=shard(1, 2), n=1))
    mark, remove, marks = Path(folder, ".journal", "run.json"), streams.remove, []
    before = mark.read_bytes()

    def look_and_remove(path: str) -> None:
        marks.append(mark.read_bytes() if mark.exists() else b"")
        remove(path)

    monkeypatch.setattr(streams, "remove", look_and_remove)
    with open_stage([works.file_set(folder, n=2)], options=ONE):
        pass
    assert set(marks) == {before}
    assert mark.read_bytes() != before


# --- without locks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_locks")
def test_two_equal_runs_at_once_without_locks_both_end_well(folder: str, whole: dict[str, bytes]) -> None:
    notes = Notes()
    with open_stage([works.file_set(folder)], options=ONE, reporter=notes) as first:
        parts = first.run("parts", works.tasks_of(works.names(5)), works.Write(folder=first.work_folder))
        both(folder, ONE)
        task = Task(key="all", size=1, spec=[part.payload["name"] for part in parts])
        first.run("join", [task], works.Join(work_folder=first.work_folder, folder=folder))
    assert first.report().outputs == 1
    assert len(notes.notes) == 1
    assert works.contents(folder) == whole


@pytest.mark.usefixtures("without_locks")
def test_a_run_without_locks_leaves_the_files_that_an_equal_one_is_writing(
    folder: str, whole: dict[str, bytes]
) -> None:
    with open_stage([works.file_set(folder)], options=ONE) as first:
        with streams.open_output(f"{folder}/all.txt") as out:
            with open_stage([works.file_set(folder)], options=ONE):
                out.write(b"half")
        assert Path(folder, "all.txt").read_bytes() == b"half"
        first.finish(works.join_parts(first, folder, seconds=0.0, n_tasks=5))
    assert works.contents(folder) == whole


def test_the_manifest_of_a_stage_is_there_before_anything_of_its_journal_goes(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_tree, seen = streams.remove_tree, []

    def look_and_remove(path: str) -> None:
        seen.append(manifests.read_manifest(folder) is not None)
        remove_tree(path)

    monkeypatch.setattr(streams, "remove_tree", look_and_remove)
    both(folder, ONE)
    assert seen and all(seen)
