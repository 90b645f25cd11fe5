"""Repetitions: a unit four times or more in a row, one whitespace character or none between.

A unit is of any length and has no "\\n" in it. From left to right, at each place where a repetition begins the shortest
unit counts, with as many copies as follow; the search goes on behind it. That is what the expression in the readable
twin (`dolma/kernels/reference/repeats.py`) says, which takes time quadratic in the length of a line.

Here the time is linear in the text, times the logarithm of its longest line. Copies stand a fixed distance apart (the
unit, plus a separator). Distances up to 8 bytes are tried at each place, eight at once. For a longer distance P it is
enough to compare six bytes with those P later at every (P - 8)th place, for a repetition covers one of these places
whole: all distances cost L/1 + L/2 + L/3 + ..., comparisons for a line of L bytes. Where they are equal, the stretch
that agrees is measured. Long stretches of a short period, a million "a", agree for every distance; they are remembered
and stepped over, since no longer unit begins in them. A unit that ends a line, its copy in the next, is found by
comparing the end of the line with each prefix of the next.

About 65 MB/s of mixed text on one core of a 2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import find_newline
from dolma.kernels.compiled import flat_text, inlined, kernel
from dolma.kernels.unicode import SPACE, character_classes, decode
from dolma.kernels.views import Int64, code_points_at
from dolma.kernels.words64 import ONES, byte_at, equal_to, first_bytes, first_mark, load

TIMES = 4
"""The fewest copies that make a repetition."""

_NEAR = 8
_NEWLINES, _16, _0 = np.uint64(ord("\n")) * ONES, np.uint64(16), np.uint64(0)
_CLEAR_LOWEST = np.uint64(1)
# Of a fixed type: Numba compiles a function again for each literal number that it is called with.
_ONE, _ENOUGH = np.int64(1), np.int64(TIMES)
_SHORT = 12
_BLOCK = 4
_LONG = 4 << _BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """All repetitions of a batch, in order.

    `starts`, `ends`: int64, code points of the document. `copies`: int64, how often the unit occurs. `counts`: int64,
    how many repetitions each document has, shape `(n_docs,)`.
    """

    starts: Int64
    ends: Int64
    copies: Int64
    counts: Int64


def repeats(utf8: npt.NDArray[np.uint8], offsets: Int64, *, by_line: bool) -> Repeats:
    """The repetitions of each document, or of each line by itself.

    >>> found = repeats(np.frombuffer(b"no, ab ab abab", np.uint8), np.array([0, 14]), by_line=False)
    >>> found.starts.tolist(), found.ends.tolist(), found.copies.tolist()
    ([4], [14], [4])
    """
    text, bounds = flat_text(utf8, offsets)
    classes = character_classes()
    units = np.zeros(len(text) + 1, dtype=np.int32)
    n_blocks = (len(text) >> _BLOCK) + 2
    _find_far(
        text,
        bounds,
        classes,
        by_line,
        units,
        np.zeros(n_blocks, dtype=np.int32),
        np.empty((n_blocks, 3), dtype=np.int64),
    )
    found = np.empty((3, len(text) // TIMES + 1), dtype=np.int64)
    index = np.empty(len(bounds), dtype=np.int64)
    n = _collect(text, bounds, classes, by_line, units, found, index)
    counts = np.diff(index)
    documents = np.repeat(np.arange(len(counts)), counts)
    points = code_points_at(text, bounds, documents.repeat(2), found[:2, :n].T.ravel()).reshape(-1, 2)
    return Repeats(starts=points[:, 0], ends=points[:, 1], copies=found[2, :n], counts=counts)


@kernel
def _collect(utf8: Any, offsets: Any, classes: Any, by_line: Any, units: Any, found: Any, index: Any) -> int:
    """Write the start, end and copies of each repetition, given the long units (`_find_far`); return how many."""
    n = 0
    for doc in range(len(offsets) - 1):
        index[doc] = n
        i, doc_end = offsets[doc], offsets[doc + 1]
        end = find_newline(utf8, i, doc_end) if by_line else doc_end
        while i < doc_end:
            if i >= end:
                i = end + 1
                end = find_newline(utf8, i, doc_end)
                continue
            unit = _near_unit(utf8, i, end, classes)
            if units[i] > 0 and (unit == 0 or units[i] < unit):
                unit = units[i]
            if unit > 0:
                last, copies = _chain(utf8, i, unit, i + unit, _ONE, end, classes, len(utf8))
                found[0, n], found[1, n], found[2, n] = i, last, copies
                n += 1
                i = last
            else:
                i += 1
                while i < end and byte_at(utf8, i) & 0xC0 == 0x80:
                    i += 1
    index[len(offsets) - 1] = n
    return n


@inlined
def _near_unit(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The length of the shortest unit repeated from `i` on whose second copy begins within 8 bytes; 0 if none."""
    following = load(utf8, i + 1)
    same = equal_to(following, np.uint64(byte_at(utf8, i)) * ONES)
    if same == _0:
        return 0
    return _near_unit_among(utf8, i, end, classes, same, following)


