"""Who runs the tasks: processes on this machine or a Ray cluster. The work does not know which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dolma.runner.options import RunOptions
from dolma.runner.task import OnProgress, OnResult, Task, Work


class Executor(Protocol):
    """Runs phases one after the other; keeps what is dear to start in between."""

    def start(self, tasks: Sequence[Task], prepare: Callable[[], object]) -> None:
        """Start what these tasks will need while the caller goes on, and call `prepare`, picklable, in each process."""

    def run(self, work: Work, tasks: Sequence[Task], *, on_result: OnResult, on_progress: OnProgress) -> None:
        """Do all tasks, or raise the first error and leave none running.

        Raises:
            DolmaError: what the work raised; other exceptions come as `WorkerError`.
        """

    def close(self) -> None:
        """Stop what was started."""


def executor_for(options: RunOptions, *, note: Callable[[str], None]) -> Executor:
    """The executor these options ask for; nothing is started yet.

    Raises:
        MissingExtraError: it needs a package that is not installed.
    """
    if options.executor == "ray":
        from dolma.runner.ray_executor import RayExecutor

        return RayExecutor(options, note=note)
    from dolma.runner.local import LocalExecutor

    return LocalExecutor(options, note=note)
