"""One run at a time in a folder; the shards of one run may share it.

An advisory `flock` on a local file, which the kernel lets go of however the process ends. On object storage, and on
file systems without locks, there is none: two equal runs at once then write the same bytes twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence

from dolma.data import streams
from dolma.errors import ConfigError
from dolma.printable import printable

WAIT_SECONDS = 30.0
"""How long a shard waits for another one that prepares the folders."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class RunLock:
    """The locks of all folders of a run; held all or none."""

    __slots__ = ("_locks", "_refused")

    def __init__(self, folders: Sequence[str]) -> None:
        self._locks = [FolderLock(folder) for folder in folders]
        self._refused: FolderLock | None = None

    def alone(self) -> bool:
        """Take all for this process alone; False, and none taken, when another one holds any."""
        self._refused = next((lock for lock in self._locks if not lock.alone()), None)
        if self._refused is None:
            return True
        self.release()
        return False

    def shared(self) -> None:
        """Take all, or turn them, so that other shards may hold them too; see `FolderLock.shared`."""
        for lock in self._locks:
            lock.shared()

    @property
    def guards(self) -> bool:
        """Whether the folders lie where there are locks; known once they were taken."""
        return all(lock.guards for lock in self._locks)

    def release(self) -> None:
        """Let go of all; fine when not held."""
        for lock in self._locks:
            lock.release()

    def taken(self) -> ConfigError:
        """The error of a run that finds a lock held."""
        return (self._refused or self._locks[0]).taken()


class FolderLock:
    """The lock of a run whose journal is in `folder`; not yet held."""

    __slots__ = ("_descriptor", "_path", "folder", "guards")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = None if streams.is_url(folder) else os.path.join(folder.removeprefix("file://"), "lock")
        self._descriptor: int | None = None
        self.guards = self._path is not None

    def alone(self) -> bool:
        """Take the lock for this process alone; False when another one holds it."""
        # Twice: the first file may be removed under us by a run that has just finished.
        return self._take(fcntl.LOCK_EX) or self._take(fcntl.LOCK_EX)

    def shared(self) -> None:
        """Take the lock, or turn it, so that other shards may hold it too.

        Raises:
            ConfigError: a run that is no shard holds it.
        """
        give_up = time.monotonic() + WAIT_SECONDS
        while not self._take(fcntl.LOCK_SH):
            if time.monotonic() > give_up:
                raise self.taken()
            time.sleep(0.05)

    def release(self) -> None:
        """Let go; fine when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def taken(self) -> ConfigError:
        """The error of a run that finds the lock held."""
        return ConfigError(
            f"{printable(os.path.dirname(self.folder))}: another run is at work in this folder\n"
            "  wait for it or stop it, then run this command again: it goes on where the other one ended"
        )

    def _take(self, how: int) -> bool:
        if self._path is None:
            return True
        if self._descriptor is None:
            self._descriptor = self._opened(self._path)
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self.guards = False
                return True
            raise
        if self._is_current():
            return True
        self.release()  # the file was removed by the run that finished the stage
        return False

    def _opened(self, path: str) -> int:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(
                f"{printable(os.path.dirname(self.folder))}: cannot write there: {error.strerror or error}\n"
                "  give an output folder that this user may write to"
            ) from error

    def _is_current(self) -> bool:
        assert self._descriptor is not None and self._path is not None
        try:
            return os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False