@kernel
def _near_unit_among(utf8: Any, i: int, end: int, classes: Any, same: Any, following: Any) -> int:
    # Of a unit of two bytes and more, the second is equal too.
    pairs = same & equal_to(load(utf8, i + 2), (following & np.uint64(0xFF)) * ONES)
    shortest = 0
    for distance in range(1, 5):
        bit = same >> np.uint64(8 * distance - 1) & np.uint64(1)
        if not bit or byte_at(utf8, i) >= 0x80 or byte_at(utf8, i) == 0x0A:
            continue
        if _space_width(utf8, i + 1, end, classes) != distance - 1 and distance > 1:
            continue
        if _is_repeated(utf8, i, _ONE, end, classes):
            return 1
    while pairs != _0:
        distance = first_mark(pairs) + 1
        pairs &= pairs - _CLEAR_LOWEST
        for width in range(4):
            unit = distance - width
            if unit < 2 or (0 < shortest <= unit) or (width and _space_width(utf8, i + unit, end, classes) != width):
                continue
            has_newline = equal_to(first_bytes(load(utf8, i), unit), _NEWLINES) != _0
            if not has_newline and _is_repeated(utf8, i, unit, end, classes):
                shortest = unit
    return shortest


@kernel
def _is_repeated(utf8: Any, i: int, unit: Any, end: int, classes: Any) -> bool:
    _, copies = _chain(utf8, i, unit, i + unit, _ONE, end, classes, _ENOUGH)
    return copies >= TIMES


@kernel
def _chain(utf8: Any, i: int, unit: Any, at: int, copies: Any, end: int, classes: Any, enough: Any) -> tuple[Any, Any]:
    """Follow the copies of the unit at `i` from `at` on, where one has ended, until `enough`; return end and copies.

    A separator that is the unit itself, of whitespace, counts as a copy.
    """
    while copies < enough:
        width = _space_width(utf8, at, end, classes)
        if width > 0 and _are_equal(utf8, i, at + width, unit, end):
            copies += 2 if width == unit and _are_equal(utf8, i, at, unit, end) else 1
            at += width + unit
        elif _are_equal(utf8, i, at, unit, end):
            copies += 1
            at += unit
        else:
            break
    return at, copies


