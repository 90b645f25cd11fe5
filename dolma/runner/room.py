"""Whether what a phase is going to write fits on the disks that it writes to: before it begins, and while it runs."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence

from dolma.data import streams
from dolma.data.manifest import OutputFile
from dolma.errors import WriteError
from dolma.runner.task import Task

TRUSTED = 0.05
"""The share of the input after which what was written for it tells what the rest will take."""


class Room:
    """The room that is left for one phase. `folders` are those that it writes to; storage without a size is left out.

    `work` has at least `least` bytes written to it for each byte of input. `shards` equal parts of the phase, of which
    `tasks` are one, fill the same disks.
    """

    __slots__ = ("_devices", "_disks", "_done", "_least", "_name", "_shards", "_size", "_work", "_written")

    def __init__(
        self, name: str, tasks: Sequence[Task], *, folders: Iterable[str], work: str, least: float, shards: int
    ) -> None:
        self._name, self._work, self._least, self._shards = name, work, least, shards
        self._size, self._done = sum(task.size for task in tasks), 0
        self._disks = {folder: there for folder in [work, *folders] if (there := _existing(folder)) is not None}
        self._devices = {there: os.stat(there).st_dev for there in self._disks.values()}
        self._written: Counter[int] = Counter()

    def check_begin(self) -> None:
        """Return when there is room for the least that the phase will write.

        Raises:
            WriteError: there is not.
        """
        if self._least and self._work in self._disks:
            self._check(self._disks[self._work], self._least * self._size)

    def wrote(self, task: Task, outputs: Iterable[OutputFile]) -> None:
        """A task is done; return when there seems to be room for the others.

        Raises:
            WriteError: there is not.
        """
        self._done += task.size
        for out in outputs:
            if out.set in self._disks:
                self._written[self._devices[self._disks[out.set]]] += out.bytes
        if self._done < TRUSTED * self._size:
            return
        for there in set(self._disks.values()):
            written = self._written[self._devices[there]]
            self._check(there, written / self._done * (self._size - self._done) if self._done else 0)

    def _check(self, there: str, needed: float) -> None:
        free = shutil.disk_usage(_existing(there) or there).free  # others may have removed it since
        if needed * self._shards > free:
            raise WriteError(
                f"{self._name} will not fit: it takes about {needed * self._shards / 1e9:,.3f} GB more, "
                f"{free / 1e9:,.3f} GB are free\n"
                "  make room, or give a folder on another disk by `--work-dir` or `--output`; "
                "then run the same command again: finished files are kept",
                file=there,
            )


def _existing(folder: str) -> str | None:
    """The folder, or the nearest one above it that is there; None where no file system has it."""
    if streams.is_url(folder):
        return None
    path = os.path.abspath(streams.local_path(folder))
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
