"""`pytest tests/runner/test_heartbeat.py`: what a run says of itself while it is not complete."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_works as works

from dolma.errors import DataError, Unfinished
from dolma.runner.heartbeat import Pulse, statuses
from dolma.runner.options import RunOptions
from dolma.runner.standing import HEADER

ONE = RunOptions(workers=1)


def shard(i: int, n: int) -> RunOptions:
    return RunOptions(workers=1, shard=(i, n), wait=False)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def test_each_shard_says_what_it_is_at(folder: str) -> None:
    for i in (2, 3):
        with pytest.raises(Unfinished):
            works.run_two_phases(folder, options=shard(i, 3), n_tasks=5)
    (status,) = statuses(folder)
    assert (status.stage, status.complete, status.records) == ("test", False, {"parts": 3})
    second, third = status.shards
    assert (second.shard, second.of, second.state, second.phase, second.tasks, second.done) == (
        *(2, 3, "ended", "parts"),
        *(2, 2),
    )
    assert second.about == "test: parts: waiting for shard 1/3 (2 tasks), shard 3/3 (1 task)"
    assert third.about == "test: parts: waiting for shard 1/3 (2 tasks)"
    assert (third.tasks, third.done, third.documents) == (1, 1, 2)
    assert third.bytes > 0 and third.seconds > 0 and third.process > 0


def test_a_run_that_failed_says_why(folder: str) -> None:
    work = works.Fail(write=works.Write(folder=folder), name="b-01", known=True)
    with pytest.raises(DataError), works.open_stage([works.file_set(folder)], options=ONE) as stage:
        stage.run("write", works.tasks_of(works.names()), work)
    (status,) = statuses(folder)
    (beat,) = status.shards
    assert (beat.state, beat.done, beat.tasks) == ("failed", 1, 6)
    assert beat.about.startswith("/in/b-01:7: not JSON")


def test_a_complete_set_is_said_to_be_so_and_has_no_heartbeat(folder: str) -> None:
    works.run_two_phases(folder, options=ONE)
    (status,) = statuses(folder)
    assert (status.folder, status.stage, status.name, status.complete) == (folder, "test", "letters", True)
    assert sorted(works.contents(folder)) == ["all.txt", "manifest.json"]


def test_of_several_sets_of_a_run_the_first_stands_for_all(tmp_path: Path) -> None:
    sets = [works.file_set(str(tmp_path / name), name=name) for name in "xy"]
    with pytest.raises(Unfinished), works.open_stage(sets, options=shard(1, 2)) as stage:
        stage.run("write", works.tasks_of(works.names()), works.Write(folder=sets[1].folder))
    (status,) = statuses(str(tmp_path))
    assert (status.folder, status.records) == (sets[0].folder, {"write": 3})


def test_nothing_has_begun(folder: str) -> None:
    assert list(statuses(folder)) == []


def test_a_damaged_heartbeat_is_named(folder: str) -> None:
    with pytest.raises(Unfinished):
        works.run_write(folder, options=shard(1, 2))
    (path,) = Path(folder, ".journal", "shards").iterdir()
    path.write_text("{")
    with pytest.raises(DataError, match=r"00001-of-00002\.json: not a heartbeat: .*\n  remove this file"):
        list(statuses(folder))


def test_a_heartbeat_that_cannot_be_written_stops_nothing(folder: str) -> None:
    pulse = Pulse(folder, stage="test", shard=1, of=1)
    Path(folder).write_text("a file in the place of the folder")
    pulse.say("working")
    assert Path(folder).is_file()


@pytest.mark.parametrize(
    ("state", "age", "is_here", "lives", "seen"),
    [
        ("working", 0, True, False, "working"),
        ("working", 30, True, False, "gone"),
        ("waiting", 30, True, False, "gone"),
        ("working", 30, True, True, "working"),
        ("working", 30, False, False, "working"),
        ("working", 300, False, False, "silent"),
        ("working", 300, True, True, "silent"),
        ("ended", 300, True, False, "ended"),
        ("failed", 300, True, False, "failed"),
    ],
)
def test_a_shard_that_was_killed_is_told(
    folder: str, state: str, age: float, is_here: bool, lives: bool, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(folder, stage="stat", shard=1, of=2)
    pulse.beat.host = socket.gethostname() if is_here else "elsewhere"
    pulse.beat.process = os.getpid() if lives else no_process()
    pulse.say(state)  # type: ignore[arg-type]
    Path(folder, HEADER).write_text("{}")
    at = pulse.beat.at
    monkeypatch.setattr(time, "time", lambda: at + age)
    (status,) = statuses(folder)
    assert [beat.state for beat in status.shards] == [seen]


def no_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL) as process:
        process.wait(timeout=60)
    return process.pid
