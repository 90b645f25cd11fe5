"""Processes on this machine.

Spawned, never forked: a fork of a process with threads (Arrow, tokenizers, OpenBLAS) may deadlock. The parent hands out
one task at a time, so it knows which file each worker has, and a worker that is killed costs one task, which is tried
once more. One worker means no process at all. Starting a worker costs its imports, about a second, so a stage may start
them while it still prepares; they live as long as the stage.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from types import FrameType
from typing import Any, NoReturn

from dolma.errors import ConfigError, DolmaError, WorkerError
from dolma.printable import printable
from dolma.runner.options import RunOptions, worker_count
from dolma.runner.progress import listening
from dolma.runner.task import OnProgress, OnResult, Task, Work

ATTEMPTS = 2
STOP_SECONDS = 1.0
WORKER_NAME = "dolma-worker"
UNGUARDED_STATUS = 77
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
        if n_workers == 1:
            run_here(work, tasks, on_result=on_result, on_progress=on_progress)
            return
        phase = _Phase(work=pickled(work, "the work"), tasks=tasks)
        try:
            self._run_phase(phase, n_workers, on_result, on_progress)
        except BaseException:
            self.close()
            raise

    def _n_workers(self, tasks: Sequence[Task]) -> int:
        # A daemonic process may have no children, so a stage inside somebody's pool runs within it.
        if multiprocessing.current_process().daemon:
            return 1
        return worker_count(self._options, (task.size for task in tasks))

    def _run_phase(self, phase: _Phase, n_workers: int, on_result: OnResult, on_progress: OnProgress) -> None:
        while phase.left:
            self._hand_out(phase, n_workers)
            busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
            for pipe in connection.wait(list(busy)):
                self._receive(busy[pipe], phase, on_result, on_progress)  # type: ignore[index]

    def _receive(self, worker: _Worker, phase: _Phase, on_result: OnResult, on_progress: OnProgress) -> None:
        message = worker.receive()
        if message is None:
            self._bury(worker, phase)
            return
        kind, value = message
        assert worker.task is not None
        if kind == "ready":
            worker.ready = True
        elif kind == "progress":
            on_progress(*value)
        elif kind == "failed":
            raise_remote(value, phase.tasks[worker.task])
        else:
            index, worker.task = worker.task, None
            phase.left -= 1
            on_result(index, value)

    def _hand_out(self, phase: _Phase, n_workers: int) -> None:
        while phase.queue:
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                if len(self._workers) >= n_workers:
                    return
                worker = _Worker(len(self._workers) + 1)
                self._workers.append(worker)
            worker.task = phase.queue.pop()
            if not worker.give(phase):
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
                "  it imports the main program and what the work needs: `workers=1` runs without it"
            )
        index = worker.task
        assert index is not None
        subject = phase.tasks[index].subject
        phase.attempts[index] += 1
        if phase.attempts[index] >= ATTEMPTS:
            raise WorkerError(
                f"{printable(subject)}: a worker process {_fate(status)} on this file, {ATTEMPTS} times\n"
                "  SIGKILL mostly means that memory ran out: give fewer `--workers`, then run the command again; "
                "finished files are kept"
            )
        self._note(f"a worker process {_fate(status)} on {subject}; trying once more")
        phase.queue.append(index)

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


def run_here(work: Work, tasks: Sequence[Task], *, on_result: OnResult, on_progress: OnProgress) -> None:
    """Do all tasks in this process, in order."""
    for index, task in enumerate(tasks):
        with listening(on_progress):
            try:
                result = work(task.spec)
            except DolmaError as error:
                _name_subject(error, task)
                raise
            except (Exception, SystemExit) as error:  # the border where a defect of a work becomes an error of its file
                raise WorkerError(f"{printable(task.subject)}: {_said(error)}") from error
        on_result(index, result)


class _Phase:
    """What is left of one phase: task numbers still to hand out, the biggest last, where `pop` takes them."""

    __slots__ = ("attempts", "left", "queue", "tasks", "work")

    def __init__(self, *, work: bytes, tasks: Sequence[Task]) -> None:
        self.work, self.tasks = work, tasks
        self.queue = sorted(range(len(tasks)), key=lambda i: (tasks[i].size, -i))
        self.attempts: Counter[int] = Counter()
        self.left = len(tasks)


class _Worker:
    """The parent's side of one process: `task` is the number of the task it has; `ready` once it has started up.

    `work` is what it was sent last, to be done with each task.
    """

    __slots__ = ("pipe", "process", "ready", "task", "work")

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=serve, args=(far_end,), name=f"{WORKER_NAME}-{number}", daemon=True)
        resource_tracker.ensure_running()  # or `start` would do so, and let SIGINT through again
        with _single_threaded(), _sigint_held():
            self.process.start()
        far_end.close()
        self.task: int | None = None
        self.ready, self.work = False, b""

    def prepare(self, prepare: bytes) -> None:
        """Send what to call before the first task; a worker that is dead will be noticed with that."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(pickle.dumps((prepare, None)))

    def give(self, phase: _Phase) -> bool:
        """Send the current task, and the phase's work first if this worker does not have it; False when it is dead."""
        assert self.task is not None
        task = phase.tasks[self.task]
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
            f"{what} cannot be sent to a worker process: {error}\n"
            "  define its class or function at the top of a module, or run with `workers=1`"
        ) from error


# --- the worker's side -----------------------------------------------------------------------------------------------


def serve(pipe: connection.Connection) -> None:
    """Do the tasks that come through the pipe until it closes. Runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    os.dup2(2, 1)  # standard output is the command's; what a library prints goes to standard error
    pipe.send(("ready", None))
    work: Work | None = None
    while True:
        try:
            new_work, spec = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        if spec is None:
            with contextlib.suppress(Exception):  # the first task will meet it again, and say so
                pickle.loads(new_work)()
            continue
        try:
            work = pickle.loads(new_work) if new_work is not None else work
            assert work is not None
            with listening(lambda documents, n_bytes: pipe.send(("progress", (documents, n_bytes)))):
                result = work(pickle.loads(spec))
            reply = pickle.dumps(("done", result))
        except Exception as error:  # noqa: BLE001 - all of them go to the parent, which raises them
            reply = pickle.dumps(("failed", sendable(error)))
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


def sendable(error: Exception) -> Failure:
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
    summary = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, OSError | MemoryError):
        return (
            f"{summary}\n"
            "  put that right (disk, memory, permissions) and run the command again: finished files are kept"
        )
    return f"{summary}\n  this is a defect of dolma or of a tagger; the trace:\n\n{_trace(error).rstrip()}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended by itself (exit status {status})"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
