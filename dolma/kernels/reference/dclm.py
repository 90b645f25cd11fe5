"""`dolma.kernels.dclm` of one text; segments are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def pieces(text: str, *, separator: str) -> list[str]:
    """What lies between the separators, stripped, blank ones left out.

    >>> pieces(" a\\n \\nb\\n\\n\\nc ", separator="\\n\\n")
    ['a\\n \\nb', 'c']
    """
    return [stripped for piece in text.split(separator) if (stripped := piece.strip())]


def repeated(segments: Sequence[str]) -> tuple[float, float] | None:
    """The share of segments that occur at least twice, and of their code points; None without segments."""
    if not segments:
        return None
    again = {segment: count for segment, count in Counter(segments).items() if count > 1}
    points = sum(len(segment) * count for segment, count in again.items())
    return sum(again.values()) / len(segments), points / sum(map(len, segments))


def ngram_shares(words: Sequence[str]) -> list[float]:
    """Shares of repeated n-grams, n from 2 to 10.

    >>> ngram_shares("a b a b a b".split())[:2]
    [1.0, 1.0]
    """
    return [_share(words, n) for n in range(2, 11)]


def _share(words: Sequence[str], n: int) -> float:
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(ngrams)
    most = max(counts.values(), default=1)
    if most == 1:
        return 0.0
    total = sum(map(len, words))
    if n <= 4:
        return most * max(sum(map(len, ngram)) for ngram, count in counts.items() if count == most) / total
    under = {i + k for i, ngram in enumerate(ngrams) if counts[ngram] > 1 for k in range(n)}
    return sum(len(words[i]) for i in under) / total
