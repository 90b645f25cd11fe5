"""Which tasks of a phase a shard of a run does, and in words what it waits for.

Task number `i`, from 0, belongs to shard `i % n + 1` of `n`. The first shard, or who has taken over from it, writes the
manifests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from dolma.errors import Unfinished
from dolma.printable import counted
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two looks at what other shards have done."""
_NAMED = 8  # shards in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The tasks that belong to these shards (numbers from 1) of `of`."""

    shards: frozenset[int]
    of: int

    @classmethod
    def of_options(cls, options: RunOptions) -> Share:
        """What is to be done here: everything, or the part of one shard and of those that it takes over from."""
        i, n = options.shard or (1, 1)
        return cls(shards=frozenset({i, *options.take_over}), of=n)

    @property
    def finishes(self) -> bool:
        """Whether the manifests are written here."""
        return 1 in self.shards

    def owner(self, task: int) -> int:
        """The shard that this task belongs to."""
        return task % self.of + 1

    def mine(self, n_tasks: int) -> list[int]:
        """The tasks to be done here, of `n_tasks`."""
        return [task for task in range(n_tasks) if self.owner(task) in self.shards]

    def named(self, missing: Iterable[int], noun: str = "task") -> str:
        """The shards that these tasks belong to, and how many each has.

        >>> Share(shards=frozenset({1}), of=4).named([1, 2, 5])
        'shard 2/4 (2 tasks), shard 3/4 (1 task)'
        """
        tasks = Counter(map(self.owner, missing))
        said = [f"shard {i}/{self.of} ({counted(n, noun)})" for i, n in sorted(tasks.items())]
        more = [f"{len(said) - _NAMED} more shards"] if len(said) > _NAMED else []
        return ", ".join([*said[:_NAMED], *more])


class Patience:
    """Waits for other shards, and says what for when that changes."""

    __slots__ = ("_pause", "_reporter", "_said", "_wait")

    def __init__(self, reporter: Reporter, *, wait: bool) -> None:
        self._reporter, self._wait = reporter, wait
        self._said, self._pause = "", FIRST_PAUSE

    def wait(self, where: str, whom: str, *, soon: bool = False) -> None:
        """Let a pause pass, each longer than the one before until what is said changes.

        Raises:
            Unfinished: there is to be no waiting, but for what is over `soon`.
        """
        if not (self._wait or soon):
            raise Unfinished(
                f"{where}: waiting for {whom}\n  run this command again when they are done; "
                "`--take-over I` does the tasks of a dead shard I here"
            )
        said = f"{where}: waiting for {whom}"
        if said != self._said:
            self._reporter.note(said)
            self._said, self._pause = said, FIRST_PAUSE
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