@kernel
def _space_width(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The bytes of the whitespace character at `i`; 0 if another is there, a part of one, or the end."""
    if i >= end or byte_at(utf8, i) & 0xC0 == 0x80:
        return 0
    code_point, width = decode(utf8, i, end)
    return width if classes[code_point] & SPACE else 0


@kernel
def _are_equal(utf8: Any, x: int, y: int, n: int, end: int) -> bool:
    """Whether the `n` bytes at `x` are those at `y`, all before `end`."""
    if y + n > end:
        return False
    k = 0
    while k + 8 <= n:
        if load(utf8, x + k) != load(utf8, y + k):
            return False
        k += 8
    return first_bytes(load(utf8, x + k) ^ load(utf8, y + k), n - k) == _0


# --- copies more than 8 bytes apart ----------------------------------------------------------------------------------


@kernel
def _find_far(utf8: Any, offsets: Any, classes: Any, by_line: Any, units: Any, blocks: Any, runs: Any) -> None:
    """Write for each place the shortest unit repeated from there on whose second copy begins more than 8 bytes later.

    `blocks` says which run, by its number in `runs` plus one, covers each 16 bytes; a run is start, end and period of a
    stretch that is periodic.
    """
    n_runs = np.int64(0)
    for doc in range(len(offsets) - 1):
        start, doc_end = offsets[doc], offsets[doc + 1]
        while start < doc_end:
            line_end = find_newline(utf8, start, doc_end)
            size = line_end - start
            if size >= _SHORT:
                n_runs = _find_in_line(
                    utf8, start, line_end, line_end if by_line else doc_end, classes, units, blocks, runs, n_runs
                )
            if not by_line and size >= _NEAR and line_end + 1 < doc_end:
                _find_over_newline(utf8, start, line_end, doc_end, classes, units, blocks, runs)
            start = line_end + 1


@kernel
def _find_in_line(
    utf8: Any,
    start: int,
    line_end: int,
    end: int,
    classes: Any,
    units: Any,
    blocks: Any,
    runs: Any,
    n_runs: Any,
) -> Any:
    # Two copies must fit in the line, and all of them before `end`.
    farthest = min((line_end - start) // 2, (end - start) // TIMES) + 3
    for distance in range(_NEAR + 1, farthest + 1):
        stride = distance - 8
        i, measured = start, start
        last = line_end - distance - 6
        while i <= last:
            if (load(utf8, i) ^ load(utf8, i + distance)) << _16 == _0 and i >= measured:
                beyond = _beyond_run(i, distance, blocks, runs)
                if beyond > i:
                    i += (beyond - i + stride - 1) // stride * stride
                    continue
                first = _agree_before(utf8, i, distance, start, blocks, runs)
                measured = _agree_after(utf8, i, distance, line_end, blocks, runs)
                if measured - first >= distance - 3:
                    _mark(utf8, first, measured, distance, end, classes, units, blocks, runs)
                    if measured - first >= 3 * distance:
                        n_runs = _remember(utf8, first, measured + distance, distance, blocks, runs, n_runs)
            i += stride
    return n_runs


@inlined
def _beyond_run(i: int, distance: int, blocks: Any, runs: Any) -> int:
    """Where to go on if `i` and `i + distance` lie in a run of shorter period, clear of its ends; else `i`."""
    number = blocks[i >> _BLOCK] - 1
    if number < 0:
        return i
    start, end, period = runs[number, 0], runs[number, 1], runs[number, 2]
    until = min(end - TIMES * period, end - distance)
    if distance > period + 3 and start + period <= i < until:
        return until
    return i


@kernel
def _agree_after(utf8: Any, i: int, distance: int, end: int, blocks: Any, runs: Any) -> int:
    """The first place from `i` on whose byte is not that `distance` later, or whose partner would be at `end`."""
    x = i
    while x + distance < end:
        difference = load(utf8, x) ^ load(utf8, x + distance)
        if difference != _0:
            n = 0
            while (difference >> np.uint64(8 * n)) & np.uint64(0xFF) == _0:
                n += 1
            return min(x + n, end - distance)
        x += 8
        here, there = blocks[x >> _BLOCK] - 1, blocks[min(x + distance, end) >> _BLOCK] - 1
        if here < 0 or there < 0 or runs[here, 2] != runs[there, 2]:
            continue
        # Once both have been equal for a whole period, they stay so until one of the runs ends.
        if x - max(i, runs[here, 0], runs[there, 0] - distance) >= runs[here, 2]:
            x = max(x, min(runs[here, 1], runs[there, 1] - distance))
    return end - distance


@kernel
def _agree_before(utf8: Any, i: int, distance: int, start: int, blocks: Any, runs: Any) -> int:
    """The first place from which on all bytes up to `i` are those `distance` later; not before `start`."""
    x = i
    while x > start:
        if byte_at(utf8, x - 1) != byte_at(utf8, x - 1 + distance):
            return x
        x -= 1
        here, there = blocks[x >> _BLOCK] - 1, blocks[(x + distance) >> _BLOCK] - 1
        if here < 0 or there < 0 or runs[here, 2] != runs[there, 2]:
            continue
        if min(i, runs[here, 1], runs[there, 1] - distance) - x >= runs[here, 2]:
            x = min(x, max(runs[here, 0], runs[there, 0] - distance, start))
    return start


@kernel
def _mark(
    utf8: Any, first: int, last: int, distance: int, end: int, classes: Any, units: Any, blocks: Any, runs: Any
) -> None:
    """Mark the places that begin a repetition of this distance, in a stretch that agrees from `first` to `last`."""
    i = first - 1
    while i < last - distance + 3:
        i += 1
        if byte_at(utf8, i) & 0xC0 == 0x80:
            continue
        beyond = _beyond_starts(i, distance - 3, blocks, runs)
        if beyond > i:
            i = beyond - 1
            continue
        for k in range(4):
            width = 3 - k
            unit = distance - width
            if i + unit > last or (0 < units[i] <= unit):
                continue
            if width > 0 and _space_width(utf8, i + unit, end, classes) != width:
                continue
            # So many copies lie in the stretch; after the last of them there may be more at another distance.
            more = (last - i - unit) // distance + 1
            at, copies = i + more * distance + unit, more + 1
            if copies < TIMES:
                at, copies = _one_more(utf8, i, unit, at, copies, width, last + distance, end, classes)
                if copies > more + 1:
                    _, copies = _chain(utf8, i, unit, at, copies, end, classes, _ENOUGH)
            if copies >= TIMES:
                units[i] = unit


@kernel
def _one_more(
    utf8: Any, i: int, unit: Any, at: int, copies: Any, width: int, differs: int, end: int, classes: Any
) -> tuple[Any, Any]:
    """One copy more from `at` on, at another distance: at the same the byte at `differs` is known not to be equal."""
    space = _space_width(utf8, at, end, classes)
    if space > 0 and (space != width or differs < at + width) and _are_equal(utf8, i, at + space, unit, end):
        return at + space + unit, copies + 1
    if width > 0 and _are_equal(utf8, i, at, unit, end):
        return at + unit, copies + 1
    return at, copies


@inlined
def _beyond_starts(i: int, unit: Any, blocks: Any, runs: Any) -> int:
    """The first place from `i` on where the run around `i` begins no repetition of a unit shorter than `unit`."""
    number = blocks[i >> _BLOCK] - 1
    if number >= 0 and runs[number, 2] < unit and runs[number, 0] <= i:
        return max(i, runs[number, 1] - TIMES * runs[number, 2] + 1)
    return i


@kernel
def _remember(utf8: Any, start: int, end: int, distance: int, blocks: Any, runs: Any, n_runs: Any) -> Any:
    """Write down a long run, by its shortest period; return how many there are."""
    known = blocks[(start + end) >> (_BLOCK + 1)] - 1
    if end - start < _LONG or (known >= 0 and runs[known, 0] <= start and end <= runs[known, 1]):
        return n_runs
    period = distance
    for shorter in range(1, _NEAR + 1):
        if period == distance and distance % shorter == 0 and _are_equal(utf8, start, start + shorter, distance, end):
            period = shorter
    is_new = False
    for block in range((start + (1 << _BLOCK) - 1) >> _BLOCK, end >> _BLOCK):
        if blocks[block] == 0:
            blocks[block] = n_runs + 1
            is_new = True
    if not is_new:
        return n_runs
    runs[n_runs, 0], runs[n_runs, 1], runs[n_runs, 2] = start, end, period
    return n_runs + 1


@kernel
def _find_over_newline(
    utf8: Any, start: int, newline: int, end: int, classes: Any, units: Any, blocks: Any, runs: Any
) -> None:
    """Units that end a line and begin the next."""
    longest = min(newline - start, find_newline(utf8, newline + 1, end) - newline - 1)
    if longest < _NEAR:
        return
    tail = load(utf8, newline - 8)
    for unit in range(_NEAR, longest + 1):
        if load(utf8, newline + unit - 7) != tail:
            continue
        i = newline - unit
        if byte_at(utf8, i) & 0xC0 == 0x80 or 0 < units[i] <= unit:
            continue
        if _beyond_starts(i, unit, blocks, runs) > i:
            continue
        if _is_repeated(utf8, i, unit, end, classes):
            units[i] = unit
