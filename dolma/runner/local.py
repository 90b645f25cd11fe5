"""Processes on this machine.

Spawned, never forked: a fork of a process with threads (Arrow, tokenizers, OpenBLAS) may deadlock. The parent hands out
one task at a time, so it knows which file each worker has, and a worker that is killed costs one task, which is tried
once more, alone (`turns.py`). One worker means no process at all, but for a command whose work runs code of the user's
(`Work.foreign`): that may end its process. Starting a worker costs its imports, about a second, so a stage may start
them while it still prepares; they live as long as the stage.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker, spawn
from types import FrameType
from typing import Any, NoReturn

from dolma.data.storage import retries
from dolma.errors import ConfigError, DolmaError, WorkerError
from dolma.printable import printable
from dolma.runner.allocators import give_back
from dolma.runner.options import RunOptions, worker_count
from dolma.runner.progress import OnBegin, listening
from dolma.runner.task import OnProgress, OnResult, Task, TaskResult, Work
from dolma.runner.turns import Turns

STOP_SECONDS = 1.0
WORKER_NAME = "dolma-worker"
UNGUARDED_STATUS = 77
STACK_SIGNAL = signal.SIGUSR1
GUARD_HINT = (
    "the main program calls dolma while it is being imported; every worker process imports it again\n"
    "  put the call under `if __name__ == '__main__':`, or pass `workers=1`"
)

# N workers are to keep N cores busy, not N times the machine: each native pool gets one thread, unless the user has
# set the variable. They are read when a library loads, so they are in the environment before the worker's first
# import; Arrow and OpenBLAS follow OMP_NUM_THREADS. The parent's own pools are left alone.
SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def refuse_while_starting_up() -> None:
    """Return, unless this process is a spawned child that is still importing its main program.

    There, the same call would start children without end. A worker of ours ends at once and its parent says why.

    Raises:
        ConfigError: the child is some other program's.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):  # what multiprocessing itself looks at
        if process.name.startswith(WORKER_NAME):
            os._exit(UNGUARDED_STATUS)
        raise ConfigError(GUARD_HINT)


def may_have_children() -> bool:
    """Whether this process may start others; a daemonic one, of somebody's pool, may not: a stage runs within it."""
    return not multiprocessing.current_process().daemon


