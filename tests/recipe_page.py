"""docs/recipe.md, the reference of a recipe's keys, from the structs that declare them.

python -m tests.recipe_page
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from dolma.config import Recipe
from dolma.keys import Key, keys_of

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}


def page() -> str:
    """The page: a table for each struct, in the order in which they are met."""
    out = [
        "# The keys of a recipe",
        "",
        "Made by `python -m tests.recipe_page` from the code that reads recipes. A key may be overridden by",
        "`--set KEY=VALUE`; most of those of `tag`, `dedupe`, `mix`, `tokenize` and `stat` have their own option.",
        "A key that is not listed is an error. null means that a key is not given.",
    ]
    todo: list[type[msgspec.Struct]] = [Recipe]
    for struct in todo:
        out += ["", f"## {struct.__name__}", "", *(inspect.getdoc(struct) or "").splitlines(), ""]
        out += ["| key | value | default | |", "| --- | --- | --- | --- |"]
        for key in keys_of(struct):
            out.append(
                f"| `{key.name}` | {_kinds(key)} | {_default(key)} | {key.description.replace('|', chr(92) + '|')} |"
            )
            todo += [inner for inner in dict.fromkeys(_structs(key)) if inner not in todo]
    return "\n".join(out) + "\n"


def _default(key: Key) -> str:
    if key.default is msgspec.NODEFAULT:
        return "(needed)"
    return key.shown_default.replace("<output>", "OUTPUT") or ("null" if key.default is None else "")


def _kinds(key: Key) -> str:
    return " or ".join(map(_kind, key.types))


def _kind(kind: Any) -> str:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if typing.get_origin(kind) is list:
        return f"list of {_kind(inner[0])}"
    if typing.get_origin(kind) is tuple:
        return f"list of {_kind(inner[0])}"
    if typing.get_origin(kind) is dict:
        return f"mapping of names to {_kind(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return NAMES.get(kind) or " or ".join(map(_kind, inner))


def _structs(key: Key) -> Iterator[type[msgspec.Struct]]:
    todo = list(key.types)
    for kind in todo:
        todo += typing.get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
