"""Which task of a phase is next: the biggest first; at the end, each alone, those whose worker has died.

A worker that is killed has mostly asked for memory that was not there, and then the others are the reason as often as
the task itself. So a task is tried again alone, and only a second loss is its own fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from dolma.runner.task import Task


class Turns:
    """The tasks of a phase that are still to be handed out, by number."""

    __slots__ = ("_alone", "_queue", "again")

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._queue = sorted(range(len(tasks)), key=lambda i: (tasks[i].size, -i))  # the biggest last: `pop` takes it
        self._alone: list[int] = []
        self.again: set[int] = set()

    def next(self, n_running: int) -> int | None:
        """The task to be handed out now, while `n_running` are being done; None: wait until one of those ends.

        Those in `again` are handed out when nothing is running, and nothing is handed out beside them.
        """
        if self._queue:
            return self._queue.pop()
        return self._alone.pop(0) if self._alone and not n_running else None

    def lost(self, index: int) -> bool:
        """Whether the task of a dead worker is tried again."""
        if index in self.again:
            return False
        self.again.add(index)
        self._alone.append(index)
        return True

    def __bool__(self) -> bool:
        return bool(self._queue or self._alone)
