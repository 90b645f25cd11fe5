"""`dolma.kernels.code` of one text: its definitions."""

from __future__ import annotations

LONG_LINE = 100


def text_sums(text: str) -> list[int]:
    """Lines by `str.splitlines`, the longest, all of them together, those beyond `LONG_LINE` code points; characters
    for which `str.isalnum`, `str.isalpha`; digits 0 to 9; code points.

    >>> text_sums("a1\\r\\nb c")
    [2, 3, 5, 0, 4, 3, 1, 7]
    """
    lengths = [len(line) for line in text.splitlines()]
    return [
        len(lengths),
        max(lengths, default=0),
        sum(lengths),
        sum(n > LONG_LINE for n in lengths),
        sum(c.isalnum() for c in text),
        sum(c.isalpha() for c in text),
        sum(c in "0123456789" for c in text),
        len(text),
    ]
