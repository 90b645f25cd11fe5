"""What a person may give as an argument: one of a thing or several, texts or paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any


def listed(given: Any, argument: str, *, example: str) -> list[str]:
    """One text or path, or several, as a list of texts.

    >>> listed("a.jsonl", "documents", example="'data/*.jsonl.gz'")
    ['a.jsonl']

    Raises:
        TypeError: it is something else.
    """
    several = [given] if isinstance(given, str | os.PathLike) else given
    items = list(several) if isinstance(several, Iterable) and not isinstance(several, bytes | dict) else [several]
    if not all(isinstance(item, str | os.PathLike) for item in items):
        raise TypeError(
            f"`{argument}` is {repr(given)[:100]}, expected a text or a path, or a list of them"
            f"\n  such as {argument}={example}"
        )
    return [os.fspath(item) for item in items]


def documents_of(given: Any, argument: str = "documents") -> list[str]:
    """Patterns of documents."""
    return listed(given, argument, example='"data/*.jsonl.gz"')
