"""What a rule may say: one SQL expression over one document, and nothing that is not listed.

Kinds of syntax, functions, types and collations are allowed by name; whatever a version of DuckDB has beyond them is
refused. Operands that are compared must be of one kind, which is known before any data is read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dolma.errors import did_you_mean
from dolma.mixers.functions import ALLOWED, COLLATIONS, TYPES, nearest
from dolma.mixers.sql import ExpressionError, converts, known_functions, text_of, tree_of, types_of

Tree = dict[str, Any]

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_SYNTAX: dict[str, frozenset[str]] = {
    "BETWEEN": frozenset({"COMPARE_BETWEEN", "COMPARE_NOT_BETWEEN"}),
    "CASE": frozenset({"CASE_EXPR"}),
    "CAST": frozenset({"OPERATOR_CAST"}),
    "COLLATE": frozenset({"COLLATE"}),
    "COLUMN_REF": frozenset({"COLUMN_REF"}),
    "COMPARISON": frozenset(_COMPARISONS),
    "CONJUNCTION": frozenset({"CONJUNCTION_AND", "CONJUNCTION_OR"}),
    "CONSTANT": frozenset({"VALUE_CONSTANT"}),
    "FUNCTION": frozenset({"FUNCTION"}),
    "LAMBDA": frozenset({"LAMBDA"}),
    "OPERATOR": frozenset(
        {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_TRY"}
        | {"COMPARE_IN", "COMPARE_NOT_IN", "ARRAY_EXTRACT", "ARRAY_SLICE", "ARRAY_CONSTRUCTOR", "STRUCT_EXTRACT"}
        | {"ARROW"}
    ),
    "TYPE": frozenset({"TYPE"}),
}
_REFUSED = {
    "SUBQUERY": "has a subquery; a rule sees one document at a time\n  write conditions over attributes",
    "WINDOW": "has a window function, which looks at other documents; a rule sees one document at a time\n"
    "  write conditions over attributes",
    "STAR": "has a `*`; name one output",
    "PARAMETER": "has a parameter; write the value",
    "POSITIONAL_REFERENCE": "has a positional reference; name the output",
}
_CONSTANTS = frozenset({"INTEGER", "NUMERIC", "STRING", "BOOLEAN", "NULL_LITERAL"})
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ALIKE = frozenset({"nullif", "greatest", "least"})


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression: its syntax tree, and the nodes of it that name columns, in order of appearance."""

    tree: Tree
    references: tuple[Tree, ...]

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """Each column as its dotted parts, without repeats."""
        return tuple(dict.fromkeys(tuple(node["column_names"]) for node in self.references))

    @property
    def text(self) -> str:
        """The expression as DuckDB writes it."""
        return _written({**self.tree, "alias": ""})


def parse(text: str) -> Expression:
    """The one expression in `text`, looked through but not bound.

    Raises:
        ExpressionError: it is no single expression, looks at more than one document, or has something that is not
            known to follow from the document.
    """
    if not text.strip():
        raise ExpressionError("no SQL expression: it is empty\n  write a condition: `length.words > 50`")
    odd = next((character for character in text if ord(character) < 32 and not character.isspace()), None)
    if odd is not None:
        raise ExpressionError(f"no SQL expression: it has the character {odd!r}\n  leave it out")
    # What follows the brackets makes a text that leaves them a syntax error, or one more expression.
    found = tree_of(f"SELECT (\n{text}\n) AS value, true")
    if found.get("error"):
        plain = tree_of(f"SELECT {text}")
        raise ExpressionError(
            f"no SQL expression: {(plain if plain.get('error') else found)['error_message']}"
            "\n  write one expression of SQL: `length.words > 50`"
        )
    node = found["statements"][0]["node"]
    expressions, node["select_list"] = node.get("select_list", []), []
    references = tuple(_references(expressions, frozenset()))
    if _bare(found) != _bare(_statement([])) or len(expressions) != 2:
        raise ExpressionError(
            "more than one SQL expression; a rule is one\n  write each as a rule of its own, or join them by AND"
        )
    return Expression(references=references, tree=expressions[0])


def left_of(comparison: Expression) -> str:
    """What stands on the left of a comparison, as DuckDB writes it."""
    return _written(comparison.tree["left"])


def _statement(expressions: Sequence[Tree]) -> Tree:
    """The tree of a SELECT of these."""
    tree = tree_of("SELECT (true)")
    tree["statements"][0]["node"]["select_list"] = list(expressions)
    return tree


def _bare(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _bare(value) for key, value in tree.items() if not key.startswith("query_location")}
    return [_bare(item) for item in tree] if isinstance(tree, list) else tree


# --- what is allowed -------------------------------------------------------------------------------------------------


