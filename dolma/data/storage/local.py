"""Files of this machine."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from dolma.data.storage.reading import allowed
from dolma.data.storage.storage import Entry, Storage
from dolma.data.storage.writing import writing
from dolma.errors import ConfigError, DataError
from dolma.printable import printable

_counter = itertools.count()
_RENAME_EXCHANGE, _RENAME_SWAP = 2, 2
_AT_CWD = {"renameat2": -100, "renameatx_np": -2}
_NAME_BYTES = 255
_MOST_FOLDERS = 200
_FLUSHED_TOGETHER = 32
_FLUSHING_THREADS = 8
_TRIES = 100  # each one but the last is spoilt by another process, at that very moment


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

    def check_writable(self, path: str) -> None:
        path = local_path(path)
        if not path.strip():
            raise ConfigError("an output has an empty path\n  a variable of the shell may have no value")
        expanded = os.path.expandvars(os.path.expanduser(path))
        if expanded != path:
            raise ConfigError(
                f"{printable(path)}: `~` and variables are the shell's, which leaves them alone within quotes and files"
                f"\n  write {expanded!r}"
            )
        names = path.split("/")
        if len(names) > _MOST_FOLDERS or any(len(os.fsencode(name)) > _NAME_BYTES for name in names):
            raise ConfigError(
                f"{printable(path[:_NAME_BYTES])}...: a name has more than {_NAME_BYTES} bytes, or there are more than "
                f"{_MOST_FOLDERS} folders, which file systems do not take\n  give a shorter path"
            )

    @contextmanager
    def atomic_path(self, path: str, *, flushed: bool = True) -> Iterator[str]:
        path = local_path(path)
        with writing(path):
            descriptor, temporary = _new_temporary(path)
        file = _Written(path, temporary, descriptor)
        try:
            yield temporary
            waiting = _waiting.get()
            if flushed and waiting is not None:
                waiting.add(file)
            else:
                if flushed:
                    file.flush()
                file.name()
        except BaseException:
            file.discard()
            raise


class _Written:
    """A file under its temporary name. Its descriptor is open while it has that, and holds the lock of its writer."""

    __slots__ = ("descriptor", "path", "temporary")

    def __init__(self, path: str, temporary: str, descriptor: int) -> None:
        self.path, self.temporary, self.descriptor = path, temporary, descriptor

    def flush(self) -> None:
        """Wait until it is on the disk."""
        with writing(self.path):
            os.fsync(self.descriptor)

    def name(self) -> None:
        """Give it its name."""
        with writing(self.path):
            os.replace(self.temporary, self.path)
        self._close()

    def discard(self) -> None:
        """Remove it; fine where it has its name, or is removed."""
        if self.descriptor >= 0:
            Path(self.temporary).unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)


class _Waiting:
    """Files that are to be flushed together, of which some are open at most."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._files: list[_Written] = []
        self._pool = pool

    def add(self, file: _Written) -> None:
        self._files.append(file)
        if len(self._files) == _FLUSHED_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Flush them side by side, so that the disk's journal takes them in one go: 6 times as fast; then name them."""
        list(self._pool.map(_Written.flush, self._files))
        for file in self._files:
            file.name()
        self._files = []

    def discard(self) -> None:
        for file in self._files:
            file.discard()


_waiting: ContextVar[_Waiting | None] = ContextVar("_waiting", default=None)


@contextmanager
def flushed_together() -> Iterator[None]:
    """While entered, files that this thread has written are flushed and named some at a time, the last at the end.

    When the block fails, those without a name do not get one. Files of other storages are not concerned.
    """
    with ThreadPoolExecutor(_FLUSHING_THREADS) as pool:
        waiting = _Waiting(pool)
        before = _waiting.set(waiting)
        try:
            yield
            waiting.flush()
        finally:
            _waiting.reset(before)
            waiting.discard()


def open_in_folder(path: str, flags: int) -> int:
    """The descriptor of a file that is opened, or made, in a folder that is made where it is missing.

    Other processes may make and remove the same folder meanwhile.
    """
    folder = os.path.dirname(path) or "."
    for left in reversed(range(_TRIES)):
        try:
            os.makedirs(folder, exist_ok=True)
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            if not left:
                raise
        except FileExistsError:
            if not left or os.path.lexists(path) or (os.path.lexists(folder) and not os.path.isdir(folder)):
                raise
    raise AssertionError


def _new_temporary(path: str) -> tuple[int, str]:
    """A new file beside the path, locked until it is closed, which tells `remove_leftover` that its writer lives."""
    parent, name = os.path.split(path)
    while True:
        temporary = os.path.join(parent, f".{name[:200]}.{os.getpid()}-{next(_counter)}.tmp")
        try:
            descriptor = open_in_folder(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            if os.path.lexists(temporary):  # of another machine, or a process that was killed
                continue
            raise
        if _is_ours(descriptor):
            return descriptor, temporary
        os.close(descriptor)  # it was taken for a leftover before it was locked


def _is_ours(descriptor: int) -> bool:
    """Whether a new file is locked, where there are locks, and still is in its folder."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return os.fstat(descriptor).st_nlink > 0


def remove_leftover(path: str) -> None:
    """Delete the temporary file of a writer that has been killed. That of one that lives stays, as it holds a lock.

    On a file system without locks, where nobody can tell, it stays too.
    """
    with suppress(OSError):
        descriptor = os.open(local_path(path), os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(local_path(path))
        finally:
            os.close(descriptor)


def _cannot_list(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError) and error.errno != errno.ESTALE:
        raise DataError(
            f"cannot be listed: {error.strerror}\n  {allowed(error, 'u+rx')}", file=str(error.filename)
        ) from error


def swap_folders(one: str, other: str) -> None:
    """Give each of two folders the name of the other, at one moment; on systems that cannot, in three steps.

    Raises:
        WriteError: the file system does not allow it.
    """
    one, other = local_path(one).rstrip("/"), local_path(other).rstrip("/")
    with writing(one):
        library = ctypes.CDLL(None, use_errno=True)
        for name, flag in (("renameat2", _RENAME_EXCHANGE), ("renameatx_np", _RENAME_SWAP)):  # Linux, macOS
            if (exchange := getattr(library, name, None)) is not None:
                at = _AT_CWD[name]
                if exchange(at, os.fsencode(one), at, os.fsencode(other), flag) == 0:
                    return
                if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        past = f"{other}.past"
        os.rename(one, past)
        os.rename(other, one)
        os.rename(past, other)


def finish_swap(one: str, other: str) -> None:
    """Put back a folder that a killed `swap_folders` has left under a third name; fine where there is none."""
    one, other = local_path(one).rstrip("/"), local_path(other).rstrip("/")
    past = f"{other}.past"
    if os.path.isdir(past):
        with writing(one):
            os.rename(past, other if os.path.isdir(one) else one)
