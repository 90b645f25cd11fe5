"""In which order documents go into shards, and where each shard ends: functions of seed and documents alone.

Every document has a place, a 64-bit number. Shuffled, it is mixed from seed, shard name and line: sorting by it is a
uniform shuffle in which no document needs to know of any other, so any number of workers agrees on it. In corpus
order it counts pieces and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from dolma.runner.seeds import draws

LAST_PLACE = 2**64 - 1
ROW_BITS = 40
"""The low bits of a place in corpus order, which count rows; the others count pieces."""

Places = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


def shuffled_places(seed: int, shard: str, lines: Counts) -> Places:
    """The place of each document of a shard in the shuffled corpus; uint64, uniform, all different."""
    return draws(seed, "shuffle", shard, lines)


def parts_in_order(places: Places, part: Counts, parts: Counts) -> Places:
    """The places of the parts of documents: that of the document, and the ones after it.

    >>> parts_in_order(np.array([7, 7, 9], np.uint64), np.array([0, 1, 0]), np.array([2, 2, 1]))
    array([7, 8, 9], dtype=uint64)
    """
    return np.minimum(places, np.uint64(LAST_PLACE) - (parts - 1).astype(np.uint64)) + part.astype(np.uint64)


def corpus_places(piece: int, first: int, n_docs: int) -> Places:
    """The places of documents `first`, `first + 1`, … of the piece with this number, in corpus order.

    >>> corpus_places(1, 2, 2) - (1 << 40)
    array([2, 3], dtype=uint64)
    """
    return np.arange(first, first + n_docs, dtype=np.uint64) + np.uint64(piece << ROW_BITS)


def cut(series: Callable[[], Iterable[Counts]], *, limit: int, n_parts: int | None = None) -> list[int]:
    """Where consecutive units of these sizes (tokens, at least 1) are cut: the first unit of each part, and the end.

    `series` gives all sizes each time it is called, some at a time. No part is empty or holds more than `limit`, unless
    it is one unit. There are as few parts as even sizes allow, or `n_parts`, of any size, if there are so many units.

    >>> cut(lambda: [np.array([3, 3]), np.array([3, 3])], limit=7)
    [0, 2, 4]
    >>> cut(lambda: [np.array([1, 9, 1])], limit=4)
    [0, 1, 2, 3]
    """
    total = n_units = 0
    for sizes in series():
        total, n_units = total + int(sizes.sum()), n_units + len(sizes)
    if n_parts is not None:
        return _cut_evenly(series(), total, min(n_parts, n_units), total, keep=n_units)
    n_parts = max(1, -(-total // limit))
    while True:
        bounds = _cut_evenly(series(), total, n_parts, limit)
        if len(bounds) - 1 <= n_parts:
            return bounds
        n_parts = max(len(bounds) - 1, n_parts + n_parts // 32)


def _cut_evenly(
    series: Iterable[Counts], total: int, n_parts: int, limit: int, *, keep: int | None = None
) -> list[int]:
    """Each part takes its share of what is left, to the nearest unit, and never more than the limit.

    Of `keep` units, a part leaves one for each further part.
    """
    bounds, begun = [0], 0  # tokens before the part that is open
    n_units = n_tokens = 0  # before these sizes
    for sizes in series:
        ends = np.concatenate([[0], np.cumsum(sizes)]) + n_tokens
        while (at := bounds[-1]) < n_units + len(sizes):
            share = begun + -(-(total - begun) // max(1, n_parts - len(bounds) + 1))
            after = int(np.searchsorted(ends[1:], share)) + 1
            if keep is not None:
                after = min(after, keep - (n_parts - len(bounds)) - n_units)
            fits = int(np.searchsorted(ends[1:], begun + limit, side="right"))
            if min(after, fits + 1) > len(sizes):
                break  # the part goes on in the next sizes
            bound = n_units + min(after, fits)
            if after <= fits and bound > at + 1:
                bound -= bool(ends[after] - share > share - ends[after - 1])
            bounds.append(max(at + 1, bound))
            begun = int(ends[bounds[-1] - n_units])
        n_units, n_tokens = n_units + len(sizes), int(ends[-1])
    return bounds
