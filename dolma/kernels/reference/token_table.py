"""`dolma.kernels.token_table` of one text, without a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def ids_of(pretokens: Sequence[str], ids_of_one: Callable[[str], Sequence[int]]) -> list[int]:
    """The ids of each pre-token, one after the other.

    >>> ids_of(["a", " bc"], lambda pretoken: [len(pretoken)])
    [1, 3]
    """
    return [id for pretoken in pretokens for id in ids_of_one(pretoken)]


def framed(texts: Sequence[Sequence[int]], *, bos: int | None, eos: int) -> list[int]:
    """The ids of each text that has some, between begin and end tokens."""
    before = [] if bos is None else [bos]
    return [id for ids in texts if ids for id in [*before, *ids, eos]]
