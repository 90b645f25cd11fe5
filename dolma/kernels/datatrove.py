"""Gopher's signals as datatrove counts them: n-grams with overlaps, second occurrences only, its lines and marks.

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
    ngram_arrays,
    pair_neighbours,
    pair_words,
    repeated,
    table_for,
)
from dolma.kernels.unicode import count_code_points, decode
from dolma.kernels.views import HAS_ALPHA, Blocks, Int64, Words
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
        *ngram_arrays(tokens),
        np.zeros(most, dtype=np.uint8),
        found,
    )
    return found


def repeated_lines(utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks) -> Int64:
    """Lines between runs of newlines, those that occurred before, and the code points of these; int64, `(n_docs, 3)`.

    `lines` are those of `line_spans`. What lies before the first run and behind the last is a line, even if empty.
    """
    most = int(lines.per_document().max(initial=0)) + 2
    sums = np.zeros((len(offsets) - 1, 3), dtype=np.int64)
    _repeated_lines(*_arrays(utf8, offsets, lines), *table_for(most), *_scratch(most), sums)
    return sums


def repeated_paragraphs(utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks) -> Int64:
    """As `repeated_lines`, of what lies between runs of two newlines or more.

    The text is taken without the whitespace at both ends; if nothing remains, that is one empty paragraph.
    """
    most = int(lines.per_document().max(initial=0)) + 1
    sums = np.zeros((len(offsets) - 1, 3), dtype=np.int64)
    _repeated_paragraphs(*_arrays(utf8, offsets, lines), *table_for(most), *_scratch(most), sums)
    return sums


def token_sums(tokens: Words, *, vocabulary: tuple[str, ...] = ()) -> Int64:
    """Counts over the tokens of each document; int64, `(n_docs, 4)`.

    Columns: tokens that are not of marks alone; the code points of these; tokens with a letter; how many different
    words of `vocabulary` are among the tokens, as spelled.

    Raises:
        ValueError: more than 64 words in the vocabulary.
    """
    sums = np.zeros((len(tokens.index) - 1, 4), dtype=np.int64)
    _token_sums(
        read_only(tokens.hashes, np.uint64),
        read_only(tokens.n_characters, np.int32),
        read_only(tokens.kinds, np.uint8),
        read_only(tokens.index, np.int64),
        *slots_of(vocabulary),
        sums,
    )
    return sums


def line_marks(utf8: npt.NDArray[np.uint8], lines: Blocks) -> Int64:
    """Lines with "•" or "-" first, and with "..." or "…" last, whitespace passed over; int64, `(n_docs, 2)`."""
    marks = np.zeros((len(lines.index) - 1, 2), dtype=np.int64)
    _line_marks(
        read_only(utf8, np.uint8),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
        marks,
    )
    return marks


def _arrays(
    utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks
) -> tuple[npt.NDArray[np.uint8], Int64, Int64, Int64, Int64, Int64, Int64]:
    text, bounds = flat_text(utf8, offsets)
    return (
        text,
        bounds,
        read_only(lines.starts, np.int64),
        read_only(lines.ends, np.int64),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
    )


def _scratch(most: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Memory for the hashes of so many pieces, for where they begin and end, and for counts of them."""
    return np.empty(most, dtype=np.uint64), np.empty((2, most), dtype=np.int64), np.empty((2, most), dtype=np.uint32)


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
def _repeated_lines(
    utf8: Any,
    offsets: Any,
    starts: Any,
    ends: Any,
    text_starts: Any,
    text_ends: Any,
    index: Any,
    table: Any,
    firsts: Any,
    hashes: Any,
    spans: Any,
    scratch: Any,
    sums: Any,
) -> None:
    for doc in range(len(offsets) - 1):
        first, last = offsets[doc], offsets[doc + 1]
        n = 0
        for line in range(index[doc], index[doc + 1]):
            if ends[line] > starts[line]:
                spans[0, n], spans[1, n] = starts[line], ends[line]
                n += 1
        opens = first == last or byte_at(utf8, first) == 0x0A
        closes = first < last and byte_at(utf8, last - 1) == 0x0A
        _count_pieces(utf8, n, table, firsts, hashes, spans, scratch, sums[doc])
        sums[doc, 0] += np.int64(opens) + closes
        sums[doc, 1] += opens & closes


@kernel
def _repeated_paragraphs(
    utf8: Any,
    offsets: Any,
    starts: Any,
    ends: Any,
    text_starts: Any,
    text_ends: Any,
    index: Any,
    table: Any,
    firsts: Any,
    hashes: Any,
    spans: Any,
    scratch: Any,
    sums: Any,
) -> None:
    for doc in range(len(offsets) - 1):
        line, last = index[doc], index[doc + 1]
        while line < last and text_starts[line] == text_ends[line]:
            line += 1
        while last > line and text_starts[last - 1] == text_ends[last - 1]:
            last -= 1
        if line == last:
            sums[doc, 0] = 1
            continue
        n, start = 0, text_starts[line]
        for k in range(line, last):
            if starts[k] == ends[k]:
                start = np.int64(-1)
                continue
            if start < 0:
                start = starts[k]
                n += 1
            spans[0, n], spans[1, n] = start, ends[k]
        spans[1, n] = text_ends[last - 1]
        _count_pieces(utf8, n + 1, table, firsts, hashes, spans, scratch, sums[doc])


@inlined
def _count_pieces(utf8: Any, n: int, table: Any, firsts: Any, hashes: Any, spans: Any, scratch: Any, row: Any) -> None:
    counts, grams = scratch[0], scratch[1]
    for k in range(n):
        hashes[k] = hash64(utf8, spans[0, k], spans[1, k])
    count_keys(hashes[:n], table, firsts, counts, grams)
    row[0] = n
    for k in range(n):
        if grams[k] != k:
            row[1] += 1
            row[2] += count_code_points(utf8, spans[0, k], spans[1, k])


@kernel
def _token_sums(
    hashes: Any, sizes: Any, kinds: Any, index: Any, slots: Any, numbers: Any, shift: Any, sums: Any
) -> None:
    last_slot = np.uint64(len(slots) - 1)
    for doc in range(len(index) - 1):
        n_solid, n_points, n_alpha, seen = np.int64(0), np.int64(0), np.int64(0), np.uint64(0)
        for token in range(index[doc], index[doc + 1]):
            solid = np.int64(kinds[token] & IS_SOLID != 0)
            n_solid += solid
            n_points += solid * sizes[token]
            n_alpha += kinds[token] & HAS_ALPHA != 0
            slot = hashes[token] >> shift & last_slot
            seen |= np.uint64(slots[slot] == hashes[token]) << numbers[slot]
        n_different = 0
        while seen != 0:
            seen &= seen - _1
            n_different += 1
        row = sums[doc]
        row[0], row[1], row[2], row[3] = n_solid, n_points, n_alpha, n_different


@kernel
def _line_marks(utf8: Any, starts: Any, ends: Any, index: Any, marks: Any) -> None:
    for doc in range(len(index) - 1):
        for line in range(index[doc], index[doc + 1]):
            start, end = starts[line], ends[line]
            if start == end:
                continue
            code_point, _ = decode(utf8, start, end)
            marks[doc, 0] += code_point == 0x2022 or code_point == 0x2D
            if end - start >= 3:
                one, two, three = byte_at(utf8, end - 3), byte_at(utf8, end - 2), byte_at(utf8, end - 1)
                marks[doc, 1] += (one == 0x2E and two == 0x2E and three == 0x2E) or (
                    one == 0xE2 and two == 0x80 and three == 0xA6
                )
