"""`dolma.kernels.shingles` on Python strings and integers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from dolma.kernels.reference.hashing import hash64

_64 = 0xFFFFFFFFFFFFFFFF
_START, _A, _LAST = 0x243F6A8885A308D3, 0x9E3779B97F4A7C15, 0xC4CEB9FE1A85EC53
_SCRIPTS_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR")


def words(text: str) -> list[str]:
    """The words of a text, in lower case: runs of letters, digits and underscores with the marks that follow them.

    A letter of a script that is written without spaces is a word by itself, with its marks.

    >>> words("Don't say “Été”: 東京 2")
    ['don', 't', 'say', 'été', '東', '京', '2']
    """
    found: list[str] = []
    is_open = alone = False
    for character in text:
        is_mark = unicodedata.category(character).startswith("M")
        if not (is_mark or character.isalnum() or character == "_"):
            is_open = False
            continue
        is_single = not is_mark and stands_alone(character)
        if is_open and (is_mark or not (alone or is_single)):
            found[-1] += lower(character)
        else:
            found.append(lower(character))
            alone = is_single
        is_open = True
    return found


def stands_alone(character: str) -> bool:
    """Whether this is a letter of a script that is written without spaces, by its name."""
    return character.isalpha() and unicodedata.name(character, "").startswith(_SCRIPTS_WITHOUT_SPACES)


def lower(character: str) -> str:
    """The character in lower case, as one code point.

    >>> lower("É"), lower("İ")
    ('é', 'i')
    """
    return character.lower()[:1]


def word_shingles(text: str, n: int, *, least: int = 1, stride: int = 1) -> list[int]:
    """The hash of each run of `n` words, in order; of all words where there are fewer; none below `least` words.

    A run begins at each `stride`-th word.
    """
    hashes = [hash64(word.encode()) for word in words(text)]
    n = min(n, len(hashes))
    return [_hash(hashes[i : i + n]) for i in range(0, len(hashes) - n + 1, stride)] if len(hashes) >= least else []


def character_shingles(text: str, n: int, *, folded: bool = True) -> list[int]:
    """The hash of each run of `n` characters of the text: in lower case, white space as one space, none at the ends.

    If not `folded`, the characters are taken as they are.
    """
    characters = [ord(lower(character)) for character in " ".join(text.split())] if folded else list(map(ord, text))
    n = min(n, len(characters))
    return [_hash(characters[i : i + n]) for i in range(len(characters) - n + 1)] if n else []


def _hash(parts: Sequence[int]) -> int:
    state = _START
    for part in parts:
        state = (state ^ part) * _A & _64
        state ^= state >> 32
    state = (state ^ len(parts)) * _LAST & _64
    return state ^ state >> 29
