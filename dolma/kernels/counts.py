"""How many words, lines and paragraphs each document has, without finding where they are.

As defined in `dolma/kernels/views.py`, which finds them and costs four times as much: where nobody asks for the words
themselves, this is enough. ASCII is counted 64 words of text at a time by the compiler's vector code, as if no other
character were a space; a second look, only at the lead bytes that a space beyond ASCII may have, puts that right.

The readable twin is in `dolma/kernels/reference/counts.py`. English, one core of a 2-core cloud machine, 2026-11-23:
about 2 GB/s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import find_newline
from dolma.kernels.compiled import flat_text, inlined, kernel
from dolma.kernels.unicode import SPACE, character_classes, decode, skip_spaces
from dolma.kernels.words64 import HIGHS, ONES, byte_at, equal_to, first_mark, load

Int64 = npt.NDArray[np.int64]

_C2, _E1, _E2, _E3 = (np.uint64(lead) * ONES for lead in (0xC2, 0xE1, 0xE2, 0xE3))
_0 = np.uint64(0)


def count_words(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """The words of each document, `len(text.split())`; int64, shape `(n_docs,)`.

    >>> count_words(np.frombuffer("a\u3000b c".encode(), np.uint8), np.array([0, 7])).tolist()
    [3]
    """
    text, bounds = flat_text(utf8, offsets)
    counts = np.empty(len(bounds) - 1, dtype=np.int64)
    _count_words(text, bounds, character_classes(), counts)
    return counts


def count_blocks(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """The lines and the paragraphs of each document; int64, shape `(2, n_docs)`.

    >>> count_blocks(np.frombuffer(b"one\\n two\\n\\nthree", np.uint8), np.array([0, 15])).tolist()
    [[4], [2]]
    """
    text, bounds = flat_text(utf8, offsets)
    counts = np.empty((2, len(bounds) - 1), dtype=np.int64)
    _count_blocks(text, bounds, character_classes(), counts)
    return counts


@inlined
def _ascii_space(byte: int) -> int:
    return (byte == 0x20) | ((byte >= 0x09) & (byte <= 0x0D)) | ((byte >= 0x1C) & (byte <= 0x1F))


@kernel
def _count_words(utf8: Any, offsets: Any, classes: Any, counts: Any) -> None:
    for doc in range(len(offsets) - 1):
        start, end = offsets[doc], offsets[doc + 1]
        n = 0
        if start < end:
            n = 1 - _ascii_space(byte_at(utf8, start))
        for i in range(start + 1, end):
            n += _ascii_space(byte_at(utf8, i - 1)) & (_ascii_space(byte_at(utf8, i)) ^ 1)
        counts[doc] = n + _by_spaces_beyond_ascii(utf8, start, end, classes)


@inlined
def _by_spaces_beyond_ascii(utf8: Any, start: int, end: int, classes: Any) -> int:
    """How many more words there are than were counted with spaces beyond ASCII taken for letters."""
    n, i = 0, start
    while i < end:
        word = load(utf8, i)
        if word & HIGHS == _0:
            i += 8
            continue
        marks = equal_to(word, _C2) | equal_to(word, _E1) | equal_to(word, _E2) | equal_to(word, _E3)
        i += first_mark(marks)
        if marks == _0 or i >= end:
            continue
        first = i
        code_point, width = decode(utf8, i, end)
        while i < end and code_point >= 0x80 and classes[code_point] & SPACE:
            i += width
            if i < end:
                code_point, width = decode(utf8, i, end)
        if i == first:
            i += width
            continue
        # A run of such spaces was taken for a word, or a part of one.
        n -= first == start or _ascii_space(byte_at(utf8, first - 1))
        n += i < end and not _ascii_space(byte_at(utf8, i))
    return n


@kernel
def _count_blocks(utf8: Any, offsets: Any, classes: Any, counts: Any) -> None:
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        lines, paragraphs, open_paragraph = 0, 0, False
        while i < end:
            # What `skip_spaces` finds may lie beyond the line: then all lines up to there are blank.
            byte = byte_at(utf8, i)
            if byte <= 0x20 or byte >= 0x80:
                text_start = skip_spaces(utf8, i, end, classes)
                while i < text_start:
                    newline = find_newline(utf8, i, text_start)
                    if newline == text_start:
                        break
                    lines, open_paragraph, i = lines + 1, False, newline + 1
                if text_start == end:
                    lines += i < end
                    break
            paragraphs += not open_paragraph
            open_paragraph = True
            i = find_newline(utf8, i, end) + 1
            lines += 1
        counts[0, doc], counts[1, doc] = lines, paragraphs
