"""What a classifier of languages sees of a document: a sample, in lower case, as one line.

A document of at most `max_characters` is its own sample; of a longer one it is four windows of equal size, spread
evenly from its beginning to its end, with a space between them. The sample is lowered as by `str.lower`, each "</s>"
(fastText's own end of a line) becomes a space, and whitespace at both ends goes; a sample of nothing else is a space.

Lower case is a table, but for "İ", which becomes two characters, and "Σ", which depends on its neighbours: a line that
holds a "Σ" is left to `str.lower`. About 1.8 GB/s of documents of 8 kB on average, at 4,000 characters, on one core of
a 2-core cloud machine, 2026-11-26. The readable twin is `dolma/kernels/reference/samples.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import bits_of, count_bits
from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.unicode import ALPHA, character_classes, decode, skip_spaces, trim_spaces
from dolma.kernels.words64 import HIGHS, ONES, at_least, byte_at, equal_to, first_bytes, first_mark, load, store

Int64 = npt.NDArray[np.int64]

WINDOWS = 4
END = "</s>"

_SIGMA, _DOTTED_I, _DOT_ABOVE = 0x3A3, 0x130, 0x307
_CASED_PLANES = 1 << 17
_SPACE, _SMALL_I, _GREATER, _SLACK = 0x20, 0x69, 0x3E, 16
_LAST_OF_END = np.uint64(_GREATER) * ONES
_UPPER_A, _BEYOND_UPPER_Z, _A, _BEYOND_Z = (np.uint64(byte) * ONES for byte in (0x41, 0x5B, 0x61, 0x7B))
_TO_CASE, _END = np.uint64(2), np.uint64(int.from_bytes(END.encode(), "little"))
_continuations = bits_of(range(0x80, 0xC0))


def sampled_lines(
    utf8: npt.NDArray[np.uint8], offsets: Int64, n_points: Int64, *, max_characters: int, min_letters: int
) -> tuple[npt.NDArray[np.uint8], Int64, Int64]:
    """The line of each document: a UTF-8 buffer, and where in it each line begins and ends (int64, `(n_docs,)`).

    Empty for fewer than `min_letters` letters in the sample. `n_points` are the code points of each document,
    `max_characters` is at least 4.

    >>> text, starts, ends = sampled_lines(
    ...     np.frombuffer(b" A line.\\n", np.uint8), np.array([0, 9]), np.array([9]), max_characters=99, min_letters=1
    ... )
    >>> text[starts[0] : ends[0]].tobytes()
    b'a line.'
    """
    text, bounds = flat_text(utf8, offsets)
    n_docs = len(bounds) - 1
    starts, ends = np.empty(n_docs, dtype=np.int64), np.empty(n_docs, dtype=np.int64)
    has_sigma = np.zeros(n_docs, dtype=np.bool_)
    # A character has four bytes at most, and half as many more in lower case. Memory that is never written to is never
    # given out by the system.
    most = np.minimum(np.diff(bounds), 4 * max_characters + WINDOWS) * 3 // 2 + _SLACK
    lines = np.empty(int(most.sum()) + _SLACK, dtype=np.uint8)
    _sampled_lines(
        text,
        bounds,
        read_only(n_points, np.int64),
        character_classes(),
        _lower_case(),
        max_characters,
        min_letters,
        lines,
        starts,
        ends,
        has_sigma,
    )
    for i in np.flatnonzero(has_sigma):
        line = lines[starts[i] : ends[i]]
        line[:] = np.frombuffer(line.tobytes().decode().lower().encode(), dtype=np.uint8)
    return lines, starts, ends


@functools.cache
def _lower_case() -> npt.NDArray[np.int32]:
    """The lower case of each code point below `_CASED_PLANES`, beyond which nothing has one; -1 for "İ" and "Σ"."""
    table = np.strings.lower(np.arange(_CASED_PLANES, dtype=np.uint32).view("U1")).view(np.uint32).astype(np.int32)
    table[[_DOTTED_I, _SIGMA]] = -1
    return read_only(table, np.int32)


@kernel
def _sampled_lines(
    utf8: Any,
    offsets: Any,
    n_points: Any,
    classes: Any,
    lower_case: Any,
    max_characters: int,
    min_letters: int,
    lines: Any,
    starts: Any,
    ends: Any,
    has_sigma: Any,
) -> None:
    at = 0
    for document in range(len(starts)):
        first, n = at, n_points[document]
        is_whole = n <= max_characters
        size = n if is_whole else max_characters // WINDOWS
        i, point, end = offsets[document], 0, offsets[document + 1]
        is_ascii = n == end - i
        n_letters, may_end, sigma = np.int64(0), False, False
        for window in range(1 if is_whole else WINDOWS):
            start = window * (n - size) // (WINDOWS - 1)
            i = _advance(utf8, i, end, start - point, is_ascii)
            stop = end if is_whole else _advance(utf8, i, end, size, is_ascii)
            if window > 0:
                lines[at] = _SPACE
                at += 1
            at, letters, ending, sigmas = _lower(utf8, i, stop, classes, lower_case, lines, at)
            n_letters += letters
            may_end |= ending
            sigma |= sigmas
            i, point = stop, start + size
        if n_letters < min_letters:
            starts[document], ends[document], at = first, first, first
            continue
        if may_end:
            at = _without_ends(lines, first, at)
        start = skip_spaces(lines, first, at, classes)
        stop = trim_spaces(lines, start, at, classes)
        if start == stop:
            start, stop, lines[first] = first, first + 1, _SPACE
        starts[document], ends[document], has_sigma[document], at = start, stop, sigma, stop


@inlined
def _advance(utf8: Any, i: int, end: int, n: Any, is_ascii: Any) -> int:
    """Where the `n`-th character behind that at `i` begins, before `end`."""
    if is_ascii:
        return i + n
    while i + 64 <= end:
        begin = 64 - count_bits(_continuations(utf8, i))
        if begin > n:
            break
        n -= begin
        i += 64
    while i < end:
        if byte_at(utf8, i) & 0xC0 != 0x80:
            if n == 0:
                break
            n -= 1
        i += 1
    return i


@inlined
def _lower(
    utf8: Any, i: int, end: int, classes: Any, lower_case: Any, lines: Any, at: int
) -> tuple[int, Any, bool, bool]:
    """Write `utf8[i:end]` to `lines[at:]`, in lower case but for "Σ".

    Where that ends; how many letters it has; whether there is a ">", and a "Σ".
    """
    n_letters, greater, has_sigma = np.int64(0), np.uint64(0), False
    while i < end:
        word = load(utf8, i)
        n = min(first_mark(word & HIGHS), end - i)
        if n > 0:
            upper = at_least(word, _UPPER_A) & ~at_least(word, _BEYOND_UPPER_Z)
            small = word | upper >> _TO_CASE
            letters = at_least(small, _A) & ~at_least(small, _BEYOND_Z)
            n_letters += count_bits(first_bytes(letters, n))
            greater |= equal_to(word, _LAST_OF_END)
            store(lines, at, small)
            i += n
            at += n
        if n < 8 and i < end:
            point, width = decode(utf8, i, end)
            n_letters += classes[point] & ALPHA != 0
            lower = lower_case[point] if point < len(lower_case) else point
            if lower == point or point == _SIGMA:
                store(lines, at, load(utf8, i))
                at += width
                has_sigma |= point == _SIGMA
            elif point == _DOTTED_I:
                lines[at] = _SMALL_I
                at = _encode(_DOT_ABOVE, lines, at + 1)
            else:
                at = _encode(lower, lines, at)
            i += width
    return at, n_letters, greater != 0, has_sigma


@inlined
def _encode(point: Any, lines: Any, at: int) -> int:
    """Write the code point's UTF-8 to `lines[at:]`; where that ends."""
    if point < 0x80:
        lines[at] = point
        return at + 1
    if point < 0x800:
        lines[at] = 0xC0 | point >> 6
    elif point < 0x10000:
        lines[at] = 0xE0 | point >> 12
    else:
        lines[at] = 0xF0 | point >> 18
        at += 1
        lines[at] = 0x80 | (point >> 12 & 0x3F)
    if point >= 0x800:
        at += 1
        lines[at] = 0x80 | (point >> 6 & 0x3F)
    lines[at + 1] = 0x80 | (point & 0x3F)
    return at + 2


@kernel
def _without_ends(lines: Any, first: int, end: int) -> int:
    """Make each "</s>" in `lines[first:end]` a space; where what is left ends."""
    at = i = first
    while i < end:
        is_end = i + 4 <= end and first_bytes(load(lines, i), 4) == _END
        lines[at] = _SPACE if is_end else byte_at(lines, i)
        i += 4 if is_end else 1
        at += 1
    return at
