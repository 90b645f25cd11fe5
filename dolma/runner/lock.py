"""One run at a time in a folder; the shards of one run may share it.

An advisory `flock` on a local file, which the kernel lets go of however the process ends. On object storage, and on
file systems without locks, there is none: two equal runs at once then write the same bytes twice.

The file, `<folder>/.lock`, goes with the last who leaves a finished folder. Others may have opened it by then: a lock
counts only while its file is the one at the path.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress

from dolma.data import streams
from dolma.data.storage.local import open_in_folder
from dolma.errors import ConfigError
from dolma.printable import printable

NAME = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_BY_SHARD, _BY_WHOLE = b"shard", b"whole"


class RunLock:
    """The locks of all folders of a run; held all or none. `shard`: the run is one of several that share them."""

    __slots__ = ("_is_alone", "_locks", "_refused")

    def __init__(self, folders: Sequence[str], *, shard: bool = False) -> None:
        self._locks = [FolderLock(folder, shard=shard) for folder in folders]
        self._is_alone = False
        self._refused: FolderLock | None = None

    def alone(self) -> bool:
        """Take all for this process alone; False, and none taken, when another one holds any.

        What is shared is let go of first. So of all who share it and ask in the end, the last one gets it.
        """
        if not self._is_alone:
            self.release()
            self._is_alone = self._take(fcntl.LOCK_EX)
        return self._is_alone

    def shared(self) -> bool:
        """Take all, or turn them, so that other shards may hold them too; False, and none taken, when one is alone."""
        self._is_alone = False
        return self._take(fcntl.LOCK_SH)

    @property
    def is_there(self) -> bool:
        """Whether a file of these locks is there, held or left."""
        return any(lock.is_there for lock in self._locks)

    @property
    def guards(self) -> bool:
        """Whether the folders lie where there are locks; known once they were taken."""
        return all(lock.guards for lock in self._locks)

    @property
    def refused_by_shard(self) -> bool:
        """Whether it is a shard that holds what was to be had: one that prepares or clears the folders."""
        return self._refused is not None and self._refused.held_by_shard

    def release(self) -> None:
        """Let go of all; fine when not held."""
        self._is_alone = False
        for lock in reversed(self._locks):  # who has got the first one can have them all
            lock.release()

    def discard(self) -> None:
        """Remove the files of these locks, which are held alone, and let go of them."""
        self._is_alone = False
        for lock in reversed(self._locks):
            lock.discard()

    def taken(self) -> ConfigError:
        """The error of a run that finds a lock held."""
        return (self._refused or self._locks[0]).taken()

    def _take(self, how: int) -> bool:
        self._refused = next((lock for lock in self._locks if not lock.take(how)), None)
        if self._refused is not None:
            self.release()
        return self._refused is None


class FolderLock:
    """The lock of a run in this folder; not yet held."""

    __slots__ = ("_descriptor", "_path", "_shard", "folder", "guards")

    def __init__(self, folder: str, *, shard: bool = False) -> None:
        self.folder, self._shard = folder, shard
        self._path = None if streams.is_url(folder) else os.path.join(streams.local_path(folder), NAME)
        self._descriptor: int | None = None
        self.guards = self._path is not None

    def take(self, how: int) -> bool:
        """Take the lock, or turn it, `fcntl.LOCK_EX` or `LOCK_SH`; False, and not held, when others stand against it.

        Raises:
            ConfigError: nothing can be written there.
        """
        if self._path is None:
            return True
        while True:
            if self._descriptor is None:
                self._descriptor = self._opened(self._path)
            try:
                fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                return False
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self.guards = False
                return True
            if self._is_current():
                if how == fcntl.LOCK_EX:
                    with suppress(OSError):  # a full disk: others then do not know who holds it
                        os.pwrite(self._descriptor, _BY_SHARD if self._shard else _BY_WHOLE, 0)
                return True
            self.release()  # the file was removed by the run that finished the stage

    @property
    def is_there(self) -> bool:
        """Whether its file is there, held or left."""
        return self._path is not None and os.path.exists(self._path)

    @property
    def held_by_shard(self) -> bool:
        """Whether the last one who held it alone was a shard."""
        assert self._path is not None
        try:
            return streams.read_bytes(self._path) == _BY_SHARD
        except FileNotFoundError:
            return True  # it has just gone

    def release(self) -> None:
        """Let go; fine when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Remove its file, then let go."""
        if self._path is not None and self._descriptor is not None and self._is_current():
            os.unlink(self._path)
        self.release()

    def taken(self) -> ConfigError:
        """The error of a run that finds the lock held."""
        return ConfigError(
            f"{printable(self.folder)}: another run is at work in this folder\n"
            "  wait for it or stop it, then run this command again: it goes on where the other one ended"
        )

    def _opened(self, path: str) -> int:
        try:
            return open_in_folder(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ConfigError(
                f"{printable(self.folder)}: cannot write there: {error.strerror or error}\n"
                "  give an output folder that this user may write to"
            ) from error

    def _is_current(self) -> bool:
        assert self._descriptor is not None and self._path is not None
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            return False
