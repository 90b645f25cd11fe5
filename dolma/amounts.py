"""Numbers of tokens, bytes or documents as people write them, and a number shared out by weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

Amount = int | float | str
"""A positive whole number as a recipe has it: 2000000, 1e9 or, in letters of either case, 500k, 30M, 1.5B, 2T."""

MOST = 10**18
_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_WRITTEN = re.compile(r"([0-9][0-9_]*|[0-9_]*\.[0-9]+)(?:[eE]\+?([0-9]{1,2}))?\s*([KMBTkmbt]?)")


def count_of(value: Amount, *, key: str) -> int:
    """The number that an amount is; letters are powers of a thousand in either case: k, M, B (10^9), T (10^12).

    >>> count_of("1.5B", key="total"), count_of("500k", key="total"), count_of(1e9, key="total")
    (1500000000, 500000, 1000000000)

    Raises:
        ValueError: it is none, or not a whole number from 1 to 10^18; `key` is named.
    """
    written = _WRITTEN.fullmatch(str(value).strip())
    if written is not None and not isinstance(value, bool):
        number, exponent, suffix = written.groups()
        exact = Fraction(number.replace("_", "")) * 10 ** int(exponent or 0) * _SUFFIXES[suffix.upper()]
        if exact.denominator == 1 and 1 <= exact <= MOST:
            return int(exact)
    raise ValueError(
        f"`{key}` is {value!r}, expected a whole number of at least 1"
        "\n  write 2000000, 1e9 or, with k, M, B (10^9) or T behind it, 500k, 30M, 1.5B, 2T"
    )


def exact(number: float) -> Fraction:
    """The number as it is written: 0.3 is 3/10."""
    return Fraction(repr(float(number)))


def share_out(total: int, weights: Sequence[float | Fraction]) -> list[int]:
    """Whole numbers in the proportions of the weights, which add up to the total: by the largest remainder.

    Of equal remainders the first is rounded up.

    >>> share_out(11, [0.7, 0.3])
    [8, 3]
    """
    exactly = [weight if isinstance(weight, Fraction) else exact(weight) for weight in weights]
    whole = sum(exactly, Fraction(0))
    parts = [total * weight / whole for weight in exactly] if whole else []
    found = [math.floor(part) for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: (found[i] - parts[i], i))
    for i in by_remainder[: total - sum(found)]:
        found[i] += 1
    return found
