"""Strings of JSON to the text that they stand for, many at once, in UTF-8 throughout.

A JSON decoder makes a Python string of each text, which is then encoded again: two passes and two copies. Here the
strings, as they stand in the file, are written out in one pass without their escapes. What is not a string as the JSON
standard has it, or not text (a lone surrogate), is left to the caller, whose decoder can say what is wrong with it.

The readable twin is in `dolma/kernels/reference/strings.py`. Prose, one core of a 2-core cloud machine, 2026-11-23:
about 2 GB/s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import bits_of, copy_64
from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.words64 import byte_at, first_bit

ROOM = 64
# What does not stand for itself, and what may not stand in a string.
_marks, _newlines = bits_of([*range(0x20), 0x22, 0x5C]), bits_of(b"\n")
_0, _1 = np.uint64(0), np.uint64(1)
_BAD = -1
_COUNTED_BYTES = 64 << 20


def _short_escapes() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for letter, byte in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
        table[letter] = byte
    return read_only(table, np.uint8)


_SHORT = _short_escapes()


def unescape(
    strings: npt.ArrayLike, bounds: npt.ArrayLike, *, into: npt.NDArray[np.uint8] | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None:
    """The UTF-8 of JSON strings, and where each begins: uint8, and int64 of shape `(n + 1,)`; None if one is none.

    String `i` is `strings[bounds[i]:bounds[i + 1]]`, quotes included, and valid UTF-8, which is not checked.
    The result is the beginning of `into`, which has `ROOM` bytes more than the strings, or of a new buffer.

    >>> raw = b'"a\\\\n""\\\\u00e9"'
    >>> utf8, offsets = unescape(np.frombuffer(raw, np.uint8), np.array([0, 5, 13]))
    >>> utf8.tobytes().decode(), offsets.tolist()
    ('a\\né', [0, 2, 4])
    """
    data, ends = read_only(strings, np.uint8), read_only(bounds, np.int64)
    utf8 = np.empty(len(data) + ROOM, dtype=np.uint8) if into is None else into
    offsets = np.empty(len(ends), dtype=np.int64)
    if not _unescape(data, ends, _SHORT, utf8, offsets):
        return None
    return utf8[: offsets[-1]], offsets


def newlines(data: bytes) -> npt.NDArray[np.int64]:
    """Where each "\\n" is; int64.

    >>> newlines(b"a\\n\\nb").tolist()
    [1, 2]
    """
    text = read_only(np.frombuffer(data, dtype=np.uint8), np.uint8)
    # Memory that is never written to is never given out by the system: the bound may be generous. Its address space may
    # be limited, though.
    most = len(text) if len(text) < _COUNTED_BYTES else data.count(b"\n")
    found = np.empty(most, dtype=np.int64)
    return found[: _newlines_at(text, found)]


@kernel
def _newlines_at(text: Any, found: Any) -> int:
    n = 0
    for at in range(0, len(text), 64):
        if at + 64 <= len(text):
            bits = _newlines(text, at)
            while bits != _0:
                found[n] = at + first_bit(bits)
                n += 1
                bits &= bits - _1
        else:
            for i in range(at, len(text)):
                if byte_at(text, i) == 0x0A:
                    found[n] = i
                    n += 1
    return n


@kernel
def _unescape(data: Any, bounds: Any, short: Any, utf8: Any, offsets: Any) -> bool:
    n = 0
    offsets[0] = 0
    for k in range(len(bounds) - 1):
        i, end = bounds[k], bounds[k + 1] - 1
        if end - i < 1 or byte_at(data, i) != 0x22 or byte_at(data, end) != 0x22:
            return False
        i += 1
        while i < end:
            if i + 64 <= len(data):
                copy_64(data, i, utf8, n)
                size, plain = 64, first_bit(_marks(data, i))
            else:
                size, plain = 1, int(_is_plain(byte_at(data, i)))
                utf8[n] = byte_at(data, i)
            plain = min(plain, end - i)
            n += plain
            i += plain
            if plain == size or i == end:
                continue
            if byte_at(data, i) != 0x5C or i + 1 >= end:
                return False
            letter = byte_at(data, i + 1)
            if letter == 0x75:
                i, n = _code_point(data, i, end, utf8, n)
                if i == _BAD:
                    return False
            else:
                utf8[n] = short[letter]
                if utf8[n] == 0:
                    return False
                i, n = i + 2, n + 1
        offsets[k + 1] = n
    return True


@inlined
def _is_plain(byte: Any) -> bool:
    return byte >= 0x20 and byte != 0x22 and byte != 0x5C


@kernel
def _code_point(data: Any, i: int, end: int, utf8: Any, n: int) -> tuple[int, int]:
    """Writes what the escape `\\uXXXX` or pair of them at `i` stands for; where both go on, or `(_BAD, n)`."""
    point = _hexadecimal(data, i, end)
    i += 6
    if 0xD800 <= point < 0xDC00:
        low = _hexadecimal(data, i, end)
        i += 6
        if low < 0xDC00 or low > 0xDFFF:
            return _BAD, n
        point = 0x10000 + ((point - 0xD800) << 10 | (low - 0xDC00))
    elif point < 0 or 0xDC00 <= point <= 0xDFFF:
        return _BAD, n
    if point < 0x80:
        utf8[n] = point
        return i, n + 1
    if point < 0x800:
        utf8[n], utf8[n + 1] = 0xC0 | point >> 6, 0x80 | point & 0x3F
        return i, n + 2
    if point < 0x10000:
        utf8[n], utf8[n + 1], utf8[n + 2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
        return i, n + 3
    utf8[n], utf8[n + 1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F
    utf8[n + 2], utf8[n + 3] = 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
    return i, n + 4


@inlined
def _hexadecimal(data: Any, i: int, end: int) -> int:
    """The number in the escape `\\uXXXX` at `i`, or -1 if there is none before `end`."""
    if i + 6 > end or byte_at(data, i) != 0x5C or byte_at(data, i + 1) != 0x75:
        return -1
    number: Any = 0
    for j in range(i + 2, i + 6):
        byte = np.int64(byte_at(data, j))
        lower = byte | 0x20
        if 0x30 <= byte <= 0x39:
            number = number << 4 | (byte - 0x30)
        elif 0x61 <= lower <= 0x66:
            number = number << 4 | (lower - 0x57)
        else:
            return -1
    return number
