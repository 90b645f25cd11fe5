"""Progress: workers count, the parent reports.

Inside a work, `advance(documents=, bytes=)` after each batch. It adds two integers and looks at a monotonic clock;
within a file at most four messages a second leave a worker. A work that has several files says by `begin` which one it
turns to, for errors and for what is said of a worker that dies. Nothing here reaches an output.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

MESSAGE_SECONDS = 0.25
"""The least time between two messages of one worker."""

Listener = Callable[[int, int], None]
"""Called with the documents and bytes since the last call."""

OnBegin = Callable[[str, str], None]
"""Called with the file of a task that is begun, and which part of it."""


class Reporter(Protocol):
    """Who is told how far a stage is. Called in the parent process only, from one thread."""

    def doing(self, text: str) -> None:
        """What is being done while there is nothing to count yet; what is shown next takes its place."""

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        """A phase begins: its tasks still to do and their input in bytes (on disk)."""

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None:
        """Documents and bytes of text worked on since the last call; tasks finished, and their input in bytes."""

    def finish(self) -> None:
        """The phase has ended, well or not."""

    def note(self, text: str) -> None:
        """One line worth showing: a resumed run, a worker that died and was replaced."""


class NullReporter:
    """Tells nobody."""

    def doing(self, text: str) -> None: ...

    def start(self, stage: str, tasks: int, bytes: int) -> None: ...

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...


class Meter:
    """Adds up progress and turns it into rates; a `Reporter` may keep one. `now` is in seconds, for tests."""

    __slots__ = ("_now", "_started", "bytes", "documents", "size", "tasks", "total_size", "total_tasks")

    def __init__(self, *, total_tasks: int = 0, total_size: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self.documents = self.bytes = self.tasks = self.size = 0
        self.total_tasks, self.total_size = total_tasks, total_size
        self._now, self._started = now, now()

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None:
        """Add to the sums."""
        self.documents += documents
        self.bytes += bytes
        self.tasks += tasks
        self.size += size

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return self._now() - self._started

    @property
    def documents_per_second(self) -> float:
        """0 before any time has passed."""
        return self.documents / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes of text; 0 before any time has passed."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By finished input; None before the first task is done."""
        return self.seconds * (self.total_size - self.size) / self.size if self.size else None


class _Throttle:
    """Collects what `advance` is told and passes it on to one listener, a few times a second."""

    __slots__ = ("bytes", "documents", "listener", "next_message", "on_begin")

    def __init__(self, listener: Listener, on_begin: OnBegin) -> None:
        self.listener, self.on_begin = listener, on_begin
        self.documents = self.bytes = 0
        self.next_message = time.monotonic() + MESSAGE_SECONDS

    def flush(self) -> None:
        if self.documents or self.bytes:
            self.listener(self.documents, self.bytes)
            self.documents = self.bytes = 0
        self.next_message = time.monotonic() + MESSAGE_SECONDS


_throttle: _Throttle | None = None


def advance(*, documents: int = 0, bytes: int = 0) -> None:
    """Count documents and bytes of text done in this process; does nothing when nobody listens."""
    throttle = _throttle
    if throttle is None:
        return
    throttle.documents += documents
    throttle.bytes += bytes
    if time.monotonic() >= throttle.next_message:
        throttle.flush()


def begin(file: str, part: str = "") -> None:
    """Say which file of its task this process turns to, and which part of it; does nothing when nobody listens."""
    if _throttle is not None:
        _throttle.flush()  # what is told from now on is of this file
        _throttle.on_begin(file, part)


class listening:
    """While entered, `advance` in this process goes to `listener`, what is left at the end; `begin` to `on_begin`."""

    __slots__ = ("_before", "_throttle")

    def __init__(self, listener: Listener, on_begin: OnBegin = lambda file, part: None) -> None:
        self._throttle = _Throttle(listener, on_begin)
        self._before: _Throttle | None = None

    def __enter__(self) -> None:
        global _throttle
        self._before, _throttle = _throttle, self._throttle

    def __exit__(self, *_: object) -> None:
        global _throttle
        _throttle = self._before
        self._throttle.flush()
