"""`dolma.kernels.normalize` on Python strings."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Container

from dolma.kernels.reference.shingles import lower


def normalized(text: str, words: Container[str]) -> str:
    """The text as it is compared; `words` are those of `dolma.kernels.normalize.WORDS`, and their order is that here.

    >>> normalized(" It’s 12,5 %\\n", {"lower", "punctuation", "spaces", "digits"})
    'its 0'
    """
    if "nfc" in words:
        text = unicodedata.normalize("NFC", text)
    if "nfkc" in words:
        text = unicodedata.normalize("NFKC", text)
    if "accents" in words:
        text = "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn")
    if "lower" in words:
        text = "".join(map(lower, text))
    if "punctuation" in words:
        text = "".join(one for one in text if not is_punctuation(one))
    if "digits" in words:
        text = "".join(
            "0" if one.isdecimal() else one
            for i, one in enumerate(text)
            if not (one.isdecimal() and text[i - 1 : i].isdecimal())
        )
    return " ".join(text.split()) if "spaces" in words else text


def is_punctuation(character: str) -> bool:
    """Whether this is punctuation in Unicode or in ASCII, where `$+<=>^`, the accent grave, `|` and `~` count, too.

    >>> [one for one in "a,$€—" if is_punctuation(one)]
    [',', '$', '—']
    """
    return unicodedata.category(character).startswith("P") or character in string.punctuation