class LocalExecutor:
    """Runs tasks in this process, or in spawned ones."""

    def __init__(self, options: RunOptions, *, note: Callable[[str], None]) -> None:
        self._options, self._note = options, note
        self._workers: list[_Worker] = []

    def start(self, tasks: Sequence[Task], prepare: Callable[[], object]) -> None:
        """Start the processes that `run` would; see `Executor`."""
        refuse_while_starting_up()
        n_workers = self._n_workers(tasks)
        if n_workers > 1:
            encoded = pickled(prepare, "the preparation")
            while len(self._workers) < n_workers:
                self._workers.append(_Worker(len(self._workers) + 1))
                self._workers[-1].prepare(encoded)

    def run(self, work: Work, tasks: Sequence[Task], *, on_result: OnResult, on_progress: OnProgress) -> None:
        """Do all tasks; see `Executor`."""
        n_workers = self._n_workers(tasks)
        apart = self._options.apart and getattr(work, "foreign", False)
        if n_workers == 1 and not (apart and may_have_children()):
            run_here(work, tasks, self._options.stall_seconds, on_result=on_result, on_progress=on_progress)
            return
        phase = _Phase(work=pickled(work, "the work"), tasks=tasks)
        try:
            self._run_phase(phase, n_workers, on_result, on_progress)
        except BaseException:
            self.close()
            raise

    def _n_workers(self, tasks: Sequence[Task]) -> int:
        return worker_count(self._options, (task.size for task in tasks)) if may_have_children() else 1

    def _run_phase(self, phase: _Phase, n_workers: int, on_result: OnResult, on_progress: OnProgress) -> None:
        while phase.left:
            self._hand_out(phase, n_workers)
            busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
            for pipe in connection.wait(list(busy), timeout=self._until_next_stall()):
                self._receive(busy[pipe], phase, on_result, on_progress)  # type: ignore[index]
            self._note_stalls(phase)

    def _until_next_stall(self) -> float | None:
        after = self._options.stall_seconds
        since = [worker.since for worker in self._workers if worker.may_stall]
        return max(0.0, min(since) + after - time.monotonic()) if after and since else None

    def _note_stalls(self, phase: _Phase) -> None:
        """Say which tasks have come no further for long, and have their workers print where they are."""
        now, after = time.monotonic(), self._options.stall_seconds
        for worker in self._workers:
            if after and worker.may_stall and now - worker.since >= after:
                worker.stalled = True
                self._note(
                    f"no progress for {after / 60:,.3g} minutes: {worker.place}; the stack of its worker follows"
                )
                assert worker.process.pid is not None
                os.kill(worker.process.pid, STACK_SIGNAL)

    def _receive(self, worker: _Worker, phase: _Phase, on_result: OnResult, on_progress: OnProgress) -> None:
        message = worker.receive()
        if message is None:
            self._bury(worker, phase)
            return
        kind, value = message
        assert worker.task is not None
        if kind == "ready":
            worker.ready, worker.since = True, time.monotonic()
        elif kind == "begun":
            worker.at = phase.tasks[worker.task].at(*value)
            worker.documents, worker.since = 0, time.monotonic()
        elif kind == "progress":
            worker.documents += value[0]
            worker.since = time.monotonic()
            on_progress(*value)
        elif kind == "retried":
            retries.add(value)
        elif kind == "failed":
            raise_remote(value, worker.at)
        else:
            index, worker.task = worker.task, None
            phase.left -= 1
            on_result(index, value)

    def _hand_out(self, phase: _Phase, n_workers: int) -> None:
        while (n_running := sum(worker.task is not None for worker in self._workers)) < n_workers:
            index = phase.turns.next(n_running)
            if index is None:
                return
            if index in phase.turns.again:
                self.close()  # the memory of the idle ones is for this one
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                worker = _Worker(len(self._workers) + 1)
                self._workers.append(worker)
            if not worker.give(index, phase):
                self._bury(worker, phase)

    def _bury(self, worker: _Worker, phase: _Phase) -> None:
        """Put a dead worker's task back, or raise when it cannot be done."""
        self._workers.remove(worker)
        status = worker.join()
        if not worker.ready and status == UNGUARDED_STATUS:
            raise ConfigError(GUARD_HINT)
        if not worker.ready and status > 0:
            raise WorkerError(
                f"a worker process could not start (exit status {status}); its own message is above\n"
                "  it imports the main program and what the work needs: put what that program does, such as "
                "`set_start_method`, under `if __name__ == '__main__':`, or pass `workers=1`"
            )
        index = worker.task
        assert index is not None
        if not phase.turns.lost(index):
            raise WorkerError(
                f"{worker.place}: a worker process {_fate(status)} here twice, "
                "the second time with no other task beside it\n"
                "  SIGKILL mostly means that memory ran out: look at these lines, or use a machine with more; "
                "then run the command again: finished files are kept"
            )
        self._note(f"a worker process {_fate(status)}: {worker.place}; trying it again at the end, alone")

    def close(self) -> None:
        """End the workers: asked first, then killed."""
        for worker in self._workers:
            worker.process.terminate()
        give_up = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, give_up - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
            worker.join()
        self._workers.clear()


@contextlib.contextmanager
def watched(seconds: float, on_progress: OnProgress, on_begin: OnBegin) -> Iterator[None]:
    """While entered, `advance` goes to `on_progress` and `begin` to `on_begin`.

    After so long without either, or a sixteenth more, this process prints its stacks once. A new wait costs a thread.
    """
    least = seconds / 16
    next_wait = 0.0

    def wait() -> None:
        nonlocal next_wait
        now = time.monotonic()
        if seconds and sys.__stderr__ is not None and now >= next_wait:
            next_wait = now + least
            faulthandler.dump_traceback_later(seconds + least, file=sys.__stderr__)

    def go_on(documents: int, n_bytes: int) -> None:
        wait()
        on_progress(documents, n_bytes)

    def begin(file: str, part: str) -> None:
        wait()
        on_begin(file, part)

    wait()
    try:
        with listening(go_on, begin):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def run_here(
    work: Work, tasks: Sequence[Task], stall_after: float, *, on_result: OnResult, on_progress: OnProgress
) -> None:
    """Do all tasks in this process, in order."""
    give_back()
    for index, task in enumerate(tasks):
        on_result(index, _done_here(work, task, stall_after, on_progress))


