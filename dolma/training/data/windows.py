"""Training windows of one source: fixed lengths cut from the shards, or whole documents packed together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dolma.training.data.shards import Boundaries, ShardTokens

Int64 = npt.NDArray[np.int64]

_LONGEST_PERIOD = 13
_REPEATS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """One window of `length` tokens.

    `ids`: int64. `documents`: int32, a number per token that grows from document to document. `valid`: bool, whether
    the token counts as a label: not padding, and not masked by its shard.
    """

    ids: Int64
    documents: npt.NDArray[np.int32]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive tokens of a shard that lie in a window: `shard` is its number, `end` exclusive."""

    shard: int
    start: int
    end: int


class Windows(Protocol):
    """All windows of some shards, numbered in shard order."""

    length: int
    shards: Sequence[ShardTokens]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Window: ...

    def stretches(self, index: int) -> list[Stretch]:
        """Where the tokens of a window are from, in their order in it."""
        ...

    @property
    def dropped_tokens(self) -> int:
        """Tokens that are in no window."""
        ...


class ConcatenatedWindows:
    """Each shard cut by itself into windows of equal length, its remainder dropped; documents run across windows."""

    def __init__(self, shards: Sequence[ShardTokens], *, length: int) -> None:
        self.shards, self.length = shards, length
        self._counts = [len(shard.ids) // length for shard in shards]
        self._ends = np.cumsum(self._counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def dropped_tokens(self) -> int:
        """Tokens after the last whole window of each shard."""
        return sum(len(shard.ids) % self.length for shard in self.shards)

    def stretches(self, index: int) -> list[Stretch]:
        """The one stretch that is the window."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        start = (index - (int(self._ends[shard]) - self._counts[shard])) * self.length
        return [Stretch(shard, start, start + self.length)]

    def __getitem__(self, index: int) -> Window:
        return _window(self.shards, self.stretches(index), length=self.length, padding=0)


class PackedWindows:
    """Documents, cut to the length of a window where longer, packed by best fit decreasing, shard by shard.

    A document goes into the fullest window that still holds it; the rest of a window is padding, never a label. What is
    kept of each document is where it begins, in 4 bytes, and of each window its first one. With `truncate`, only the
    first piece of a longer document is taken.
    """

    def __init__(self, shards: Sequence[ShardTokens], *, length: int, padding: int, truncate: bool = False) -> None:
        self.shards, self.length, self.padding, self.truncate = shards, length, padding, truncate
        self._packed = [_packed(shard.boundaries, length, truncate=truncate) for shard in shards]
        self._ends = np.cumsum([len(packed.firsts) - 1 for packed in self._packed], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def dropped_tokens(self) -> int:
        """What is cut off, or none: every token is in a window."""
        if not self.truncate:
            return 0
        lengths = [np.diff(shard.boundaries).astype(np.int64) for shard in self.shards]
        return sum(int((some - self.length).clip(min=0).sum()) for some in lengths)

    def stretches(self, index: int) -> list[Stretch]:
        """The documents in the window, or pieces of them."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        packed, bounds = self._packed[number], self.shards[number].boundaries
        window = index - int(self._ends[number])  # from the end, where a last bound is
        starts = packed.starts[packed.firsts[window - 1] : packed.firsts[window]]
        ends = bounds[np.searchsorted(bounds, starts, side="right")]
        return [
            Stretch(number, start, min(start + self.length, end))
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]

    def __getitem__(self, index: int) -> Window:
        return _window(self.shards, self.stretches(index), length=self.length, padding=self.padding)


def _window(shards: Sequence[ShardTokens], stretches: list[Stretch], *, length: int, padding: int) -> Window:
    ids = np.full(length, padding, dtype=np.int64)
    documents = np.full(length, -1, dtype=np.int32)
    valid = np.zeros(length, dtype=bool)
    at = n_documents = 0
    for stretch in stretches:
        shard, n = shards[stretch.shard], stretch.end - stretch.start
        ids[at : at + n] = shard.ids[stretch.start : stretch.end]
        numbers = shard.documents(stretch.start, stretch.end)
        documents[at : at + n] = numbers + n_documents
        valid[at : at + n] = shard.trained(stretch.start, stretch.end)
        at, n_documents = at + n, n_documents + int(numbers[-1]) + 1
    documents[at:] = n_documents
    return Window(ids, documents, valid)


class _Packed(NamedTuple):
    """Pieces of documents by window: where each begins in the shard, and which is the first of each window.

    `starts` is of the type of the shard's boundaries; `firsts`, uint32, ends with the number of pieces. Pieces stand in
    the order of the shard, windows in that of their first pieces.
    """

    starts: Boundaries
    firsts: npt.NDArray[np.uint32]


def _packed(boundaries: Boundaries, length: int, *, truncate: bool) -> _Packed:
    pieces = (np.diff(boundaries) + (length - 1)) // length
    if truncate:
        pieces = np.minimum(pieces, 1)
    behind = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # pieces of the same document
    starts = np.repeat(boundaries[:-1], pieces) + (behind * length).astype(boundaries.dtype)
    sizes = np.minimum(np.repeat(boundaries[1:], pieces) - starts, length).astype(np.uint32)
    largest_first = np.argsort(length - sizes, kind="stable")
    windows = np.empty(len(starts), dtype=np.uint32)
    windows[largest_first] = _best_fit(sizes[largest_first], length)
    _, firsts = np.unique(windows, return_index=True)
    numbers = np.empty(len(firsts), dtype=np.uint32)
    numbers[np.argsort(firsts)] = np.arange(len(firsts), dtype=np.uint32)
    windows = numbers[windows]
    counts = np.bincount(windows, minlength=len(firsts))
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    return _Packed(starts[np.argsort(windows, kind="stable")], bounds)


def _best_fit(sizes: npt.NDArray[np.uint32], length: int) -> npt.NDArray[np.uint32]:
    """The window of each piece; it goes into the fullest that holds it, of several such the latest filled."""
    chosen, below = array("I"), array("i")  # windows with the same room are a stack: `below` is the next one in it
    top = [-1] * (length + 1)  # by room
    rooms = _Rooms(length)
    for size in array("I", sizes.tobytes()):
        room = rooms.at_least(size)
        if room is None:
            window, room = len(below), length
            below.append(-1)
        else:
            window = top[room]
            top[room] = below[window]
            if top[room] < 0:
                rooms.remove(room)
        chosen.append(window)
        left = room - size
        if left:
            below[window], top[left] = top[left], window
            rooms.add(left)
    return np.frombuffer(chosen, dtype=np.uint32)


class _Rooms:
    """A set of numbers from 1 to `largest` that finds the least one above a bound, in logarithmic time."""

    def __init__(self, largest: int) -> None:
        self._leaves = 1 << largest.bit_length()
        self._has = bytearray(2 * self._leaves)

    def add(self, room: int) -> None:
        node = self._leaves + room
        while node and not self._has[node]:
            self._has[node] = 1
            node >>= 1

    def remove(self, room: int) -> None:
        node = self._leaves + room
        self._has[node] = 0
        while node > 1 and not self._has[node ^ 1]:
            node >>= 1
            self._has[node] = 0

    def at_least(self, bound: int) -> int | None:
        node = self._leaves + bound
        if self._has[node]:
            return bound
        while node > 1:
            if not node & 1 and self._has[node + 1]:
                node += 1
                while node < self._leaves:
                    node = 2 * node if self._has[2 * node] else 2 * node + 1
                return node - self._leaves
            node >>= 1
        return None


def repeats_itself(ids: Int64) -> bool:
    """Whether 1 to 13 tokens stand 32 times in a row somewhere: OLMo 3's filter of windows.

    >>> repeats_itself(np.array([1, 2] * 32)), repeats_itself(np.arange(64))
    (True, False)
    """
    for period in range(1, _LONGEST_PERIOD + 1):
        needed = period * (_REPEATS - 1)  # matches in a row of a token with the one a period before
        if len(ids) < needed + period:
            continue
        same = np.concatenate([[False], ids[period:] == ids[:-period], [False]])
        changes = np.flatnonzero(same[1:] != same[:-1])
        if len(changes) and int((changes[1::2] - changes[::2]).max()) >= needed:
            return True
    return False
