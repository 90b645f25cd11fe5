"""Gopher's signals as datatrove counts them: tokens of English, n-grams with overlaps, second occurrences only.

The readable twin is `dolma/kernels/reference/datatrove.py`, which follows the filters' own arithmetic step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.english_tokens import IS_SOLID
from dolma.kernels.hashing import hash64
from dolma.kernels.quality import slots_of
from dolma.kernels.repetition import (
    LONGEST,
    count_keys,
    marks_for,
    pair_neighbours,
    pair_words,
    repeated,
    table_for,
)
from dolma.kernels.unicode import character_classes, count_code_points, decode, skip_spaces, trim_spaces
from dolma.kernels.views import HAS_ALPHA, Int64, Words
from dolma.kernels.words64 import byte_at

_1 = np.uint64(1)
_LAST_MOST_COMMON = 4


def ngram_characters(tokens: Words) -> Int64:
    """Code points of repeated n-grams; int64, `(n_docs, 9)`, -1 for a document with fewer than n tokens.

    Column `n - 2` is for n-grams of n tokens. For n from 2 to 4: occurrences of the most frequent one, of equals the
    first, times its code points with a space between tokens; it may occur once only. For n from 5 to 10: reading from
    the start, those of each that has occurred before among the n-grams read, without spaces; after such a one reading
    goes on behind it.
    """
    found = np.full((len(tokens.index) - 1, LONGEST - 1), -1, dtype=np.int64)
    most = int(tokens.per_document().max(initial=0))
    _ngram_characters(
        read_only(tokens.hashes, np.uint64),
        read_only(tokens.n_characters, np.int32),
        read_only(tokens.index, np.int64),
        *table_for(most),
        marks_for(most),
        np.empty(most, dtype=np.uint64),
        np.empty((3, most), dtype=np.uint32),
        np.zeros(most, dtype=np.uint8),
        found,
    )
    return found


def repeated_pieces(utf8: npt.NDArray[np.uint8], offsets: Int64, *, paragraphs: bool) -> Int64:
    """Pieces, those that occurred before in the document, and the code points of these; int64, `(n_docs, 3)`.

    Lines lie between runs of "\\n"; what lies before the first and behind the last is one too, even if empty.
    Paragraphs lie between runs of two or more, in the text without the whitespace at both ends.
    """
    text, bounds = flat_text(utf8, offsets)
    most = int(np.diff(bounds).max(initial=0)) // (2 + paragraphs) + 2
    sums = np.zeros((len(bounds) - 1, 3), dtype=np.int64)
    _repeated_pieces(
        text,
        bounds,
        2 if paragraphs else 1,
        character_classes(),
        *table_for(most),
        np.empty(most, dtype=np.uint64),
        np.empty((3, most), dtype=np.uint32),
        sums,
    )
    return sums


def token_sums(tokens: Words, *, vocabulary: tuple[str, ...] = ()) -> Int64:
    """Counts over the tokens of each document; int64, `(n_docs, 4)`.

    Columns: tokens that are not of marks alone; the code points of these; tokens with a letter; how many different
    words of `vocabulary` are among the tokens, as spelled.

    Raises:
        ValueError: more than 32 words in the vocabulary.
    """
    sums = np.zeros((len(tokens.index) - 1, 4), dtype=np.int64)
    _token_sums(
        read_only(tokens.hashes, np.uint64),
        read_only(tokens.n_characters, np.int32),
        read_only(tokens.kinds, np.uint8),
        read_only(tokens.index, np.int64),
        slots_of(vocabulary),
        sums,
    )
    return sums


def line_sums(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """Hash marks, ellipses, lines (`str.splitlines`), those with "•" or "-" first, with an ellipsis last.

    int64, `(n_docs, 5)`. Ellipses are "…" and "...", the latter without overlap. Whitespace at both ends of a line is
    passed over.
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.zeros((len(bounds) - 1, 5), dtype=np.int64)
    _line_sums(text, bounds, character_classes(), sums)
    return sums


@kernel
def _ngram_characters(
    hashes: Any,
    sizes: Any,
    index: Any,
    table: Any,
    firsts: Any,
    marks: Any,
    keys: Any,
    scratch: Any,
    seen: Any,
    found: Any,
) -> None:
    counts, places, grams = scratch[0], scratch[1], scratch[2]
    for doc in range(len(index) - 1):
        mine = sizes[index[doc] : index[doc + 1]]
        n_tokens = len(mine)
        for n in range(2, min(LONGEST, n_tokens) + 1):
            # Without an n-gram that repeats the first is the most frequent one.
            found[doc, n - 2] = _size(mine, 0, n) + n - 1 if n <= _LAST_MOST_COMMON else 0
        n_keys = pair_words(hashes[index[doc] : index[doc + 1]], places, keys)
        for n in range(2, LONGEST + 1):
            n_places = repeated(n_keys, keys, places, table, firsts, marks, counts, grams)
            if n_places == 0:
                break
            if n <= _LAST_MOST_COMMON:
                place, most = np.int64(0), np.int64(0)
                for k in range(n_places):
                    count = np.int64(counts[grams[k]])
                    if count > most:
                        place, most = np.int64(places[k]), count
                found[doc, n - 2] = most * (_size(mine, place, n) + n - 1)
            else:
                found[doc, n - 2] = _read_again(mine, n, n_places, places, grams, seen)
            n_keys = pair_neighbours(n_places, places, grams, keys)


