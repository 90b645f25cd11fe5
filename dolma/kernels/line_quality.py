"""What each line of a batch is like: how it ends, whether it has a few words only.

Given the lines of `dolma.kernels.views.line_spans`. The readable twin is `dolma/kernels/reference/line_quality.py`.
About 4 GB/s of English on one core of a 2-core cloud machine, 2026-11-23: of a long line only both ends are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import ASCII_SPACES, bits_of, count_bits, equal, first_bits
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.repetition import IS_COPY
from dolma.kernels.unicode import SPACE, character_classes, count_code_points, decode, skip_spaces
from dolma.kernels.views import Blocks, Int64
from dolma.kernels.words64 import byte_at, first_mark, load, spaces_or_beyond_ascii

_0, _1 = np.uint64(0), np.uint64(1)
# All whitespace beyond ASCII begins with one of these bytes.
_spaces, _leads = bits_of(ASCII_SPACES), bits_of(b"\xc2\xe1\xe2\xe3")


def first_words(utf8: npt.NDArray[np.uint8], lines: Blocks, *, most: int) -> npt.NDArray[np.int32]:
    """How many words each line has, `most` if more; int32, shape `(n_lines,)`. Reads no further than that.

    >>> from dolma.kernels.views import line_spans
    >>> text = np.frombuffer(b"a b\\n\\na b c d", np.uint8)
    >>> first_words(text, line_spans(text, np.array([0, 12])), most=3).tolist()
    [2, 0, 3]
    """
    counts = np.empty(len(lines.starts), dtype=np.int32)
    _first_words(
        read_only(utf8, np.uint8),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        character_classes(),
        most,
        counts,
    )
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Some lines of a batch, in order: `counts` of them in each document, int64, shape `(n_docs,)`.

    `starts`, `ends`: int64, code points of the document; the "\\n" that ends a line belongs to it.
    """

    counts: Int64
    starts: Int64
    ends: Int64


def poor_lines(
    utf8: npt.NDArray[np.uint8], offsets: Int64, lines: Blocks, n_points: Int64, *, endings: str, words: int
) -> tuple[Lines, Lines]:
    """The lines that end in none of `endings` (ASCII), and those of fewer words than `words`, as Dolma 1.x has lines.

    What follows the last "\\n" is a line, even if that is nothing. `n_points`: the code points of each document.
    Whitespace at both ends of a line is passed over.
    """
    text, bounds = flat_text(utf8, offsets)
    most = len(lines.starts) + len(bounds) - 1
    spans = np.empty((4, most), dtype=np.int64)
    counts = np.empty((2, len(bounds) - 1), dtype=np.int64)
    ends = np.zeros(128, dtype=np.uint8)
    ends[[ord(ending) for ending in endings]] = 1
    n_unended, n_few = _poor_lines(
        text,
        bounds,
        read_only(lines.starts, np.int64),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
        read_only(n_points, np.int64),
        character_classes(),
        ends,
        words,
        spans,
        counts,
    )
    unended = Lines(counts=counts[0], starts=spans[0, :n_unended], ends=spans[1, :n_unended])
    return unended, Lines(counts=counts[1], starts=spans[2, :n_few], ends=spans[3, :n_few])


def line_sums(
    utf8: npt.NDArray[np.uint8],
    lines: Blocks,
    copies: npt.NDArray[np.uint8],
    *,
    endings: npt.NDArray[np.uint8],
    short: int,
) -> Int64:
    """Counts over the lines of each document that are not blank; int64, shape `(n_docs, 4)`.

    Columns: all of them; those whose very last code point `endings` marks (uint8, by code point, shape `(2 ** 21,)`);
    those of at most `short` code points; the code points of those that occurred before in the document. A line is
    taken with the whitespace at its ends. `copies`: `dolma.kernels.repetition.line_copies`.
    """
    sums = np.zeros((len(lines.index) - 1, 4), dtype=np.int64)
    _line_sums(
        read_only(utf8, np.uint8),
        read_only(lines.starts, np.int64),
        read_only(lines.ends, np.int64),
        read_only(lines.text_starts, np.int64),
        read_only(lines.text_ends, np.int64),
        read_only(lines.index, np.int64),
        read_only(copies, np.uint8),
        read_only(endings, np.uint8),
        short,
        sums,
    )
    return sums


def has_bytes(utf8: npt.NDArray[np.uint8], offsets: Int64, *sequences: bytes) -> npt.NDArray[np.bool_]:
    """Whether each document has each of these sequences of two bytes; bool, shape `(n_docs, n_sequences)`.

    Of a character of several bytes its last two may be given; a single byte is given twice the same, and found alone.

    >>> has_bytes(np.frombuffer(b"a{", np.uint8), np.array([0, 2, 2]), b"{{").tolist()
    [[True], [False]]
    """
    text, bounds = flat_text(utf8, offsets)
    found = np.empty((len(sequences), len(bounds) - 1), dtype=np.bool_)
    firsts, seconds = np.array([tuple(sequence) for sequence in sequences], dtype=np.uint8).T
    _has_bytes(text, bounds, read_only(firsts, np.uint8), read_only(seconds, np.uint8), found)
    return found.T


