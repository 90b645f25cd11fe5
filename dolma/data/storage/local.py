"""Files of this machine."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dolma.data.storage.storage import Entry, Storage
from dolma.data.storage.writing import writing
from dolma.errors import DataError

_counter = itertools.count()


def local_path(path: str) -> str:
    """A path as the file system takes it.

    >>> local_path("file:///data/a.jsonl"), local_path("a.jsonl")
    ('/data/a.jsonl', 'a.jsonl')
    """
    return path.removeprefix("file://")


class Local(Storage):
    """The file system. The version of an entry is its time of change in nanoseconds."""

    def open(self, path: str) -> BinaryIO:
        kind = os.stat(local_path(path)).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # to open a folder says what it is
            raise DataError("is a device or a pipe, expected a file that can be read again", file=path)
        return open(local_path(path), "rb")

    def entry(self, path: str) -> Entry | None:
        try:
            status = os.stat(local_path(path))
        except (OSError, ValueError):
            return None
        return Entry(path, status.st_size, str(status.st_mtime_ns)) if stat.S_ISREG(status.st_mode) else None

    def paths(self, folder: str) -> Iterator[str]:
        for parent, _folders, names in os.walk(local_path(folder), onerror=_cannot_list):
            base = parent.rstrip("/")
            yield from (f"{base}/{name}" for name in names)

    def remove(self, path: str) -> None:
        Path(local_path(path)).unlink(missing_ok=True)

    def remove_tree(self, folder: str) -> None:
        while os.path.isdir(local_path(folder)):
            with suppress(FileNotFoundError):  # another process is removing the same tree
                shutil.rmtree(local_path(folder))

    @contextmanager
    def atomic_path(self, path: str) -> Iterator[str]:
        path = local_path(path)
        parent, name = os.path.split(path)
        with writing(path):
            os.makedirs(parent or ".", exist_ok=True)
        temporary = os.path.join(parent, f".{name[:200]}.{os.getpid()}-{next(_counter)}.tmp")
        try:
            yield temporary
            with writing(path):
                with open(temporary, "rb+") as written:
                    os.fsync(written.fileno())
                os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _cannot_list(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"cannot be listed: {error.strerror}", file=str(error.filename)) from error