def _references(tree: Any, names: frozenset[str]) -> Iterator[Tree]:
    """The nodes below this one that name columns, all of it checked; `names` are parameters of the lambdas around."""
    if isinstance(tree, list):
        for item in tree:
            yield from _references(item, names)
    if not isinstance(tree, dict):
        return
    kind = tree.get("class")
    if kind is not None:
        _check_node(kind, tree)
    if kind == "COLUMN_REF":
        if tree["column_names"][0].lower() not in names:
            yield tree
        return
    if kind == "LAMBDA":
        parameters = _parameters(tree["lhs"])
        names |= parameters
        yield from () if parameters else _references(tree["lhs"], names)
        yield from _references(tree["expr"], names)
        return
    if kind == "CAST" and _is_date(tree["type_expr"]):
        _check_date(tree["child"])
        yield from _references(tree["child"], names)
        return
    for value in tree.values():
        yield from _references(value, names)


def _check_node(kind: str, tree: Tree) -> None:
    if kind in _REFUSED or kind not in _SYNTAX:
        raise ExpressionError(
            _REFUSED.get(kind, f"has a {kind.lower()}, which a rule cannot have\n  write conditions over attributes")
        )
    if tree["type"] not in _SYNTAX[kind]:
        if "UNPACK" in tree["type"]:
            raise ExpressionError(_REFUSED["STAR"])
        raise ExpressionError(
            f"has {tree['type'].lower()}, which a rule cannot have"
            "\n  write conditions over attributes: `length.words > 50 AND document.source = 'web'`"
        )
    if kind == "FUNCTION":
        _check_function(tree)
    if kind == "TYPE":
        _check_type(tree["type_name"])
    if kind == "COLLATE" and tree["collation"].lower() not in COLLATIONS:
        raise ExpressionError(f"has the collation {tree['collation']!r}; a rule may have {', '.join(COLLATIONS)}")
    if kind == "CONSTANT" and _constant_kind(tree) not in _CONSTANTS:
        raise ExpressionError(
            f"has a constant of kind {_constant_kind(tree)}; a rule has numbers, texts and truth values"
            "\n  write 1.5, 'a text' or TRUE"
        )


def _check_type(name: str) -> None:
    if name.lower() not in TYPES:
        raise ExpressionError(
            f"converts to {name.upper()}; a rule may convert to truth values, numbers, text, lists of them and DATE\n"
            "  a time counts with its day: `document.created >= DATE '2024-05-01'`"
        )


def _is_date(tree: Tree) -> bool:
    return tree["type_name"].upper() == "DATE" and not tree["children"]


def _check_date(child: Tree) -> None:
    if _constant_kind_of(child) == "STRING" and not _ISO_DATE.fullmatch(said := child["literal"]["text"]):
        raise ExpressionError(f"has the date {said!r}, expected year, month and day\n  write DATE '2024-05-01'")


def _constant_kind(tree: Tree) -> str:
    return tree["literal"]["kind"]


def _parameters(side: Tree) -> frozenset[str]:
    """The names that a lambda binds; none where `->` is the operator on JSON."""
    if side.get("class") == "COLUMN_REF" and len(side["column_names"]) == 1:
        return frozenset({side["column_names"][0].lower()})
    if side.get("class") != "FUNCTION" or side["function_name"].lower() != "row":
        return frozenset()
    return frozenset().union(*map(_parameters, _arguments(side)))


def _arguments(call: Tree) -> list[Tree]:
    return call.get("children") or [argument["expression"] for argument in call.get("arguments", [])]


def _check_function(tree: Tree) -> None:
    name = tree["function_name"].lower()
    if tree.get("schema") not in ("", "main", None) or tree.get("catalog") not in ("", "system", None):
        raise ExpressionError(f"calls {name} of something; write {name}(...) with everything in the brackets")
    if name not in ALLOWED:
        raise ExpressionError(_why_not(name))
    if tree.get("filter") or tree.get("distinct") or tree["order_bys"]["orders"] or tree.get("export_state"):
        raise ExpressionError(
            f"has {name}(...) with DISTINCT, ORDER BY or FILTER, which add up over documents"
            "\n  leave that out: a rule is about one document"
        )


def _why_not(name: str) -> str:
    found = known_functions().get(name, set())
    kinds, instead = {kind for kind, _ in found}, nearest(name)
    if kinds & {"aggregate", "window"} and "scalar" not in kinds:
        over = f"over the spans of one document use {instead}(...)" if instead == f"list_{name}" else "leave it out"
        return f"has {name}(...), which adds up over documents; a rule sees one document at a time\n  {over}"
    if not found:
        return f"has {name}(...), and there is no such function\n  {did_you_mean(name, ALLOWED) if instead else _LIST}"
    hint = f"did you mean {instead}(...)? " if instead else ""
    unstable = any(stability not in (None, "CONSISTENT") for _, stability in found)
    why = "does not follow" if unstable else "is not known to follow"
    return f"has {name}(...), whose value {why} from the document alone\n  {hint}{_LIST}"


_LIST = "docs/mix.md lists what a rule may call"


# --- operands that fit each other ------------------------------------------------------------------------------------


def check_operands(expression: Expression, schema: pa.Schema, *, text: str) -> None:
    """Return when everything that is compared is of one kind, over rows of this schema.

    A text that is compared with a date is made one in the tree: the day that its beginning says.

    Raises:
        ExpressionError: a list, struct, text or number stands where another of them does; `text` is the whole rule.
    """
    groups = []
    for operands, conditions in _groups(expression.tree):
        if known := [operand for operand in operands if _constant_kind_of(operand) != "NULL_LITERAL"]:
            groups.append((known, conditions))
    for (known, conditions), types in zip(groups, _types([known for known, _ in groups], schema), strict=True):
        if conditions:
            _check_conditions(known, types)
        else:
            _check_alike(known, types, text)