@inlined
def skip_word(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The first position in `[i, end)` that begins whitespace; `end` if there is none."""
    while i < end:
        n = first_mark(spaces_or_beyond_ascii(load(utf8, i)))
        i += n
        if n == 8:
            continue
        if i >= end or byte_at(utf8, i) < 0x80:
            break
        code_point, width = decode(utf8, i, end)
        if classes[code_point] & SPACE:
            break
        i += width
    return min(i, end)


@kernel
def _has_bytes(utf8: Any, offsets: Any, firsts: Any, seconds: Any, found: Any) -> None:
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        for k in range(len(firsts)):
            found[k, doc] = False
        for at in range(start, end, 64):
            for k in range(len(firsts)):
                first, second = firsts[k], seconds[k]
                step = int(first != second)
                if at + step + 64 <= len(utf8):
                    bits = equal(utf8, at, first) & equal(utf8, at + step, second)
                    found[k, doc] |= first_bits(bits, end - step - at) != _0
                else:
                    for i in range(at, min(at + 64, end - step)):
                        found[k, doc] |= (byte_at(utf8, i) == first) & (byte_at(utf8, i + step) == second)


@kernel
def _poor_lines(
    utf8: Any,
    offsets: Any,
    starts: Any,
    text_starts: Any,
    text_ends: Any,
    index: Any,
    n_points: Any,
    classes: Any,
    endings: Any,
    words: int,
    spans: Any,
    counts: Any,
) -> tuple[int, int]:
    n_unended, n_few = 0, 0
    for doc in range(len(offsets) - 1):
        unended_before, few_before = n_unended, n_few
        end = offsets[doc + 1]
        ascii_only = n_points[doc] == end - offsets[doc]
        here, point = offsets[doc], np.int64(0)
        for line in range(index[doc], index[doc + 1]):
            text_end = text_ends[line]
            last = byte_at(utf8, max(text_end - 1, 0))
            unended = (text_end == text_starts[line]) | (last >= 0x80) | (endings[last & 0x7F] == 0)
            few = has_fewer_words(utf8, text_starts[line], text_end, words, classes)
            # Written in any case, and kept or not: which lines are poor cannot be foreseen.
            after = starts[line + 1] if line + 1 < index[doc + 1] else end
            first, last_point = starts[line] - offsets[doc], after - offsets[doc]
            if not ascii_only and (unended or few):
                first = point + count_code_points(utf8, here, starts[line])
                last_point = first + count_code_points(utf8, starts[line], after)
                here, point = after, last_point
            spans[0, n_unended], spans[1, n_unended] = first, last_point
            spans[2, n_few], spans[3, n_few] = first, last_point
            n_unended += unended
            n_few += few
        if end == offsets[doc] or byte_at(utf8, end - 1) == 0x0A:
            spans[0, n_unended], spans[1, n_unended] = n_points[doc], n_points[doc]
            spans[2, n_few], spans[3, n_few] = n_points[doc], n_points[doc]
            n_unended += 1
            n_few += 1
        counts[0, doc], counts[1, doc] = n_unended - unended_before, n_few - few_before
    return n_unended, n_few


@kernel
def _line_sums(
    utf8: Any,
    starts: Any,
    ends: Any,
    text_starts: Any,
    text_ends: Any,
    index: Any,
    copies: Any,
    endings: Any,
    short: int,
    sums: Any,
) -> None:
    for doc in range(len(index) - 1):
        n, n_ended, n_short, repeated = 0, 0, 0, np.int64(0)
        for line in range(index[doc], index[doc + 1]):
            start, end = starts[line], ends[line]
            if text_starts[line] == text_ends[line]:
                continue
            n += 1
            last = byte_at(utf8, end - 1)
            n_ended += endings[last if last < 0x80 else _last_code_point(utf8, start, end)] != 0
            if end - start <= 4 * short:
                n_short += end - start <= short or count_code_points(utf8, start, end) <= short
            if copies[line] == IS_COPY:
                repeated += count_code_points(utf8, start, end)
        sums[doc, 0], sums[doc, 1], sums[doc, 2], sums[doc, 3] = n, n_ended, n_short, repeated


@inlined
def _last_code_point(utf8: Any, start: int, end: int) -> int:
    i = end - 1
    while i > start and byte_at(utf8, i) & 0xC0 == 0x80:
        i -= 1
    code_point, _ = decode(utf8, i, end)
    return code_point


@inlined
def has_fewer_words(utf8: Any, i: int, end: int, words: int, classes: Any) -> bool:
    """Whether a line has fewer words than that; `i` and `end` bound it without whitespace at both ends."""
    if i + 64 <= len(utf8) and first_bits(_leads(utf8, i), end - i) == _0:
        spaces = _spaces(utf8, i)
        n = count_bits(first_bits(~spaces & (spaces << _1 | _1), end - i))
        if n >= words or end - i <= 64:
            return n < words
    for _ in range(words):
        if i >= end:
            return True
        i = skip_spaces(utf8, skip_word(utf8, i, end, classes), end, classes)
    return False


@kernel
def _first_words(utf8: Any, starts: Any, ends: Any, classes: Any, most: int, counts: Any) -> None:
    for line in range(len(starts)):
        i, end = starts[line], ends[line]
        n = 0
        while i < end:
            n += 1
            if n == most:
                break
            i = skip_spaces(utf8, skip_word(utf8, i, end, classes), end, classes)
        counts[line] = n
