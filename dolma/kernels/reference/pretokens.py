"""`dolma.kernels.pretokens` of one text, by the published regular expressions themselves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

# What a part of the expressions stands for: a bit of a class. Longer parts come first.
_PROPERTIES = {r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}": 16, r"\p{Ll}\p{Lm}\p{Lo}\p{M}": 32, r"\p{L}": 1, r"\p{N}": 2, r"\s": 4}

_LIKE_S = 64


def compiled(pattern: str, classes: Iterable[int]) -> re.Pattern[str]:
    """The published pattern for Python's `re`, with the class of each code point.

    >>> compiled(r"\\p{N}", [0] * 48 + [2] * 10 + [0] * 400).findall("a 12")
    ['1', '2']
    """
    members = list(classes)
    for name, bit in _PROPERTIES.items():
        pattern = _replaced(pattern, name, _ranges(point for point, cls in enumerate(members) if cls & bit))
    ink = _ranges(point for point, cls in enumerate(members) if not cls & _PROPERTIES[r"\s"])
    pattern = pattern.replace(r"\S", f"[{ink}]")
    if not members[0x17F] & _LIKE_S:
        pattern = pattern.replace("(?i:", "(?ai:")
    return re.compile(pattern)


def _replaced(pattern: str, name: str, members: str) -> str:
    """The pattern with the property written out, within brackets or in some of its own."""
    parts, inside = [], False
    i = 0
    while i < len(pattern):
        if pattern.startswith(name, i):
            parts.append(members if inside else f"[{members}]")
            i += len(name)
            continue
        inside = pattern[i] == "[" or (inside and pattern[i] != "]")
        step = 2 if pattern[i] == "\\" else 1
        parts.append(pattern[i : i + step])
        i += step
    return "".join(parts)


def _ranges(points: Iterable[int]) -> str:
    """Code points in the form of a set of an expression."""
    found = []
    for _, run in itertools.groupby(enumerate(points), key=lambda item: item[1] - item[0]):
        some = [point for _, point in run]
        found.append(f"\\U{some[0]:08x}-\\U{some[-1]:08x}")
    return "".join(found)


def pretokens(text: str, expression: re.Pattern[str]) -> list[str]:
    """The pre-tokens of the text.

    >>> pretokens("to be", re.compile(" ?[a-z]+"))
    ['to', ' be']
    """
    return expression.findall(text)
