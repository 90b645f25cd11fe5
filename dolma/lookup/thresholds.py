"""Which attributes a rule compares with which numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dolma.mixers.expressions import Tree, parse
from dolma.mixers.rules import Rule
from dolma.mixers.sql import ExpressionError


class Threshold(NamedTuple):
    """A number with which a rule compares an output of an attribute set."""

    rule: str
    set: str
    output: str
    value: float

    @property
    def attribute(self) -> str:
        return f"{self.set}.{self.output}"


def thresholds(rule: Rule) -> list[Threshold]:
    """The comparisons of plain outputs with plain numbers in a rule, in order.

    >>> rule = Rule(path="", kind="keep", sql="a.b BETWEEN 20 AND 100 AND len(a.c) < 3")
    >>> [(one.attribute, one.value) for one in thresholds(rule)]
    [('a.b', 20.0), ('a.b', 100.0)]
    """
    try:
        tree = parse(rule.sql).tree
    except ExpressionError:
        return []
    return [
        Threshold(rule.label, parts[0], parts[1], value)
        for parts, value in dict.fromkeys(_comparisons(tree))
        if len(parts) == 2
    ]


def _comparisons(tree: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(tree, list):
        for item in tree:
            yield from _comparisons(item)
    if not isinstance(tree, dict):
        return
    if tree.get("class") == "COMPARISON":
        for one, other in ((tree["left"], tree["right"]), (tree["right"], tree["left"])):
            yield from _compared(one, other)
    if tree.get("class") == "BETWEEN":
        yield from _compared(tree["input"], tree["lower"])
        yield from _compared(tree["input"], tree["upper"])
    for value in tree.values():
        yield from _comparisons(value)


def _compared(column: Tree, constant: Tree) -> Iterator[tuple[tuple[str, ...], float]]:
    if column.get("class") == "COLUMN_REF" and constant.get("class") == "CONSTANT":
        literal = constant["literal"]
        if literal["kind"] in ("INTEGER", "NUMERIC"):
            yield tuple(column["column_names"]), float(literal["text"])
