"""Joining a pair of symbols in words, and what that changes in the counts of pairs: the inner loop of training a BPE.

The readable twin is `dolma/kernels/reference/pair_merges.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import kernel, read_only

Int64 = npt.NDArray[np.int64]


def merge_pair(
    symbols: npt.NDArray[np.int32], starts: Int64, lengths: Int64, words: Int64, *, pair: tuple[int, int], new: int
) -> tuple[Int64, Int64, Int64]:
    """Join `pair` to the symbol `new` wherever it stands in these words, from left to right, in place.

    Word `i` is `symbols[starts[i]:starts[i] + lengths[i]]`; it and its length shrink. Returns a row for each pair that
    a join takes away (-1) or makes (1): the pair as `left << 32 | right`, the change, the word; in order of `words`.

    >>> symbols, lengths = np.array([1, 2, 3], np.int32), np.array([3])
    >>> merge_pair(symbols, np.array([0]), lengths, np.array([0]), pair=(1, 2), new=4)[1].tolist()
    [-1, 1]
    >>> symbols[: lengths[0]].tolist()
    [4, 3]
    """
    most = 2 * int(lengths[words].sum())
    pairs, changes, of = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    n = _merge_pair(
        symbols, read_only(starts, np.int64), lengths, read_only(words, np.int64), *pair, new, pairs, changes, of
    )
    return pairs[:n], changes[:n], of[:n]


@kernel
def _merge_pair(
    symbols: Any,
    starts: Any,
    lengths: Any,
    words: Any,
    left: int,
    right: int,
    new: int,
    pairs: Any,
    changes: Any,
    of: Any,
) -> int:
    n = 0
    for k in range(len(words)):
        word = words[k]
        first, size = starts[word], lengths[word]
        at, to = 0, 0  # read from, written to
        while at < size:
            symbol = np.int64(symbols[first + at])
            if symbol != left or at + 1 == size or symbols[first + at + 1] != right:
                symbols[first + to] = symbol
                at, to = at + 1, to + 1
                continue
            if to:
                before = np.int64(symbols[first + to - 1]) << 32
                pairs[n], changes[n], of[n] = before | left, -1, word
                pairs[n + 1], changes[n + 1], of[n + 1] = before | new, 1, word
                n += 2
            if at + 2 < size:
                after = np.int64(symbols[first + at + 2])
                pairs[n], changes[n], of[n] = np.int64(right) << 32 | after, -1, word
                pairs[n + 1], changes[n + 1], of[n + 1] = np.int64(new) << 32 | after, 1, word
                n += 2
            symbols[first + to] = new
            at, to = at + 2, to + 1
        lengths[word] = to
    return n