def _done_here(work: Work, task: Task, stall_after: float, on_progress: OnProgress) -> TaskResult:
    at = task

    def begin(file: str, part: str) -> None:
        nonlocal at
        at = task.at(file, part)

    with watched(stall_after, on_progress, begin):
        try:
            return work(task.spec)
        except DolmaError as error:
            _name_subject(error, at)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the border where a defect of a work becomes an error of its file
            raise WorkerError(f"{printable(at.subject)}: {_said(error)}") from error


class _Phase:
    """What is left of one phase: how many tasks, and whose turn it is."""

    __slots__ = ("left", "tasks", "turns", "work")

    def __init__(self, *, work: bytes, tasks: Sequence[Task]) -> None:
        self.work, self.tasks = work, tasks
        self.turns = Turns(tasks)
        self.left = len(tasks)


_NO_TASK = Task(key="", size=0, spec=None)


class _Worker:
    """The parent's side of one process: `task` is the number of the task it has; `ready` once it has started up.

    `work` is what it was sent last, to be done with each task. Its task is `at` a file, of which `documents` are done;
    `since` is when it last came further, by the monotonic clock, and `stalled` says that its stack was asked for.
    """

    __slots__ = ("at", "documents", "pipe", "process", "ready", "since", "stalled", "task", "work")

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=serve, args=(far_end,), name=f"{WORKER_NAME}-{number}", daemon=True)
        resource_tracker.ensure_running()  # or `start` would do so, and let SIGINT through again
        with _single_threaded(), _sigint_held(), _without_a_main_that_is_no_file():
            self.process.start()
        far_end.close()
        self.task: int | None = None
        self.at = _NO_TASK
        self.ready, self.work = False, b""
        self.documents, self.since, self.stalled = 0, time.monotonic(), False

    @property
    def may_stall(self) -> bool:
        """Whether it is at a task, has started up, so that it takes signals, and was not asked for its stack."""
        return self.task is not None and self.ready and not self.stalled

    @property
    def place(self) -> str:
        """Where its task is, in words."""
        return self.at.place(self.documents)

    def prepare(self, prepare: bytes) -> None:
        """Send what to call before the first task; a worker that is dead will be noticed with that."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(pickle.dumps((prepare, None)))

    def give(self, index: int, phase: _Phase) -> bool:
        """Send a task, and the phase's work first if this worker does not have it; False when it is dead."""
        self.task, self.documents, self.since, self.stalled = index, 0, time.monotonic(), False
        task = self.at = phase.tasks[index]
        spec = pickled(task.spec, f"the spec of {task.key}")
        message = pickle.dumps((phase.work if self.work != phase.work else None, spec))
        self.work = phase.work
        try:
            self.pipe.send_bytes(message)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[str, Any] | None:
        """The next message, or None when the worker is dead (OSError: in the middle of a message)."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def join(self) -> int:
        """Wait for the end of the process, whose pipe is closed or who was killed; its exit status."""
        self.process.join()
        self.pipe.close()
        return self.process.exitcode or 0


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    added = [name for name in SINGLE_THREADED if name not in os.environ]
    os.environ.update({name: SINGLE_THREADED[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _without_a_main_that_is_no_file() -> Iterator[None]:
    # A child runs the file of the main program, and there is none where that came through standard input.
    path = spawn.get_preparation_data("").get("init_main_from_path")
    if path is None or os.path.exists(path):
        yield
        return
    main = sys.modules["__main__"]
    main.__file__, before = None, main.__file__
    try:
        yield
    finally:
        main.__file__ = before


@contextlib.contextmanager
def _sigint_held() -> Iterator[None]:
    # A child inherits the mask: Ctrl-C, which the terminal sends to all, cannot hit it before it ignores SIGINT. The
    # mask is this thread's only, so the signal may still come through another one: its handler waits as well.
    caught: list[tuple[int, FrameType | None]] = []
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda *args: caught.append(args)) if in_main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main:
            signal.signal(signal.SIGINT, handler)
    if caught and callable(handler):
        handler(*caught[0])


def pickled(value: Any, what: str, *, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """The value's pickle; `what` names it in the error.

    Raises:
        WorkerError: it has none, and so cannot leave this process.
    """
    try:
        return dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise WorkerError(
            f"{what} cannot be sent to a worker process: {printable(error)}\n"
            "  define its class or function at the top of a module, or run with `workers=1`"
        ) from error


# --- the worker's side -----------------------------------------------------------------------------------------------


def serve(pipe: connection.Connection) -> None:
    """Do the tasks that come through the pipe until it closes. Runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    faulthandler.register(STACK_SIGNAL)
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    os.dup2(2, 1)  # standard output is the command's; what a library prints goes to standard error
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent closed it, or has ended
        _do_tasks(pipe)


