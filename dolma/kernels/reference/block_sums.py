"""`dolma.kernels.block_sums` of one line or sentence."""

from __future__ import annotations

import itertools

TECHNICAL = frozenset("0123456789{}+/()>")


def block_sums(text: str) -> list[int]:
    """Code points, whitespace, uppercase, digits, technical characters, words, capitalised words, longest run of words
    of one code point.

    >>> block_sums("A b C1 (x)")
    [10, 3, 2, 1, 3, 4, 2, 2]
    """
    words = text.split()
    runs = (sum(1 for _ in run) for single, run in itertools.groupby(words, lambda word: len(word) == 1) if single)
    return [
        len(text),
        sum(map(str.isspace, text)),
        sum(map(str.isupper, text)),
        sum(map(str.isdecimal, text)),
        sum(character in TECHNICAL for character in text),
        len(words),
        sum(word[0].isupper() for word in words),
        max(runs, default=0),
    ]
