"""`dolma.kernels.datatrove` of one text; tokens are given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from dolma.kernels.reference.english_tokens import MARKS
from dolma.kernels.reference.sentences import TERMINAL_PUNCTUATION


def ngram_characters(tokens: Sequence[str]) -> list[int]:
    """Code points of repeated n-grams, n from 2 to 10; -1 with fewer than n tokens.

    >>> ngram_characters("a b a b".split())
    [6, 5, 7, -1, -1, -1, -1, -1, -1]
    """
    return [
        -1 if len(tokens) < n else _most_common(tokens, n) if n <= 4 else _read_again(tokens, n) for n in range(2, 11)
    ]


def _most_common(tokens: Sequence[str], n: int) -> int:
    counts = Counter(" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    gram = max(counts, key=counts.__getitem__)  # of equals the first
    return counts[gram] * len(gram)


def _read_again(tokens: Sequence[str], n: int) -> int:
    seen, repeated, here = set(), 0, 0
    while here <= len(tokens) - n:
        gram = tuple(tokens[here : here + n])
        if gram in seen:
            repeated += sum(map(len, gram))
            here += n
        else:
            seen.add(gram)
            here += 1
    return repeated


def repeated_pieces(text: str, *, paragraphs: bool) -> list[int]:
    """Pieces, those that occurred before, their code points.

    >>> repeated_pieces("ab\\n\\nab\\n", paragraphs=False)
    [3, 1, 2]
    """
    pieces = re.split("\n{2,}", text.strip()) if paragraphs else re.split("\n+", text)
    again = [piece for i, piece in enumerate(pieces) if piece in pieces[:i]]
    return [len(pieces), len(again), sum(map(len, again))]


def line_marks(text: str) -> list[int]:
    """Lines with a bullet first, with an ellipsis last.

    >>> line_marks("- a...\\r\\n#")
    [1, 1]
    """
    lines = [line.strip() for line in text.splitlines()]
    return [sum(line.startswith(("•", "-")) for line in lines), sum(line.endswith(("...", "…")) for line in lines)]


def token_sums(tokens: Sequence[str], *, vocabulary: Sequence[str]) -> list[int]:
    """Tokens that are not of marks alone, their code points, tokens with a letter, different words of `vocabulary`.

    >>> token_sums(["The", "the", ",", "12"], vocabulary=["the"])
    [3, 8, 2, 1]
    """
    solid = [t for t in tokens if any(c not in MARKS and c not in TERMINAL_PUNCTUATION for c in t)]
    n_alpha = sum(any(map(str.isalpha, token)) for token in tokens)
    return [len(solid), sum(map(len, solid)), n_alpha, len(set(vocabulary) & set(tokens))]
