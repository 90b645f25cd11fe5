"""Committed tables of a class for each code point, as runs.

A table is the base 85 form of a zlib stream of pairs of LEB128 numbers, (code points, class), from U+0000 on; what
follows the last run has class 0. Such tables are made by `tests/goldens/make_unicode_tables.py` and
`make_pretoken_classes.py`.
"""

from __future__ import annotations

import base64
import functools
import zlib

import numpy as np
import numpy.typing as npt


@functools.cache
def table_of(runs: str) -> npt.NDArray[np.uint8]:
    """The class of each code point, in a table that even malformed UTF-8 indexes; uint8, `(2 ** 21,)`, read-only."""
    table = np.zeros(1 << 21, dtype=np.uint8)
    numbers, at = _numbers(zlib.decompress(base64.b85decode(runs))), 0
    for size, cls in zip(numbers[::2], numbers[1::2], strict=True):
        table[at : at + size] = cls
        at += size
    table.flags.writeable = False
    return table


def _numbers(encoded: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in encoded:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number, shift = 0, 0
    return numbers
