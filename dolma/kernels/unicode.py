"""What each code point is, by Python's own `str` methods, as one table that kernels index.

The table is made by NumPy's string predicates, which call the same functions of the interpreter as `str.isspace` and
its kind, for all code points at once: about 20 ms, on first use, once per process (one core of a 2-core cloud machine,
2026-11-23). Planes 4 to 13 hold no assigned character and are left empty.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import bits_of, count_bits, first_bits
from dolma.kernels.compiled import inlined, read_only
from dolma.kernels.words64 import byte_at

SPACE, ALPHA, ALNUM, UPPER, LOWER, DIGIT = 1, 2, 4, 8, 16, 32

_continuations = bits_of(range(0x80, 0xC0))
# Beyond the last code point, 0x10FFFF, so that even four malformed bytes decode to an index of the table.
_TABLE_SIZE = 1 << 21
_ASSIGNED = (range(0x40000), range(0xE0000, 0x110000))
_PREDICATES = {
    SPACE: np.strings.isspace,
    ALPHA: np.strings.isalpha,
    ALNUM: np.strings.isalnum,
    UPPER: np.strings.isupper,
    LOWER: np.strings.islower,
    DIGIT: np.strings.isdecimal,
}


@functools.cache
def character_classes() -> npt.NDArray[np.uint8]:
    """The classes of each code point: the bits `SPACE`, `ALPHA`, … set as `str.isspace`, `str.isalpha`, … answer.

    uint8, shape `(2 ** 21,)`, read-only; zero beyond the last code point.

    >>> bool(character_classes()[ord("é")] & ALPHA), bool(character_classes()[0x3000] & SPACE)
    (True, True)
    """
    classes = np.zeros(_TABLE_SIZE, dtype=np.uint8)
    for plane in _ASSIGNED:
        characters = np.arange(plane.start, plane.stop, dtype=np.uint32).view("U1")
        for bit, predicate in _PREDICATES.items():
            classes[plane.start : plane.stop] |= predicate(characters).astype(np.uint8) * np.uint8(bit)
    return read_only(classes, np.uint8)


@inlined
def decode(utf8: Any, i: int, end: int) -> tuple[Any, int]:
    """The code point whose first byte is `utf8[i]`, and its width in bytes. Reads nothing at or beyond `end`.

    A sequence cut off by `end` counts as U+FFFD, one byte wide.
    """
    lead = np.int64(byte_at(utf8, i))
    if lead < 0x80:
        return lead, 1
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if i + width > end:
        return 0xFFFD, 1
    second = np.int64(byte_at(utf8, i + 1)) & 0x3F
    if width == 2:
        return (lead & 0x1F) << 6 | second, 2
    third = np.int64(byte_at(utf8, i + 2)) & 0x3F
    if width == 3:
        return (lead & 0x0F) << 12 | second << 6 | third, 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | (np.int64(byte_at(utf8, i + 3)) & 0x3F), 4


@inlined
def skip_spaces(utf8: Any, i: int, end: int, classes: Any) -> int:
    """The first position in `[i, end)` that begins a character other than whitespace; `end` if there is none."""
    while i < end:
        byte = byte_at(utf8, i)
        if 0x20 < byte < 0x80:
            return i
        code_point, width = decode(utf8, i, end)
        if not classes[code_point] & SPACE:
            return i
        i += width
    return end


@inlined
def trim_spaces(utf8: Any, start: int, end: int, classes: Any) -> int:
    """The end of the last character in `[start, end)` that is not whitespace; `start` if there is none."""
    while end > start:
        i = end - 1
        while i > start and byte_at(utf8, i) & 0xC0 == 0x80:
            i -= 1
        code_point, _ = decode(utf8, i, end)
        if not classes[code_point] & SPACE:
            return end
        end = i
    return start


@inlined
def count_code_points(utf8: Any, start: int, end: int) -> int:
    """Code points that begin in `[start, end)`: bytes that are not continuation bytes."""
    n, i = max(end - start, 0), start
    while i < end and i + 64 <= len(utf8):
        n -= count_bits(first_bits(_continuations(utf8, i), end - i))
        i += 64
    for k in range(i, end):
        n -= byte_at(utf8, k) & 0xC0 == 0x80
    return n
