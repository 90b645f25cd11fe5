"""`pytest tests/runner/test_local.py`: worker processes. Each spawn costs about half a second."""

# ruff: noqa: SIM117 - the inner block is the one that is expected to raise

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import random
from pathlib import Path

import pytest
import run_works as works

from dolma.data.manifest import read_manifest
from dolma.errors import DataError, WorkerError
from dolma.printable import printable_message
from dolma.runner import local
from dolma.runner.executors import executor_for
from dolma.runner.options import RunOptions
from dolma.runner.stage import open_stage
from dolma.runner.task import Task, TaskResult


class Listener:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.done = {"documents": 0, "bytes": 0, "tasks": 0, "size": 0}
        self.finished, self.notes = 0, []

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        self.started.append((stage, tasks, bytes))

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None:
        for name, value in (("documents", documents), ("bytes", bytes), ("tasks", tasks), ("size", size)):
            self.done[name] += value

    def finish(self) -> None:
        self.finished += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def two() -> RunOptions:
    return RunOptions(workers=2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    works.run_write(str(folder), options=RunOptions(workers=1))
    return works.contents(folder)


@pytest.mark.parametrize("n_workers", [2, 5])
def test_any_number_of_workers_gives_the_same_bytes(folder: str, undisturbed, n_workers: int) -> None:
    shuffled = random.Random(n_workers).sample(works.names(), 6)
    works.run_write(folder, options=RunOptions(workers=n_workers), specs=shuffled)
    assert works.contents(folder) == undisturbed


@pytest.mark.parametrize("n_workers", [1, 2])
def test_results_come_in_task_order_and_progress_adds_up(folder: str, n_workers: int) -> None:
    reporter = Listener()
    tasks = [Task(key=name, size=100 - i, spec=name) for i, name in enumerate(works.names())]
    with open_stage([works.file_set(folder)], options=RunOptions(workers=n_workers), reporter=reporter) as stage:
        results = stage.run("write", tasks, works.Write(folder=folder))
        report = stage.finish(results)
    assert [result.payload["name"] for result in results] == works.names()
    assert reporter.started == [("test: write", 6, sum(task.size for task in tasks))]
    assert reporter.done == {"documents": 12, "bytes": report.bytes, "tasks": 6, "size": sum(t.size for t in tasks)}
    assert reporter.finished == 1


def test_workers_are_other_processes_and_serve_every_phase(folder: str) -> None:
    with open_stage([works.file_set(folder)], options=two()) as stage:
        pids = [
            {result.payload["pid"] for result in stage.run(phase, tasks, works.Write(folder=stage.work_folder))}
            for phase, tasks in (("one", works.tasks_of(works.names())), ("two", works.tasks_of(["x", "y"])))
        ]
    assert len(pids[0]) <= 2 and os.getpid() not in pids[0]
    assert pids[1] <= pids[0]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_workers_started_before_are_prepared_and_do_the_tasks(
    folder: str, tmp_path: Path, undisturbed: dict[str, bytes], n_workers: int
) -> None:
    prepared, tasks, options = tmp_path / "prepared", works.tasks_of(works.names()), RunOptions(workers=n_workers)
    prepared.mkdir()
    executor = executor_for(options, note=print)
    executor.start(tasks, works.Prepare(folder=str(prepared)))
    started = {str(child.pid) for child in multiprocessing.active_children()}
    with open_stage([works.file_set(folder)], options=options, executor=executor) as stage:
        results = stage.run("write", tasks, works.Write(folder=folder))
        stage.finish(results)
    at_work = {str(result.payload["pid"]) for result in results}
    if n_workers > 1:
        assert at_work <= {path.name for path in prepared.iterdir()} <= started
    else:
        assert (at_work, started) == ({str(os.getpid())}, set())
    assert works.contents(folder) == undisturbed
    assert not multiprocessing.active_children()


def test_a_preparation_that_fails_is_none(folder: str, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    tasks, executor = works.tasks_of(works.names()), executor_for(two(), note=print)
    executor.start(tasks, works.Prepare(folder=str(tmp_path / "nowhere")))
    with open_stage([works.file_set(folder)], options=two(), executor=executor) as stage:
        stage.finish(stage.run("write", tasks, works.Write(folder=folder)))
    assert works.contents(folder) == undisturbed


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_of_ours_arrives_whole(folder: str, n_workers: int) -> None:
    work = works.Fail(write=works.Write(folder=folder), name="b-01", known=True)
    with open_stage([works.file_set(folder)], options=RunOptions(workers=n_workers)) as stage:
        with pytest.raises(DataError, match=r"^/in/b-01:7: not JSON \(byte 99\)$") as caught:
            stage.run("write", works.tasks_of(works.names()), work)
    assert (caught.value.line, caught.value.exit_status) == (7, 3)
    assert read_manifest(folder) is None


@pytest.mark.parametrize("n_workers", [1, 2])
def test_any_other_exception_names_the_file_and_keeps_its_trace(folder: str, n_workers: int) -> None:
    work = works.Fail(write=works.Write(folder=folder), name="b-01", known=False)
    with open_stage([works.file_set(folder)], options=RunOptions(workers=n_workers)) as stage:
        with pytest.raises(WorkerError, match=r"^/in/b-01: ValueError: a defect\n") as caught:
            stage.run("write", works.tasks_of(works.names()), work)
    assert "raise self.error" in str(caught.value)
    assert printable_message(str(caught.value)) == str(caught.value)  # a trace of several lines
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_full_disk_is_no_defect_of_ours(folder: str, n_workers: int) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/x")
    work = works.Fail(write=works.Write(folder=folder), name="b-01", known=False, error=full)
    with open_stage([works.file_set(folder)], options=RunOptions(workers=n_workers)) as stage:
        with pytest.raises(WorkerError, match=r"^/in/b-01: OSError: .*No space left.*'/out/x'\n  put that right"):
            stage.run("write", works.tasks_of(works.names()), work)


def test_the_first_error_ends_the_other_workers(folder: str) -> None:
    work = works.Fail(write=works.Write(folder=folder, seconds=600.0), name="a-00", known=True)
    with open_stage([works.file_set(folder)], options=two()) as stage:
        with pytest.raises(DataError):
            stage.run("write", works.tasks_of(works.names()), work)
        assert not multiprocessing.active_children()


def test_a_killed_worker_is_replaced_once(folder: str, tmp_path: Path, undisturbed) -> None:
    (tmp_path / "marks").mkdir()
    work = works.KillOnce(write=works.Write(folder=folder), name="b-01", marks=str(tmp_path / "marks"))
    reporter = Listener()
    with open_stage([works.file_set(folder)], options=two(), reporter=reporter) as stage:
        stage.finish(stage.run("write", works.tasks_of(works.names()), work))
    assert reporter.notes == ["a worker process was killed by SIGKILL: /in/b-01; trying it again at the end, alone"]
    assert works.contents(folder) == undisturbed


def test_the_task_of_a_killed_worker_is_tried_again_alone(folder: str, tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    work = works.KillBeside(name="b-01", running=str(tmp_path / "running"))
    with open_stage([works.file_set(folder)], options=two()) as stage:
        results = stage.run("write", works.tasks_of(works.names(8)), work)
    assert [result.payload["again"] for result in results] == [False, True, *[False] * 6]
    assert results[1].payload["beside"] == []


def test_the_message_of_a_lost_task_has_its_part_and_how_far_it_came() -> None:
    task = Task(key="k", size=1, spec=None, file="/in/a.jsonl", part="part 2 of 3, from line 1,001")
    assert task.place(0) == "/in/a.jsonl, part 2 of 3, from line 1,001"
    assert task.place(1234) == "/in/a.jsonl, part 2 of 3, from line 1,001, after 1,234 documents"


def test_the_stack_of_a_worker_that_comes_no_further_is_printed_once(folder: str, tmp_path: Path, capfd) -> None:
    until = tmp_path / "until"

    class GoOn(Listener):
        def note(self, text: str) -> None:
            super().note(text)
            until.touch()

    options, reporter = RunOptions(workers=2, stall_after=0.3 / 60), GoOn()
    with open_stage([works.file_set(folder)], options=options, reporter=reporter) as stage:
        results = stage.run("wait", works.tasks_of(["a", "b"]), works.Stall(until=str(until)))
    assert all(result.payload["in_time"] for result in results)
    said = {f"no progress for 0.005 minutes: /in/{name}; the stack of its worker follows" for name in "ab"}
    assert set(reporter.notes) <= said and len(set(reporter.notes)) == len(reporter.notes) > 0
    assert "most recent call first" in capfd.readouterr().err


def test_the_stack_of_this_process_is_printed_too(folder: str, capfd) -> None:
    with open_stage([works.file_set(folder)], options=RunOptions(workers=1, stall_after=0.2 / 60)) as stage:
        (result,) = stage.run("wait", works.tasks_of(["a"]), works.Stall(until=""))
    assert result.payload["in_time"]
    assert "run_works.py" in capfd.readouterr().err


def test_a_task_that_kills_twice_is_given_up(folder: str, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    work = works.KillOnce(write=works.Write(folder=folder), name="b-01", marks=str(tmp_path / "marks"), times=9)
    with open_stage([works.file_set(folder)], options=two()) as stage:
        with pytest.raises(
            WorkerError,
            match=r"/in/b-01: a worker process was killed by SIGKILL here twice, the second time with no other",
        ):
            stage.run("write", works.tasks_of(works.names()), work)


def test_what_cannot_be_pickled_is_said(folder: str) -> None:
    def inner(name: str) -> TaskResult:
        raise AssertionError(name)

    with open_stage([works.file_set(folder)], options=two()) as stage:
        with pytest.raises(WorkerError, match=r"the work cannot be sent to a worker process: .*\n  define its class"):
            stage.run("write", works.tasks_of(works.names()), inner)


def test_native_pools_of_a_worker_have_one_thread_unless_told(folder: str, monkeypatch, capfd) -> None:
    for name in local.SINGLE_THREADED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAYON_NUM_THREADS", "3")
    names = ["OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS"]
    tasks = [Task(key=key, size=1, spec=names) for key in "ab"]
    with open_stage([works.file_set(folder)], options=two()) as stage:
        results = stage.run("look", tasks, works.Environment())
    assert results[0].payload == dict(zip(names, ["1", "false", "3"], strict=True))
    assert "OMP_NUM_THREADS" not in os.environ
    out, err = capfd.readouterr()
    assert out == ""
    assert "a library prints this" in err


def test_inside_a_daemonic_process_everything_runs_there(folder: str) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=works.run_write, args=(folder,), kwargs={"options": two()}, daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert read_manifest(folder) is not None


@pytest.mark.parametrize("error", [DataError("bad", file="f", line=3), ValueError("bad")])
def test_failures_can_be_sent(error: Exception) -> None:
    task = Task(key="k", size=1, spec=None, file="/in/k")
    with pytest.raises((DataError, WorkerError), match="bad"):
        local.raise_remote(pickle.loads(pickle.dumps(local.sendable(error))), task)


class GoneParent:
    """A pipe that gives one task, and takes nothing."""

    def recv_bytes(self) -> bytes:
        return pickle.dumps((pickle.dumps(str), pickle.dumps("task")))

    def send(self, message: object) -> None:
        if message != ("ready", None):
            raise BrokenPipeError

    def send_bytes(self, data: bytes) -> None:
        raise BrokenPipeError


def test_a_worker_whose_parent_has_ended_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((local.signal, "signal"), (local.os, "dup2"), (local, "_die_with_parent")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(local.signal, "pthread_sigmask", lambda *_: set())
    monkeypatch.setattr(local.faulthandler, "register", lambda *_: None)
    local.serve(GoneParent())  # type: ignore[arg-type]