def _do_tasks(pipe: connection.Connection) -> NoReturn:
    pipe.send(("ready", None))
    work: Work | None = None
    while True:
        new_work, spec = pickle.loads(pipe.recv_bytes())
        if spec is None:
            with contextlib.suppress(Exception):  # the first task will meet it again, and say so
                pickle.loads(new_work)()
            continue
        try:
            if new_work is not None:
                work = None
                give_back()
                work = pickle.loads(new_work)
            assert work is not None
            with listening(lambda *done: pipe.send(("progress", done)), lambda *at: pipe.send(("begun", at))):
                result = work(pickle.loads(spec))
            reply = pickle.dumps(("done", result))
        except BaseException as error:  # noqa: BLE001 - all of them go to the parent, which raises them
            reply = pickle.dumps(("failed", sendable(error)))
        if counts := retries.taken():
            pipe.send(("retried", counts))
        pipe.send_bytes(reply)


def _die_with_parent(parent: int) -> NoReturn:
    process = multiprocessing.parent_process()
    assert process is not None
    # The sentinel wakes at once; the look at the parent's number is for a program that has forked children of its own,
    # which hold the sentinel open.
    while not connection.wait([process.sentinel], timeout=1.0) and os.getppid() == parent:
        pass
    os._exit(1)


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker, as text: the cause of the error raised in the parent."""

    def __str__(self) -> str:
        return "\n" + self.args[0]


Failure = tuple[DolmaError | None, str, str]
"""What a worker sends of an exception: itself if it is ours, what to say of it, its traceback."""


def sendable(error: BaseException) -> Failure:
    """What `raise_remote` needs to raise this error in the parent."""
    return error if isinstance(error, DolmaError) else None, _said(error), _trace(error)


def raise_remote(failure: Failure, task: Task) -> NoReturn:
    """Raise a worker's error here: a `DolmaError` as it was, anything else as `WorkerError`."""
    error, said, trace = failure
    if error is None:
        raise WorkerError(f"{printable(task.subject)}: {said}") from RemoteTraceback(trace)
    _name_subject(error, task)
    raise error from RemoteTraceback(trace)


def _name_subject(error: DolmaError, task: Task) -> None:
    if task.subject not in str(error):
        error.add_note(f"while working on {task.subject}")


def _said(error: BaseException) -> str:
    if isinstance(error, MemoryError):  # of NumPy, of Arrow or of Python
        return (
            "memory ran out\n"
            "  use fewer `--workers` or a machine with more memory; if records are long, a lower `--max-line-bytes`"
        )
    summary = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, OSError):
        return f"{summary}\n  put that right (disk, permissions) and run the command again: finished files are kept"
    trace = textwrap.indent(_trace(error).rstrip(), "  ", predicate=lambda line: True)  # lines of a message of ours
    return f"{summary}\n  this is a defect of dolma or of a tagger; the trace:\n{trace}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended by itself (exit status {status})"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
