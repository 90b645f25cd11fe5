"""`dolma.kernels.samples` of one text, step by step."""

from __future__ import annotations

_WINDOWS, _END = 4, "</s>"


def line_of(text: str, *, max_characters: int, min_letters: int) -> bytes:
    """The text's line; empty if its sample has too few letters.

    >>> line_of("One </S>\\n", max_characters=99, min_letters=1)
    b'one'
    """
    sample = sample_of(text, max_characters=max_characters)
    if sum(map(str.isalpha, sample)) < min_letters:
        return b""
    return sample.lower().replace(_END, " ").strip().encode() or b" "


def sample_of(text: str, *, max_characters: int) -> str:
    """The text, or windows spread evenly over it, of `max_characters` in all or up to three less."""
    if len(text) <= max_characters:
        return text
    size = max_characters // _WINDOWS
    starts = [i * (len(text) - size) // (_WINDOWS - 1) for i in range(_WINDOWS)]
    return " ".join(text[start : start + size] for start in starts)
