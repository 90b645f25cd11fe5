"""What a person may give as an argument: one of a thing or several, texts or paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dolma.config import Fields, Recipe
from dolma.errors import DolmaError
from dolma.runner.options import RunOptions

_OPTION = re.compile(r"`--([a-z][a-z-]*)(?: ([^`]*))?`")
_SAME = (*Recipe.__struct_fields__, *RunOptions.__struct_fields__, "taggers", "eos", "tokens", "tokenizer", "length")
_NAMES = {name.replace("_", "-"): name for name in _SAME} | {f"{name}-field": name for name in Fields.__struct_fields__}


@contextmanager
def as_arguments() -> Iterator[None]:
    """Errors of the block advise arguments where they advise options of the command line."""
    try:
        yield
    except DolmaError as error:
        error.args = tuple(_OPTION.sub(_argument, one) if isinstance(one, str) else one for one in error.args)
        if isinstance(message := getattr(error, "message", None), str):
            error.message = _OPTION.sub(_argument, message)  # type: ignore[attr-defined]
        raise


def _argument(option: re.Match[str]) -> str:
    """An option as an argument, `on_error="skip"` for `--on-error skip`; one that is no argument as it is.

    >>> for text in ("`--on-error skip`", "`--id-field \'\'`", "`--overwrite`", "`--attributes DIR`", "`--dry-run`"):
    ...     print(_OPTION.sub(_argument, text))
    `on_error="skip"`
    `id=""`
    `overwrite=True`
    `attributes=DIR`
    `--dry-run`
    """
    name, value = _NAMES.get(option[1]), option[2]
    if name is None:
        return option[0]
    if value is None:
        return f"`{name}=True`" if name in _SWITCHES else f"`{name}`"
    bare = value.strip("'\"")
    as_it_is = bare and (bare.isupper() or bare.replace(",", "").isdigit())
    return f"`{name}={bare}`" if as_it_is else f'`{name}="{bare}"`'


_SWITCHES = ("overwrite", "check_inputs")


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
