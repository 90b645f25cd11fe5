"""`dolma.kernels.redpajama` of one text, by Python's own `str`, `re` and `unicodedata`: its definitions."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection

BULLETS = "•‣▶◀◦■□▪▫–"
TERMINAL = ".!?”"
ELLIPSES = ("...", "…")

SUMS = (
    "raw_words",
    "all_caps_words",
    "no_alph_words",
    "stop_words",
    "words",
    "word_characters",
    "unique_words",
    "sentences",
    "symbols",
    "curly_brackets",
    "lorem_ipsum",
    "javascript",
    "lines",
    "ellipsis_lines",
    "terminal_lines",
    "bullet_lines",
)
"""Columns of `redpajama_sums`."""
SHARES = ("unigram_entropy", "uppercase", "numerical")
"""Columns of its second answer: entropy in nats, and sums over lines of shares of characters."""

_RAW_WORD = re.compile(r"\w+|[^\w\s]+")
_SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def normalized_words(text: str) -> list[str]:
    """The words without ASCII punctuation, in lower case and decomposed (NFD), character by character.

    >>> normalized_words("It's -- ÉTÉ.") == ["its", unicodedata.normalize("NFD", "été")]
    True
    """
    words = ("".join(c for c in word if c not in string.punctuation) for word in text.split())
    return ["".join(unicodedata.normalize("NFD", c.lower()) for c in word) for word in words if word]


def redpajama_sums(text: str, *, stop_words: Collection[str] = ()) -> tuple[list[int], list[float]]:
    """Counts, by `SUMS`, and shares, by `SHARES`.

    >>> dict(zip(SUMS, redpajama_sums("Stop. GO, go!", stop_words=["go"])[0], strict=True))["unique_words"]
    2
    """
    raw, words, lines = _RAW_WORD.findall(text), normalized_words(text), _LINE.findall(text)
    normalized = " ".join(words)
    counts = Counter(words)
    sums = [
        len(raw),
        sum(map(str.isupper, raw)),
        sum(not re.search("[a-zA-Z]", word) for word in raw),
        sum(word in stop_words for word in raw),
        len(words),
        sum(map(len, words)),
        len(counts),
        len(_SENTENCE.findall(text)),
        sum(map(text.count, ("#", *ELLIPSES))),
        text.count("{") + text.count("}"),
        normalized.count("lorem ipsum"),
        counts["javascript"],
        len(lines),
        sum(line.rstrip().endswith(ELLIPSES) for line in lines),
        sum(line.rstrip().endswith(tuple(TERMINAL)) for line in lines),
        sum(line.lstrip().startswith(tuple(BULLETS)) for line in lines),
    ]
    numerical = ((line, " ".join(normalized_words(line))) for line in lines)
    return sums, [
        math.fsum(-n / len(words) * math.log(n / len(words)) for n in counts.values()),
        math.fsum(sum(map(str.isupper, line)) / len(line) for line in lines),
        math.fsum(sum(map(str.isnumeric, line)) / max(len(words), 1) for line, words in numerical),
    ]
