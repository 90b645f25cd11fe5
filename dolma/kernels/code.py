"""Lines, letters and digits of source code, in one pass.

The readable twin, with all definitions, is `dolma/kernels/reference/code.py`. About 1.5 GB/s of code on one core of a
2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel
from dolma.kernels.reference.code import LONG_LINE
from dolma.kernels.unicode import ALNUM, ALPHA, character_classes, decode
from dolma.kernels.views import Int64
from dolma.kernels.words64 import HIGHS, ONES, at_least, byte_at, first_bytes, first_mark, load

_CASE = np.uint64(0x20) * ONES
_A, _BEYOND_Z, _DIGIT_0, _BEYOND_9 = (np.uint64(byte) * ONES for byte in (0x61, 0x7B, 0x30, 0x3A))
_LF, _BEYOND_CR, _FS, _BEYOND_RS = (np.uint64(byte) * ONES for byte in (0x0A, 0x0E, 0x1C, 0x1F))
_0, _1, _7, _56 = (np.uint64(n) for n in (0, 1, 7, 56))


def text_sums(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Int64:
    """Lines, the longest line, the sum of all, long lines, letters and digits, letters, ASCII digits, code points.

    int64, shape `(n_docs, 8)`; lengths in code points, without what ends a line (`str.splitlines`).

    >>> text_sums(np.frombuffer(b"a1\\r\\nb c", np.uint8), np.array([0, 7])).tolist()
    [[2, 3, 5, 0, 4, 3, 1, 7]]
    """
    text, bounds = flat_text(utf8, offsets)
    sums = np.zeros((len(bounds) - 1, 8), dtype=np.int64)
    _text_sums(text, bounds, character_classes(), sums)
    return sums


@inlined
def _count(marks: Any) -> Any:
    """How many bytes have their high bit set, if no other bit is."""
    return np.int64(((marks >> _7) * ONES) >> _56)


@inlined
def _is_break(code_point: int) -> bool:
    control = 0x0A <= code_point <= 0x0D or 0x1C <= code_point <= 0x1E
    return control or code_point == 0x85 or code_point == 0x2028 or code_point == 0x2029


@kernel
def _text_sums(utf8: Any, offsets: Any, classes: Any, sums: Any) -> None:
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        lines, longest, total, long = 0, 0, 0, 0
        alnum, alpha, digits, points = 0, 0, 0, 0
        length, after_cr, open_line = 0, False, False
        while i < end:
            word = load(utf8, i)
            n = min(8, end - i)
            word = first_bytes(word, n)
            if word & HIGHS == _0:
                lower = word | _CASE
                letters = _count(at_least(lower, _A) & ~at_least(lower, _BEYOND_Z))
                figures = _count(at_least(word, _DIGIT_0) & ~at_least(word, _BEYOND_9))
                alpha += letters
                digits += figures
                alnum += letters + figures
                points += n
                breaks = (at_least(word, _LF) & ~at_least(word, _BEYOND_CR)) | (
                    at_least(word, _FS) & ~at_least(word, _BEYOND_RS)
                )
                if breaks == _0:
                    length += n
                    open_line, after_cr = True, False
                    i += n
                    continue
                from_ = 0
                while breaks != _0:
                    k = first_mark(breaks)
                    breaks &= breaks - _1
                    byte = byte_at(utf8, i + k)
                    length += k - from_
                    if k > from_:
                        open_line, after_cr = True, False
                    from_ = k + 1
                    if byte == 0x0A and after_cr:
                        after_cr = False
                        continue
                    lines += 1
                    longest = max(longest, length)
                    total += length
                    long += length > LONG_LINE
                    length, open_line, after_cr = 0, False, byte == 0x0D
                length += n - from_
                if n > from_:
                    open_line, after_cr = True, False
                i += n
                continue
            code_point, width = decode(utf8, i, end)
            i += width
            points += 1
            if _is_break(code_point):
                if code_point == 0x0A and after_cr:
                    after_cr = False
                    continue
                lines += 1
                longest = max(longest, length)
                total += length
                long += length > LONG_LINE
                length, open_line, after_cr = 0, False, code_point == 0x0D
                continue
            of = classes[code_point]
            alpha += of & ALPHA != 0
            alnum += of & ALNUM != 0
            digits += 0x30 <= code_point <= 0x39
            length += 1
            open_line, after_cr = True, False
        if open_line:
            lines += 1
            longest = max(longest, length)
            total += length
            long += length > LONG_LINE
        sums[doc, 0], sums[doc, 1], sums[doc, 2], sums[doc, 3] = lines, longest, total, long
        sums[doc, 4], sums[doc, 5], sums[doc, 6], sums[doc, 7] = alnum, alpha, digits, points
