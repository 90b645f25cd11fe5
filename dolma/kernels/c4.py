"""Lines as C4's rules judge them: lines of `str.splitlines`, citations and brackets, long words, sentences.

The readable twin is `dolma/kernels/reference/c4.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.english_tokens import ENDS_SENTENCE, IS_WORD
from dolma.kernels.line_quality import skip_word
from dolma.kernels.unicode import DIGIT, character_classes, count_code_points, decode, skip_spaces, trim_spaces
from dolma.kernels.views import Blocks, Int64, Words
from dolma.kernels.words64 import ONES, at_least, byte_at, equal_to, first_mark, load

Bools = npt.NDArray[np.bool_]

_CASE = np.uint64(0x20) * ONES
_NEWLINE, _SHIFT_OUT, _SEPARATOR, _UNIT = (np.uint64(byte) * ONES for byte in (0x0A, 0x0E, 0x1C, 0x1F))
_C2, _E2, _OPEN = (np.uint64(byte) * ONES for byte in (0xC2, 0xE2, 0x7B))
_EDIT, _NEEDED = (read_only(np.frombuffer(note, np.uint8), np.uint8) for note in (b"edit]", b"citation needed]"))


def split_lines(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Blocks:
    """The lines of each document by `str.splitlines`, without what ends them. Meant for `TextBatch.view`.

    >>> text = np.frombuffer(b"a\\r\\n b\\n\\nc", np.uint8)
    >>> lines = split_lines(text, np.array([0, 8]))
    >>> lines.starts.tolist(), lines.ends.tolist(), lines.text_starts.tolist()
    ([0, 3, 6, 7], [1, 5, 6, 8], [0, 4, 6, 7])
    """
    text, bounds = flat_text(utf8, offsets)
    most = _most_lines(text) + len(bounds)
    spans = np.empty((4, most), dtype=np.int64)
    index = np.empty(len(bounds), dtype=np.int64)
    n = _split_lines(text, bounds, character_classes(), spans, index)
    starts, ends, text_starts, text_ends = spans[:, :n]
    return Blocks(starts=starts, ends=ends, text_starts=text_starts, text_ends=text_ends, index=index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brackets:
    """Citations, "[12]", "[]", "[edit]" and "[citation needed]", and curly brackets, "{", in order.

    `documents`, `starts`, `ends`: int64, positions in bytes of the batch. `curly`: bool, which of them are "{".
    """

    documents: Int64
    starts: Int64
    ends: Int64
    curly: Bools


def brackets(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Brackets:
    """The citations and curly brackets of a batch.

    >>> found = brackets(np.frombuffer(b"a[1] {", np.uint8), np.array([0, 6]))
    >>> found.starts.tolist(), found.ends.tolist(), found.curly.tolist()
    ([1, 5], [4, 6], [False, True])
    """
    text, bounds = flat_text(utf8, offsets)
    capacity = 1024
    while True:
        found = np.empty((4, capacity), dtype=np.int64)
        n = _brackets(text, bounds, character_classes(), _EDIT, _NEEDED, found)
        if n <= capacity:
            documents, starts, ends, curly = found[:, :n]
            return Brackets(documents=documents, starts=starts, ends=ends, curly=curly.astype(np.bool_))
        capacity = n


def ends_of_sentence(utf8: npt.NDArray[np.uint8], starts: Int64, ends: Int64) -> Bools:
    """Whether each span of bytes ends in one of `. ? ! " '`, but not in "..."; bool, shape `(n_spans,)`."""
    ended = np.empty(len(starts), dtype=np.bool_)
    _ends_of_sentence(read_only(utf8, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64), ended)
    return ended


def longest_words(utf8: npt.NDArray[np.uint8], starts: Int64, ends: Int64, *, beyond: int) -> Int64:
    """Code points of the longest word of each span of bytes, if more than `beyond`, else 0; int64, `(n_spans,)`."""
    longest = np.zeros(len(starts), dtype=np.int64)
    _longest_words(
        read_only(utf8, np.uint8),
        read_only(starts, np.int64),
        read_only(ends, np.int64),
        character_classes(),
        beyond,
        longest,
    )
    return longest


def sentence_counts(tokens: Words, starts: Int64, ends: Int64) -> Int64:
    """Sentences in each span of bytes by spaCy's rule, 0 for a span without tokens; int64, shape `(n_spans,)`.

    A token that is one mark of the end of a sentence ends it, and those of punctuation alone that follow belong to it.
    `tokens` are those of `english_token_spans`; spans ascend and cut no token.
    """
    counts = np.zeros(len(starts), dtype=np.int64)
    _sentence_counts(
        read_only(tokens.starts, np.int64),
        read_only(tokens.kinds, np.uint8),
        read_only(starts, np.int64),
        read_only(ends, np.int64),
        counts,
    )
    return counts


@kernel
def _most_lines(utf8: Any) -> int:
    n = 0
    for i in range(len(utf8)):
        byte = byte_at(utf8, i)
        n += ((byte >= 0x0A) & (byte <= 0x0D)) | ((byte >= 0x1C) & (byte <= 0x1E)) | (byte == 0xC2) | (byte == 0xE2)
    return n


@kernel
def _split_lines(utf8: Any, offsets: Any, classes: Any, spans: Any, index: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        index[doc] = n
        start, end = offsets[doc], offsets[doc + 1]
        i = start
        while start < end:
            i, width = _next_break(utf8, i, end)
            spans[0, n], spans[1, n] = start, i
            spans[2, n] = skip_spaces(utf8, start, i, classes)
            spans[3, n] = trim_spaces(utf8, spans[2, n], i, classes)
            n += 1
            i += width
            start = i
    index[len(offsets) - 1] = n
    return n


@inlined
def _next_break(utf8: Any, i: int, end: int) -> tuple[int, int]:
    """Where the next break of lines in `[i, end)` begins, and its width in bytes; `end` and 0 if there is none."""
    while i < end:
        word = load(utf8, i)
        marks = (at_least(word, _NEWLINE) & ~at_least(word, _SHIFT_OUT)) | (
            at_least(word, _SEPARATOR) & ~at_least(word, _UNIT)
        )
        marks = (marks & ~word) | equal_to(word, _C2) | equal_to(word, _E2)
        i += first_mark(marks)
        if marks == np.uint64(0):
            continue
        if i >= end:
            break
        byte = byte_at(utf8, i)
        if byte < 0x80:
            return i, 2 if byte == 0x0D and i + 1 < end and byte_at(utf8, i + 1) == 0x0A else 1
        code_point, width = decode(utf8, i, end)
        if code_point in (0x85, 0x2028, 0x2029):
            return i, width
        i += width
    return end, 0


@kernel
def _brackets(utf8: Any, offsets: Any, classes: Any, edit: Any, needed: Any, found: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        while i < end:
            # "[" and "{" differ by one bit.
            marks = equal_to(load(utf8, i) | _CASE, _OPEN)
            if marks == np.uint64(0):
                i += 8
                continue
            i += first_mark(marks)
            if i >= end:
                break
            curly = byte_at(utf8, i) == 0x7B
            behind = i + 1 if curly else _citation_end(utf8, i, end, classes, edit, needed)
            if behind > 0:
                if n < found.shape[1]:
                    found[0, n], found[1, n], found[2, n], found[3, n] = doc, i, behind, curly
                n += 1
            i = max(i + 1, behind)
    return n


@inlined
def _citation_end(utf8: Any, i: int, end: int, classes: Any, edit: Any, needed: Any) -> int:
    """Where the citation ends that begins at `utf8[i]`, a "["; 0 if it is none."""
    first = i + 1
    i = first
    while i < end:
        code_point, width = decode(utf8, i, end)
        if classes[code_point] & DIGIT == 0:
            break
        i += width
    if i < end and byte_at(utf8, i) == 0x5D:
        return i + 1
    if i == first and _follows(utf8, i, end, edit):
        return i + len(edit)
    return i + len(needed) if i == first and _follows(utf8, i, end, needed) else 0


@inlined
def _follows(utf8: Any, i: int, end: int, letters: Any) -> bool:
    if i + len(letters) > end:
        return False
    n_equal = 0
    for k in range(len(letters)):
        n_equal += byte_at(utf8, i + k) == byte_at(letters, k)
    return n_equal == len(letters)


@kernel
def _ends_of_sentence(utf8: Any, starts: Any, ends: Any, ended: Any) -> None:
    for k in range(len(starts)):
        start, end = starts[k], ends[k]
        last = byte_at(utf8, end - 1) if end > start else 0
        ended[k] = last in (0x2E, 0x3F, 0x21, 0x22, 0x27)
        if last == 0x2E and end - start >= 3:
            ended[k] = byte_at(utf8, end - 2) != 0x2E or byte_at(utf8, end - 3) != 0x2E


@kernel
def _longest_words(utf8: Any, starts: Any, ends: Any, classes: Any, beyond: int, longest: Any) -> None:
    for k in range(len(starts)):
        i, end = starts[k], ends[k]
        while end - i > beyond:
            i = skip_spaces(utf8, i, end, classes)
            behind = skip_word(utf8, i, end, classes)
            size = count_code_points(utf8, i, behind) if behind - i > beyond else 0
            if size > beyond:
                longest[k] = max(longest[k], size)
            i = behind


@kernel
def _sentence_counts(token_starts: Any, kinds: Any, starts: Any, ends: Any, counts: Any) -> None:
    token = 0
    for k in range(len(starts)):
        while token < len(token_starts) and token_starts[token] < starts[k]:
            token += 1
        n, ended = 0, False
        while token < len(token_starts) and token_starts[token] < ends[k]:
            kind = kinds[token]
            ends_here = kind & ENDS_SENTENCE != 0
            begins = (n == 0) | (ended & (kind & IS_WORD != 0) & (not ends_here))
            n += begins
            ended = ends_here | (ended & (not begins))
            token += 1
        counts[k] = n
