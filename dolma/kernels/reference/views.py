"""`dolma.kernels.views` of one text, by `str` methods. Positions are bytes of the text's UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Word(NamedTuple):
    """One word; positions are bytes."""

    start: int
    end: int
    text: str
    has_alpha: bool
    has_hash: bool
    has_ellipsis: bool
    is_plain: bool
    is_marked: bool


class Block(NamedTuple):
    """One line or paragraph; positions are bytes; `text` is without the whitespace at both ends."""

    start: int
    end: int
    text_start: int
    text_end: int
    text: str


def word_spans(text: str) -> list[Word]:
    """The maximal runs of non-whitespace.

    >>> [word[:3] for word in word_spans("é b")]
    [(0, 2, 'é'), (3, 4, 'b')]
    """
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        start = n_bytes(text[:at])
        at += len(word)
        has_alpha, has_hash, has_ellipsis = any(map(str.isalpha, word)), "#" in word, "…" in word or "..." in word
        plain = word.isalnum()
        stop = word[-1] == "." and len(word) > 2 and word[-2].isascii() and (word[-2].islower() or word[-2].isdecimal())
        marked = word[:-1].isalnum() and (word[-1] in ",:;!?()[]{}<>_#*&`'\"" or stop)
        words.append(Word(start, start + n_bytes(word), word, has_alpha, has_hash, has_ellipsis, plain, marked))
    return words


def line_spans(text: str) -> list[Block]:
    """The lines; each ends at "\\n", and the last is left out if empty.

    >>> [line.text for line in line_spans("a\\n\\n b\\n")]
    ['a', '', 'b']
    """
    return [_block(text, start, end) for start, end in _line_bounds(text)]


def paragraph_spans(text: str) -> list[Block]:
    """The maximal runs of lines that are not blank.

    >>> [paragraph.text for paragraph in paragraph_spans("a\\nb\\n \\nc")]
    ['a\\nb', 'c']
    """
    paragraphs: list[list[int]] = []
    after_blank = True
    for start, end in _line_bounds(text):
        blank = not text[start:end].strip()
        if not blank and after_blank:
            paragraphs.append([start, end])
        elif not blank:
            paragraphs[-1][1] = end
        after_blank = blank
    return [_block(text, start, end) for start, end in paragraphs]


def n_bytes(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text.encode())


def _line_bounds(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for line in text.split("\n"):
        if at < len(text):
            yield at, at + len(line)
        at += len(line) + 1


def _block(text: str, start: int, end: int) -> Block:
    whole = text[start:end]
    before = n_bytes(text[:start])
    text_start = before + n_bytes(whole) - n_bytes(whole.lstrip())
    return Block(before, before + n_bytes(whole), text_start, text_start + n_bytes(whole.strip()), whole.strip())
