"""`dolma.kernels.symbols` of one text."""

from __future__ import annotations


def symbol_counts(text: str) -> list[int]:
    """Occurrences of "#", "...", ". . ." and "…".

    >>> symbol_counts("# .... ......")
    [1, 3, 0, 0]
    """
    return [text.count(symbol) for symbol in ("#", "...", ". . .", "…")]
