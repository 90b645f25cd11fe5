"""A remote file as one that can be read from any position: by ranges, ahead of a reader that goes straight on."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

FIRST_BYTES = 64 << 10
MOST_BYTES = 8 << 20

ReadRange = Callable[[int, int], bytes]
"""The bytes of a file from a position on, so many."""


class RemoteFile(io.RawIOBase):
    """Reads `size` bytes by ranges; at most two ranges of `MOST_BYTES` are in memory.

    A reader that jumps is given the range it asks for, of 64 KiB at least, so the footer of a parquet file costs one
    request. For one that goes on where it was, ranges grow to 8 MiB, and the next one is fetched meanwhile.
    """

    def __init__(self, read_range: ReadRange, size: int) -> None:
        self._read_range, self._size = read_range, size
        self._position = self._start = 0
        self._window = memoryview(b"")
        self._pool: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[bytes]] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, n: int | None = -1) -> bytes:
        """The next `n` bytes; fewer only at the end."""
        left = max(0, self._size - self._position)
        left = left if n is None or n < 0 else min(n, left)
        parts = []
        while left:
            part = self._some(left)
            parts.append(part)
            left -= len(part)
            self._position += len(part)
        return b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._window, self._next = memoryview(b""), None
        super().close()

    def _some(self, wanted: int) -> memoryview:
        """Up to `wanted` bytes from the position on, at least one."""
        end = self._start + len(self._window)
        if not self._start <= self._position < end:
            goes_on = self._position == end
            ahead = max(FIRST_BYTES, min(4 * len(self._window), MOST_BYTES) if goes_on else 0)
            self._window, self._start = memoryview(self._fetched(max(wanted, ahead))), self._position
            if goes_on and len(self._window) == MOST_BYTES:
                self._fetch_next()
        at = self._position - self._start
        return self._window[at : at + wanted]

    def _fetched(self, length: int) -> bytes:
        upcoming, self._next = self._next, None
        if upcoming is not None and upcoming[0] == self._position:
            return upcoming[1].result()
        return self._read_range(self._position, min(length, MOST_BYTES, self._size - self._position))

    def _fetch_next(self) -> None:
        start = self._start + len(self._window)
        if start < self._size:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="dolma-prefetch")
            length = min(MOST_BYTES, self._size - start)
            self._next = start, self._pool.submit(self._read_range, start, length)
