"""Repetition and lines as Dolma 1.x's Gopher taggers count them: n-grams with all their overlaps, lines as they are.

The readable twin is `dolma/kernels/reference/dolma1_gopher.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, kernel, read_only
from dolma.kernels.repetition import (
    LONGEST,
    ngram_arrays,
    pair_neighbours,
    pair_words,
    repeated,
)
from dolma.kernels.unicode import count_code_points
from dolma.kernels.views import HAS_ELLIPSIS, HAS_HASH, Blocks, Int64, Words
from dolma.kernels.words64 import ONES, byte_at, first_bit, first_bytes, load

_LAST_MOST_COMMON = 4
_0, _BYTE, _SYMBOLS = np.uint64(0), np.uint64(0xFF), np.uint64(HAS_HASH | HAS_ELLIPSIS) * ONES


def ngram_fractions(words: Words) -> npt.NDArray[np.float64]:
    """Shares of repeated n-grams; float64 0-1, `(n_docs, 9)`, NaN for a document with fewer than n words.

    Column `n - 2` is for n-grams of n words. For n from 2 to 4: occurrences of the most frequent n-gram (of equals the
    first), times its code points, to the code points of all words; at most 1, and 0 where none occurs twice. For n from
    5 to 10: code points of all n-grams that occur twice, with all occurrences, to those of all n-grams.
    """
    fractions = np.full((len(words.index) - 1, LONGEST - 1), np.nan)
    _ngram_fractions(
        *ngram_arrays(words),
        fractions,
    )
    return fractions


def line_sums(
    utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks, copies: npt.NDArray[np.uint8], *, runs: bool
) -> Int64:
    """Lines; those that begin with "*" or "-", that end with "…", that occur twice; code points of the latter.

    int64, `(n_docs, 5)`. Lines are the pieces between newlines, the empty one at the end too; with `runs` those between
    runs of newlines, an empty one where the text begins with one. `copies`: `dolma.kernels.repetition.line_copies`.
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.zeros((len(bounds) - 1, 5), dtype=np.int64)
    _line_sums(
        text,
        bounds,
        read_only(lines.starts, np.int64),
        read_only(lines.ends, np.int64),
        read_only(lines.index, np.int64),
        read_only(copies, np.uint8),
        int(runs),
        sums,
    )
    return sums


def symbol_words(utf8: npt.NDArray[np.uint8], words: Words) -> Int64:
    """Words with "#" or "…" per document; int64, `(n_docs,)`. Three dots are no symbol here."""
    counts = np.zeros(len(words.index) - 1, dtype=np.int64)
    _symbol_words(
        read_only(utf8, np.uint8),
        read_only(words.starts, np.int64),
        read_only(words.ends, np.int64),
        read_only(words.kinds, np.uint8),
        read_only(words.index, np.int64),
        counts,
    )
    return counts


@kernel
def _ngram_fractions(
    hashes: Any,
    n_characters: Any,
    index: Any,
    table: Any,
    firsts: Any,
    marks: Any,
    keys: Any,
    scratch: Any,
    fractions: Any,
) -> None:
    counts, places, grams = scratch[0], scratch[1], scratch[2]
    for doc in range(len(index) - 1):
        sizes = n_characters[index[doc] : index[doc + 1]]
        n_words = len(sizes)
        for n in range(2, min(LONGEST, n_words) + 1):
            fractions[doc, n - 2] = 0.0
        total = np.int64(0)
        for i in range(n_words):
            total += sizes[i]
        n_keys = pair_words(hashes[index[doc] : index[doc + 1]], places, keys)
        for n in range(2, LONGEST + 1):
            n_places = repeated(n_keys, keys, places, table, firsts, marks, counts, grams)
            if n_places == 0:
                break
            if n <= _LAST_MOST_COMMON:
                place, count = _first_most_common(places, grams, n_places, counts)
                fractions[doc, n - 2] = min(count * _size(sizes, place, n) / total, 1.0)
            else:
                covered = np.int64(0)
                for k in range(n_places):
                    covered += _size(sizes, np.int64(places[k]), n)
                fractions[doc, n - 2] = covered / _size_of_all(sizes, n, total)
            n_keys = pair_neighbours(n_places, places, grams, keys)


@kernel
def _first_most_common(places: Any, grams: Any, n_places: int, counts: Any) -> tuple[Any, Any]:
    """A place of the most frequent n-gram, of equals the first, and how often it occurs."""
    place, most = np.int64(0), np.int64(0)
    for k in range(n_places):
        count = np.int64(counts[grams[k]])
        if count > most:
            place, most = np.int64(places[k]), count
    return place, most


@kernel
def _size(sizes: Any, place: Any, n: int) -> Any:
    size = np.int64(0)
    for i in range(place, place + n):
        size += sizes[i]
    return size


@kernel
def _size_of_all(sizes: Any, n: int, total: Any) -> Any:
    """Code points of all n-grams together: each word in as many of them as it is in."""
    n_words = len(sizes)
    size = n * total
    for i in range(min(n - 1, n_words)):
        # The words at both ends are in fewer n-grams than n.
        size -= (n - 1 - i) * (np.int64(sizes[i]) + np.int64(sizes[n_words - 1 - i]))
    return size


@kernel
def _line_sums(utf8: Any, offsets: Any, starts: Any, ends: Any, index: Any, copies: Any, runs: int, sums: Any) -> None:
    for doc in range(len(index) - 1):
        begin, end = offsets[doc], offsets[doc + 1]
        n, n_empty, n_bullets, n_ellipses, n_repeated, size = 0, 0, 0, 0, 0, np.int64(0)
        for line in range(index[doc], index[doc + 1]):
            start, stop = starts[line], ends[line]
            if start == stop:
                n_empty += 1
                continue
            n += 1
            first = byte_at(utf8, start)
            n_bullets += (first == 0x2A) | (first == 0x2D)
            n_ellipses += _ends_with_ellipsis(utf8, start, stop)
            if copies[line] != 0:
                n_repeated += 1
                size += count_code_points(utf8, start, stop)
        if runs:
            n_empty = int(begin < end and byte_at(utf8, begin) == 0x0A)
        n_empty += begin == end or byte_at(utf8, end - 1) == 0x0A
        n_repeated += n_empty * (n_empty > 1)
        sums[doc, 0], sums[doc, 1], sums[doc, 2] = n + n_empty, n_bullets, n_ellipses
        sums[doc, 3], sums[doc, 4] = n_repeated, size


@kernel
def _ends_with_ellipsis(utf8: Any, start: int, end: int) -> bool:
    if end - start < 3:
        return False
    return byte_at(utf8, end - 3) == 0xE2 and byte_at(utf8, end - 2) == 0x80 and byte_at(utf8, end - 1) == 0xA6


@kernel
def _symbol_words(utf8: Any, starts: Any, ends: Any, kinds: Any, index: Any, counts: Any) -> None:
    for doc in range(len(index) - 1):
        last = index[doc + 1]
        for at in range(index[doc], last, 8):
            marks = first_bytes(load(kinds, at) & _SYMBOLS, last - at)
            while marks != _0:
                word = at + (first_bit(marks) >> 3)
                marks &= ~(_BYTE << np.uint64(8 * (word - at)))
                counts[doc] += kinds[word] & HAS_HASH != 0 or _has_ellipsis(utf8, starts[word], ends[word])


@kernel
def _has_ellipsis(utf8: Any, start: int, end: int) -> bool:
    for i in range(start, end - 2):
        if byte_at(utf8, i) == 0xE2 and byte_at(utf8, i + 1) == 0x80 and byte_at(utf8, i + 2) == 0xA6:
            return True
    return False
