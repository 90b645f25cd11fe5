"""How often Gopher's symbols stand in a text: hash marks and ellipses.

The readable twin is `dolma/kernels/reference/symbols.py`. Texts are read once for all symbols, without a branch; only
where dots follow each other they are read again, so that none counts twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, kernel
from dolma.kernels.views import Int64
from dolma.kernels.words64 import byte_at

HASH, DOTS, SPACED_DOTS, ELLIPSIS = range(4)
"""Columns of `symbol_counts`."""


def symbol_counts(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """Occurrences of "#", "...", ". . ." and "…" as `str.count` has them; int64, shape `(n_docs, 4)`.

    Meant for `TextBatch.view`.

    >>> symbol_counts(np.frombuffer(b"# .... ......", np.uint8), np.array([0, 13])).tolist()
    [[1, 3, 0, 0]]
    """
    text, bounds = flat_text(utf8, offsets)
    counts = np.zeros((len(bounds) - 1, 4), dtype=np.int64)
    _symbol_counts(text, bounds, counts)
    return counts


@kernel
def _symbol_counts(utf8: Any, offsets: Any, counts: Any) -> None:
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        hashes, dots, spaced, ellipses = 0, 0, 0, 0
        for i in range(start, end):
            hashes += byte_at(utf8, i) == 0x23
        for i in range(start, end - 2):
            first, second, third = byte_at(utf8, i), byte_at(utf8, i + 1), byte_at(utf8, i + 2)
            ellipses += (first == 0xE2) & (second == 0x80) & (third == 0xA6)
            dots += (first == 0x2E) & (second == 0x2E) & (third == 0x2E)
            spaced += (first == 0x2E) & (second == 0x20) & (third == 0x2E)
        if dots:
            dots = _repetitions(utf8, start, end, 1)
        if spaced:
            spaced = _repetitions(utf8, start, end, 2)
        row = counts[doc]
        row[0], row[1], row[2], row[3] = hashes, dots, spaced, ellipses


@kernel
def _repetitions(utf8: Any, i: int, end: int, distance: int) -> int:
    """How many times three dots stand there, with one space in between if `distance` is 2; none overlaps."""
    n = 0
    while i + 2 * distance < end:
        if byte_at(utf8, i) != 0x2E:
            i += 1
        elif (
            byte_at(utf8, i + distance) == 0x2E
            and byte_at(utf8, i + 2 * distance) == 0x2E
            and (distance == 1 or (byte_at(utf8, i + 1) == 0x20 and byte_at(utf8, i + 3) == 0x20))
        ):
            n += 1
            i += 2 * distance + 1
        else:
            i += 1
    return n
