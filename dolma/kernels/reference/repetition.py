"""`dolma.kernels.repetition` of one text, by counting tuples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def ngram_fraction(words: Sequence[str], n: int, *, most_common_only: bool) -> float:
    """The share of the code points of all words under repeated n-grams, each once.

    >>> ngram_fraction("a b c a b".split(), 2, most_common_only=True)
    0.8
    """
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    repeated = {gram for gram in counts if counts[gram] > 1}
    if not repeated:
        return 0.0
    if most_common_only:
        # `max` returns the first of equals, and a Counter lists n-grams in order of first occurrence.
        repeated = {max(counts, key=lambda gram: (counts[gram], sum(map(len, gram))))}
    covered = {j for i, gram in enumerate(grams) if gram in repeated for j in range(i, i + n)}
    return sum(len(words[j]) for j in covered) / sum(map(len, words))


def duplicate_fractions(blocks: Sequence[str]) -> tuple[float, float]:
    """The share of blocks that occur at least twice, and of code points in them; blank ones count nowhere.

    >>> duplicate_fractions(["a", "", "b", "a", "cc"])
    (0.5, 0.4)
    """
    texts = [block.strip() for block in blocks if block.strip()]
    counts = Counter(texts)
    repeated = [text for text in texts if counts[text] > 1]
    if not repeated:
        return 0.0, 0.0
    return len(repeated) / len(texts), sum(map(len, repeated)) / sum(map(len, texts))


def line_copies(lines: Sequence[str]) -> list[int]:
    """Of each line: 0 if it occurs once, 1 if it is the first of several, 2 if it has occurred before.

    >>> line_copies(["a", "", "b", "a"])
    [1, 0, 0, 2]
    """
    counts, seen = Counter(lines), set[str]()
    copies = []
    for line in lines:
        copies.append(0 if counts[line] == 1 else 2 if line in seen else 1)
        seen.add(line)
    return copies