def _types(groups: Sequence[list[Tree]], schema: pa.Schema) -> Iterator[list[str]]:
    """The types of each group: looked up at once, or, where something has none, group by group: inner ones first."""
    try:
        found = iter(_types_of(list(itertools.chain.from_iterable(groups)), schema))
    except ExpressionError:
        yield from (_types_of(group, schema) for group in groups)
    else:
        yield from (list(itertools.islice(found, len(group))) for group in groups)


def _types_of(expressions: Sequence[Tree], schema: pa.Schema) -> list[str]:
    return types_of(text_of(_statement(expressions)).removeprefix("SELECT "), schema) if expressions else []


def _groups(tree: Any) -> Iterator[tuple[list[Tree], bool]]:
    """Operands that must be alike, or (True) that must be conditions. Not within lambdas, whose names have no type."""
    if isinstance(tree, list):
        for item in tree:
            yield from _groups(item)
    if not isinstance(tree, dict) or tree.get("class") == "LAMBDA":
        return
    for value in tree.values():  # the inner ones first: their errors say more
        yield from _groups(value)
    kind = tree.get("class")
    if kind == "COMPARISON":
        yield [tree["left"], tree["right"]], False
    elif kind == "BETWEEN":
        yield [tree["input"], tree["lower"], tree["upper"]], False
    elif kind == "CASE":
        yield [check["then_expr"] for check in tree["case_checks"]] + [tree["else_expr"]], False
        yield [check["when_expr"] for check in tree["case_checks"]], True
    elif kind == "CONJUNCTION" or tree.get("type") == "OPERATOR_NOT":
        yield tree["children"], True
    elif tree.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_COALESCE"):
        yield tree["children"], False
    elif kind == "FUNCTION" and tree["function_name"].lower() in _ALIKE:
        yield _arguments(tree), False


def _constant_kind_of(tree: Tree) -> str:
    return _constant_kind(tree) if tree.get("class") == "CONSTANT" else ""


def _family(kind: str) -> str:
    """In words, what values of an SQL type are.

    >>> _family("STRUCT(score DOUBLE)[]"), _family("DECIMAL(3,1)"), _family("VARCHAR")
    ('a list', 'a number', 'text')
    """
    if kind.endswith("]"):
        return "a list"
    if kind.startswith(("STRUCT", "TUPLE", "ROW", "MAP")):
        return "a struct"
    if kind in ("VARCHAR", "JSON"):
        return "text"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return "a date"
    return "a truth value" if kind == "BOOLEAN" else "a number"


def _written(tree: Tree) -> str:
    return text_of(_statement([tree])).removeprefix("SELECT ")


def _check_conditions(operands: Sequence[Tree], types: Sequence[str]) -> None:
    for operand, kind in zip(operands, types, strict=True):
        if _family(kind) in ("a list", "a struct", "text"):
            text = _written(operand)
            comparison = f"{text} = 'a'" if _family(kind) == "text" else f"len({text}) > 0"
            raise ExpressionError(
                f"takes `{text}`, which is {_family(kind)}, for a condition\n  write a comparison: `{comparison}`"
            )


def _check_alike(operands: Sequence[Tree], types: Sequence[str], text: str) -> None:
    families = ["a number" if (found := _family(kind)) == "a truth value" else found for kind in types]
    if set(families) == {"text", "a date"}:
        for operand, family in zip(operands, families, strict=True):
            if family == "text":
                _make_date(operand)
        return
    for operand, kind, family in zip(operands[1:], types[1:], families[1:], strict=True):
        if family == families[0] or _says(operand, types[0]) or _says(operands[0], kind):
            continue
        ours, theirs = _written(operands[0]), _written(operand)
        message = f"compares `{ours}`, which is {_family(types[0])}, with `{theirs}`, which is {_family(kind)}"
        if "a list" in (families[0], family):
            the_list = ours if families[0] == "a list" else theirs
            counted = text.replace(the_list, f"len({the_list})", 1) if the_list in text else f"len({the_list})"
            raise ExpressionError(f"{message}\n  say how many it has: `{counted}`")
        if "text" in (families[0], family):
            the_text = ours if families[0] == "text" else theirs
            raise ExpressionError(f"{message}\n  a number in text is TRY_CAST({the_text} AS DOUBLE)")
        raise ExpressionError(f"{message}\n  compare values of one type")


def _make_date(operand: Tree) -> None:
    _check_date(operand)
    cast = tree_of("SELECT CAST(true AS DATE)")["statements"][0]["node"]["select_list"][0]
    child = dict(operand)
    operand.clear()
    operand.update({**cast, "child": child})


def _says(operand: Tree, kind: str) -> bool:
    """Whether the operand is a text in quotes that says a value of this type."""
    if _constant_kind_of(operand) != "STRING":
        return False
    said = operand["literal"]["text"]
    return converts(said, kind)
