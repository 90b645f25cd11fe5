"""Whether texts are in NFC, by what each of their characters is: yes for nearly all text, else to be looked at.

A character that stands is in NFC wherever it is. One that follows others may have to be put in order, so two in a row
are not looked into. Others may be composed with what is before them, or be replaced. No version of Unicode changes that
for a character that has been assigned. The readable twin is `unicodedata.is_normalized`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import BLOCK, bits_of, first_bits
from dolma.kernels.code_points import table_of
from dolma.kernels.compiled import kernel, read_only
from dolma.kernels.pretoken_classes import NFC
from dolma.kernels.unicode import decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import first_bit

STANDS, FOLLOWS, UNASSIGNED = 1, 2, 3
"""Classes; 0 is every other character."""
COMPOSED, UNCLEAR, UNKNOWN = range(3)

_beyond = bits_of(range(0x80, 0x100))


@functools.cache
def _classes() -> npt.NDArray[np.uint8]:
    return table_of(NFC)


def forms_of(text: npt.NDArray[np.uint8], starts: Int64, ends: Int64) -> npt.NDArray[np.uint8]:
    """What is known of each span of bytes `[start, end)`: `COMPOSED`, `UNCLEAR`, or `UNKNOWN` where a character is not
    assigned in the table's version of Unicode; uint8. There must be 64 bytes behind the spans."""
    forms = np.empty(len(starts), dtype=np.uint8)
    _forms_of(read_only(text, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64), _classes(), forms)
    return forms


@kernel
def _forms_of(text: Any, starts: Any, ends: Any, classes: Any, forms: Any) -> None:
    for k in range(len(starts)):
        i, end = starts[k], ends[k]
        form: Any = COMPOSED
        before: Any = STANDS
        while i < end:
            ascii_bytes = first_bit(first_bits(_beyond(text, i), end - i))
            if ascii_bytes > 0:
                before = STANDS
            i += ascii_bytes
            if i >= end or ascii_bytes == BLOCK:
                continue
            point, width = decode(text, i, end)
            cls = np.int64(classes[point])
            if cls == UNASSIGNED:
                form = UNKNOWN
            elif (cls == 0 or (cls == FOLLOWS and before == FOLLOWS)) and form == COMPOSED:
                form = UNCLEAR
            before = cls
            i += width
        forms[k] = form
