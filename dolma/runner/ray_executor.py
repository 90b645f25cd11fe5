"""A Ray cluster: one Ray task per task, each on one CPU; the same works and the same bytes as the local processes.

Inputs and outputs are read and written where the task runs, so they lie on storage that every node sees.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Sequence
from typing import Any

from dolma.data.storage import retries
from dolma.errors import ConfigError, MissingExtraError, WorkerError
from dolma.runner.local import SINGLE_THREADED, pickled, raise_remote, sendable, watched
from dolma.runner.options import RunOptions, cpu_count
from dolma.runner.task import OnProgress, OnResult, Task, Work
from dolma.runner.turns import Turns

IN_FLIGHT_PER_CPU = 4
"""Tasks handed to Ray ahead of the running ones: enough to keep CPUs busy, few enough to stop soon."""

WAIT_SECONDS = 1.0
"""The longest time between two looks at the signals of this process while nothing finishes."""

REACH_SECONDS = 10.0
"""How long a cluster's port may take to answer."""


class RayExecutor:
    """Runs tasks on the cluster at `options.address`, or on one that it starts here and stops again.

    Raises:
        MissingExtraError: ray is not installed.
    """

    def __init__(self, options: RunOptions, *, note: Callable[[str], None]) -> None:
        self._ray = _import_ray()
        self._options, self._note = options, note
        self._joined = False

    def start(self, tasks: Sequence[Task], prepare: Callable[[], object]) -> None:
        """Nothing: a cluster starts what it needs when there are tasks."""

    def run(self, work: Work, tasks: Sequence[Task], *, on_result: OnResult, on_progress: OnProgress) -> None:
        """Do all tasks; see `Executor`. Progress comes when a task ends."""
        self._join()
        ray = self._ray
        # A task whose worker dies is tried again alone, as with local processes; errors of the work are answers.
        remote = ray.remote(num_cpus=1, max_retries=0, retry_exceptions=False)(do_task)
        shared_work = ray.put(self._pickled(work, "the work"))
        turns, stall_after = Turns(tasks), self._options.stall_seconds
        ahead = IN_FLIGHT_PER_CPU * self._n_cpus()
        running: dict[Any, int] = {}
        try:
            while turns or running:
                while len(running) < ahead and (index := turns.next(len(running))) is not None:
                    spec = self._pickled(tasks[index].spec, tasks[index].key)
                    running[remote.remote(shared_work, spec, stall_after)] = index
                for reference in ray.wait(list(running), timeout=WAIT_SECONDS)[0]:
                    index = running.pop(reference)
                    self._take(reference, index, tasks, turns, on_result, on_progress)
        finally:
            # Leaving a cluster ends our tasks there. A cancel that meets a task as it ends can abort Ray's driver, so
            # it is kept for the calling program's own cluster, which we do not leave.
            for reference in running if not self._joined else ():
                ray.cancel(reference, force=True)

    def _pickled(self, value: Any, what: str) -> bytes:
        # Ray workers do not import the main program; cloudpickle carries what is defined there along.
        return pickled(value, what, dumps=self._ray.cloudpickle.dumps)

    def _take(
        self,
        reference: Any,
        index: int,
        tasks: Sequence[Task],
        turns: Turns,
        on_result: OnResult,
        on_progress: OnProgress,
    ) -> None:
        task = tasks[index]
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if turns.lost(index):
                self._note(f"Ray lost a task: {task.place(0)}; trying it again at the end, alone: {_first_line(error)}")
                return
            raise WorkerError(
                f"{task.place(0)}: Ray lost this task twice, the second time with no other beside it: "
                f"{_first_line(error)}\n"
                "  mostly memory that ran out or a node that left; run the command again: finished files are kept"
            ) from error
        kind, value, documents, n_bytes, counts, at = pickle.loads(answer)
        retries.add(counts)
        on_progress(documents, n_bytes)
        if kind == "failed":
            raise_remote(value, task.at(*at) if at else task)
        on_result(index, value)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._joined:
            self._ray.shutdown()
            self._joined = False

    def _join(self) -> None:
        ray, options = self._ray, self._options
        if ray.is_initialized():  # the calling program's own; left as it is
            return
        _check_reachable(options.address)
        here = {} if options.address else {"num_cpus": options.workers or cpu_count(), "include_dashboard": False}
        environment = {name: os.environ.get(name, value) for name, value in SINGLE_THREADED.items()}
        try:
            ray.init(
                address=options.address or "local",
                configure_logging=True,
                logging_level=logging.ERROR,
                log_to_driver=False,
                runtime_env={"env_vars": environment},
                **here,
            )
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise _no_cluster(options.address, _first_line(error)) from error
        self._joined = True

    def _n_cpus(self) -> int:
        if self._options.workers is not None:
            return self._options.workers
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))


def do_task(work: bytes, spec: bytes, stall_after: float) -> bytes:
    """One task in a Ray worker, pickled: `("done", TaskResult) | ("failed", what)`, documents, bytes done, retries, at.

    `at` is the file that it began last, and which part of it; () if it has not said.
    """
    done = [0, 0]
    at: tuple[str, ...] = ()

    def count(documents: int, n_bytes: int) -> None:
        done[0] += documents
        done[1] += n_bytes

    def begin(file: str, part: str) -> None:
        nonlocal at
        at = file, part

    try:
        with watched(stall_after, count, begin):
            result = pickle.loads(work)(pickle.loads(spec))
        return pickle.dumps(("done", result, *done, retries.taken(), at))
    except Exception as error:  # noqa: BLE001 - all of them go to the parent, which raises them
        return pickle.dumps(("failed", sendable(error), *done, retries.taken(), at))


def _check_reachable(address: str | None) -> None:
    """Ask the port first: Ray itself tries for minutes, and prints meanwhile."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or not port.isdigit() or "://" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str | None, why: str) -> ConfigError:
    return ConfigError(
        f"no Ray cluster at {address or 'this machine'}: {why}\n"
        "  start one with `ray start --head` and give its `--address host:port`, or leave the address out"
    )


def _import_ray() -> Any:
    # Ray's own advice on GPUs, which no work of ours uses, would be printed by every worker.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.cloudpickle
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", extra="ray", purpose="--executor ray") from error
    return ray


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
