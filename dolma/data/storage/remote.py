"""What all storages behind a network share: names, retries, errors that say what to type, uploads.

A request that fails for a passing reason (a lost connection, no answer, 429, 5xx) is made again, with growing pauses,
`ATTEMPTS` times in all; after `PATIENCE_SECONDS` no further attempt begins. A server has `ANSWER_SECONDS` to say
something. So a server that never answers is an error in less than a minute. `retries` counts them.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import BinaryIO, ClassVar, Literal, NamedTuple, TypeVar, cast

from dolma.data.storage import retries
from dolma.data.storage.remote_file import RemoteFile
from dolma.data.storage.storage import Entry, Storage
from dolma.errors import ConfigError, DataError, WriteError
from dolma.printable import printable

ATTEMPTS = 8
PATIENCE_SECONDS = 40.0
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 15.0

Operation = Literal["list", "read", "write", "remove"]
Kind = Literal["missing", "no bucket", "transient", "denied", "credentials", "region", "changed", "other"]
T = TypeVar("T")


class Trouble(NamedTuple):
    """What an exception of a client means, and what the server said."""

    kind: Kind
    said: str


class Remote(Storage):
    """Files by `scheme://...`, for reading. Each kind of server has a module: how to ask, and what errors mean."""

    lists = False
    writes = False

    advice: ClassVar[Mapping[Kind, str]] = {}
    """What to type, by kind of trouble; `{bucket}` and `{path}` stand for those."""

    permissions: ClassVar[Mapping[Operation, str]] = {}
    """The permission that each operation needs, as this kind of server calls it."""

    @abstractmethod
    def _entry(self, path: str) -> Entry | None: ...

    @abstractmethod
    def _failures(self) -> tuple[type[Exception], ...]:
        """What the client raises."""

    @abstractmethod
    def _trouble(self, error: Exception) -> Trouble:
        """What one of these means."""

    def entry(self, path: str) -> Entry | None:
        try:
            return self.asked("read", path, partial(self._entry, path))
        except FileNotFoundError:
            return None

    def entries(self, prefix: str) -> list[Entry]:
        """All files whose path begins so, sorted by path; the prefix may end within a name.

        Raises:
            ConfigError: files cannot be listed there.
        """
        raise ConfigError(f"{printable(prefix)}: cannot list there; name each file, or use a folder or a bucket")

    def paths(self, folder: str) -> Iterator[str]:
        return (entry.path for entry in self.below(folder))

    def below(self, folder: str) -> Iterator[Entry]:
        return iter(self.entries(folder.rstrip("/") + "/"))

    def remove(self, path: str) -> None:
        self.check_writable(path)

    def remove_tree(self, folder: str) -> None:
        for path in self.paths(folder):
            self.remove(path)

    def atomic_path(self, path: str, *, flushed: bool = True) -> AbstractContextManager[str]:
        self.check_writable(path)
        raise ValueError(f"{type(self).__name__} says that it `writes`, and does not")

    def asked(self, operation: Operation, path: str, ask: Callable[[], T]) -> T:
        """What a request gives, made again as long as it fails for a passing reason.

        Raises:
            FileNotFoundError: there is no such object.
            DataError, WriteError: it fails; says what to type.
        """
        check_name(path.rpartition("/")[0] if operation == "list" else path)  # a prefix may end within a name
        failures, began, attempt = self._failures(), time.monotonic(), 1
        while True:
            try:
                return ask()
            except failures as error:
                trouble = self._trouble(error)
                if trouble.kind == "missing" and operation in ("list", "write"):  # which need no object, but a bucket
                    trouble = trouble._replace(kind="no bucket")
                if trouble.kind == "missing":
                    raise FileNotFoundError(path) from error
                over = attempt >= ATTEMPTS or time.monotonic() - began > PATIENCE_SECONDS
                if trouble.kind != "transient" or over:
                    raise self._failed(operation, path, trouble, attempt) from error
            retries.add({"/".join(path.split("/", 3)[:3]): 1})
            time.sleep(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1))
            attempt += 1

    def _failed(self, operation: Operation, path: str, trouble: Trouble, attempts: int) -> DataError | WriteError:
        advice = self.advice.get(trouble.kind, "")
        if trouble.kind == "denied" and operation in self.permissions:
            advice = f"let this user have {self.permissions[operation]} there; {advice}"
        if trouble.kind == "changed":
            advice = "nothing was finished from it; run the same command again when nothing else writes it"
        bucket = path.partition("://")[2].partition("/")[0]
        said = printable(trouble.said) + (f", {attempts} times" if attempts > 1 else "")
        advice = advice.format(bucket=printable(bucket), path=printable(path)) or "run the same command again"
        if operation == "write":
            return WriteError(f"cannot be written: {said}\n  {advice}", file=path)
        doing = {"list": "listed", "read": "read", "remove": "removed"}[operation]
        return DataError(f"cannot be {doing}: {said}\n  {advice}", file=path)


class Objects(Remote):
    """Objects that can be listed, and read by ranges."""

    lists = True

    @abstractmethod
    def _entries(self, prefix: str) -> list[Entry]:
        """All objects whose path begins so; the prefix may end within a name."""

    @abstractmethod
    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        """These bytes of an object, if it still is of this version."""

    def open(self, path: str) -> BinaryIO:
        entry = self.entry(path)
        if entry is None:
            raise FileNotFoundError(path)

        def read_range(start: int, length: int) -> bytes:
            data = self.asked("read", path, partial(self._range, path, start, length, entry.version))
            if len(data) != length:
                raise DataError(
                    f"cannot read: {len(data):,} bytes came where {length:,} were asked for"
                    "\n  try again; if it stays so, copy the file to a disk",
                    file=path,
                )
            return data

        return cast(BinaryIO, RemoteFile(read_range, entry.size))

    def entries(self, prefix: str) -> list[Entry]:
        try:
            return sorted(self.asked("list", prefix, partial(self._entries, prefix)))
        except FileNotFoundError:
            return []


class Bucket(Objects):
    """Objects by `scheme://bucket/key` that can be written, too."""

    writes = True

    @abstractmethod
    def _remove(self, path: str) -> None:
        """Delete an object."""

    @abstractmethod
    def _put(self, local: str, path: str) -> None:
        """Upload a file: whole, or nothing is changed."""

    def remove(self, path: str) -> None:
        try:
            self.asked("remove", path, partial(self._remove, path))
        except FileNotFoundError:
            pass

    @contextmanager
    def atomic_path(self, path: str, *, flushed: bool = True) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="dolma-") as folder:
            local = os.path.join(folder, "upload")
            yield local
            self.asked("write", path, partial(self._put, local, path))


def check_name(path: str) -> None:
    """Refuse a name that a client might take for another one: HTTP knows `.` and `..` as a file system does.

    Raises:
        ConfigError: a part of it is `.` or `..`.
    """
    if any(part in (".", "..") for part in path.partition("://")[2].split("/")):
        raise ConfigError(f"{printable(path)}: `.` and `..` have no meaning there\n  write the name without them")


def parts(path: str) -> tuple[str, str]:
    """Bucket and key of a URL.

    >>> parts("s3://bucket/a/b")
    ('bucket', 'a/b')
    """
    bucket, _, key = path.partition("://")[2].partition("/")
    return bucket, key


def by_status(status: int | None, said: str) -> Trouble:
    """What an HTTP status means; without one there was no answer."""
    kinds: dict[int, Kind] = {401: "credentials", 403: "denied", 404: "missing", 408: "transient", 410: "missing"}
    kinds |= {412: "changed", 416: "changed", 429: "transient"}
    if status is None:
        return Trouble("transient", said)
    return Trouble("transient" if status >= 500 else kinds.get(status, "other"), said)


def settings(*prefixes: str) -> tuple[tuple[str, str], ...]:
    """The environment's variables that begin so: where they change, a client has to be made anew."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(prefixes)))
