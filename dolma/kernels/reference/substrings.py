"""`dolma.kernels.substrings` on Python strings, and what repeated text is, by brute force."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dolma.kernels.reference.shingles import stands_alone

_64 = 0xFFFFFFFFFFFFFFFF
_BASE, _LAST = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD


def tokens(text: str) -> list[tuple[int, int]]:
    """Where each token lies, in code points.

    A token is a run of letters, digits and underscores, a letter of a script that is written without spaces, or a run
    of other characters that are no white space; marks belong to what stands before them.

    >>> [text[i:j] for text in ["Don't say “Été” 東京 2!"] for i, j in tokens(text)]
    ['Don', "'", 't', 'say', '“', 'Été', '”', '東', '京', '2', '!']
    """
    found: list[tuple[int, int]] = []
    kind = ""
    for i, character in enumerate(text):
        is_mark = unicodedata.category(character).startswith("M")
        this = _kind(character)
        if this and kind and (is_mark or (this == kind and kind != "alone")):
            found[-1] = (found[-1][0], i + 1)
            continue
        kind = this
        if this:
            found.append((i, i + 1))
    return found


def _kind(character: str) -> str:
    is_mark = unicodedata.category(character).startswith("M")
    if is_mark or character.isalnum() or character == "_":
        return "alone" if not is_mark and stands_alone(character) else "word"
    return "" if character.isspace() else "other"


def seeds(units: Sequence[int], size: int) -> list[int]:
    """The seed of each window of `size` units: the least hash of the runs of `size // 2` units in it."""
    run = max(size // 2, 1)
    keys = [_key(units[i : i + run]) for i in range(len(units) - run + 1)]
    return [min(keys[i : i + size - run + 1]) * _BASE & _64 for i in range(len(units) - size + 1)]


def _key(run: Sequence[int]) -> int:
    state = 0
    for unit in run:
        state = (state * _BASE + unit) & _64
    state = (state ^ state >> 32) * _LAST & _64
    return state ^ state >> 32