@inlined
def _size(sizes: Any, place: Any, n: int) -> Any:
    size = np.int64(0)
    for i in range(place, place + n):
        size += sizes[i]
    return size


@inlined
def _read_again(sizes: Any, n: int, n_places: int, places: Any, grams: Any, seen: Any) -> Any:
    """Code points of the n-grams that have been read before, where reading jumps over each of them."""
    for k in range(n_places):
        seen[grams[k]] = 0
    repeated, here = np.int64(0), np.int64(0)
    for k in range(n_places):
        place = np.int64(places[k])
        if place < here:
            continue
        if seen[grams[k]]:
            repeated += _size(sizes, place, n)
            here = place + n
        else:
            seen[grams[k]] = 1
    return repeated


@kernel
def _repeated_pieces(
    utf8: Any, offsets: Any, least: int, classes: Any, table: Any, firsts: Any, hashes: Any, scratch: Any, sums: Any
) -> None:
    counts, grams, sizes = scratch[0], scratch[1], scratch[2]
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        if least > 1:
            start = skip_spaces(utf8, start, end, classes)
            end = trim_spaces(utf8, start, end, classes)
        n, i = 0, start
        while i <= end:
            stop = i
            run = 0
            while i < end:
                if byte_at(utf8, i) == 0x0A:
                    run += 1
                elif run >= least:
                    break
                else:
                    run = 0
                    stop = i + 1
                i += 1
            if run < least:
                stop = end
            hashes[n], sizes[n] = hash64(utf8, start, stop), count_code_points(utf8, start, stop)
            n += 1
            if i >= end:
                if run >= least:  # what lies behind the last run is empty
                    hashes[n], sizes[n] = hash64(utf8, end, end), 0
                    n += 1
                break
            start = i
        count_keys(hashes[:n], table, firsts, counts, grams)
        sums[doc, 0] = n
        for k in range(n):
            if grams[k] != k:
                sums[doc, 1] += 1
                sums[doc, 2] += sizes[k]


@kernel
def _token_sums(hashes: Any, sizes: Any, kinds: Any, index: Any, slots: Any, sums: Any) -> None:
    last_slot = np.uint64(len(slots) - 1)
    for doc in range(len(index) - 1):
        n_solid, n_points, n_alpha, seen = np.int64(0), np.int64(0), np.int64(0), np.uint64(0)
        for token in range(index[doc], index[doc + 1]):
            solid = np.int64(kinds[token] & IS_SOLID != 0)
            n_solid += solid
            n_points += solid * sizes[token]
            n_alpha += kinds[token] & HAS_ALPHA != 0
            slot = hashes[token] & last_slot
            while slots[slot] != 0 and slots[slot] != hashes[token]:
                slot = (slot + _1) & last_slot
            seen |= np.uint64(slots[slot] != 0) << slot
        n_different = 0
        while seen != 0:
            seen &= seen - _1
            n_different += 1
        row = sums[doc]
        row[0], row[1], row[2], row[3] = n_solid, n_points, n_alpha, n_different


@kernel
def _line_sums(utf8: Any, offsets: Any, classes: Any, sums: Any) -> None:
    for doc in range(len(offsets) - 1):
        row = sums[doc]
        i, end = offsets[doc], offsets[doc + 1]
        start, dots = i, 0
        while i < end:
            byte = byte_at(utf8, i)
            if byte > 0x2E and byte < 0x80:
                i += 1
                dots = 0
                continue
            width, breaks = 1, (0x0A <= byte <= 0x0D) or (0x1C <= byte <= 0x1E)
            dots = dots + 1 if byte == 0x2E else 0
            row[0] += byte == 0x23
            row[1] += dots == 3
            if dots == 3:
                dots = 0
            if byte >= 0x80:
                code_point, width = decode(utf8, i, end)
                row[1] += code_point == 0x2026
                breaks = code_point == 0x85 or code_point == 0x2028 or code_point == 0x2029
            elif byte == 0x0D and i + 1 < end and byte_at(utf8, i + 1) == 0x0A:
                width = 2
            if breaks:
                _line(utf8, start, i, classes, row)
                start = i + width
            i += width
        if start < end:
            _line(utf8, start, end, classes, row)


@inlined
def _line(utf8: Any, start: int, end: int, classes: Any, row: Any) -> None:
    row[2] += 1
    first = skip_spaces(utf8, start, end, classes)
    last = trim_spaces(utf8, first, end, classes)
    if first == last:
        return
    code_point, _ = decode(utf8, first, last)
    row[3] += code_point == 0x2022 or code_point == 0x2D
    if last - first >= 3:
        one, two, three = byte_at(utf8, last - 3), byte_at(utf8, last - 2), byte_at(utf8, last - 1)
        row[4] += (one == 0x2E and two == 0x2E and three == 0x2E) or (one == 0xE2 and two == 0x80 and three == 0xA6)
