"""Rules: a rule that is accepted says the same of a document alone as among others, or is an error of ours.

Made for functions that change the number of rows or look at other documents, and for expressions that are none.
"""

from __future__ import annotations

import functools
from pathlib import Path

import duckdb
import pyarrow as pa

from dolma.data.columns import SPANS
from dolma.mixers import expressions, sql
from tests.fuzz.choices import Choices

CODE = ("mixers/expressions.py", "mixers/functions.py", "mixers/sql.py")
ROWS = pa.table(
    {
        "a": [
            {"n": 1, "x": 0.5, "t": "one", "ok": True, "s": [{"start": 0, "end": 3, "score": 1.0}]},
            {"n": None, "x": None, "t": None, "ok": None, "s": None},
            {"n": -7, "x": float("inf"), "t": "", "ok": False, "s": []},
            {"n": 2**62, "x": 0.0, "t": "é b", "ok": True, "s": [{"start": 1, "end": 2, "score": None}] * 3},
        ]
    },
    schema=pa.schema(
        [
            pa.field(
                "a",
                pa.struct(
                    [("n", pa.int64()), ("x", pa.float64()), ("t", pa.string()), ("ok", pa.bool_()), ("s", SPANS)]
                ),
            )
        ]
    ),
)
_LEAVES = ("a.n", "a.x", "a.t", "a.ok", "a.s", "1", "0", "-1.5", "'one'", "NULL", "true", "[1, 2]", "[]", "'%'")
_PATTERNS = (
    *("{0} + {1}", "{0} / {1}", "{0} > {1}", "{0} = {1}", "{0} IS NULL", "NOT ({0})", "{0} AND {1}", "{0} OR {1}"),
    *("{0} BETWEEN {1} AND {2}", "{0} IN ({1}, {2})", "CASE WHEN {0} THEN {1} ELSE {2} END", "CAST({0} AS VARCHAR)"),
    *("TRY_CAST({0} AS BIGINT)", "{0}::DOUBLE", "[s.score FOR s IN {0}]", "{0} LIKE {1}", "{0}[{1}]", "({0}).score"),
    *("{0}) UNION ALL SELECT ({1}", "{0}; SELECT {1}", "(SELECT {0})", "{0} -- ", "*", "COLUMNS(*)", "{0} OVER ()"),
    *("EXISTS (FROM {0})", "list_transform({0}, v -> {1})", "{{'k': {0}}}", "{0} COLLATE NOCASE", "$1", "#1", "a"),
)


@functools.cache
def _functions() -> dict[str, list[str]]:
    """The names of DuckDB's functions by kind: scalar, macro, aggregate, window, table and more."""
    found: dict[str, list[str]] = {}
    query = "SELECT DISTINCT function_type, function_name FROM duckdb_functions() ORDER BY ALL"
    for kind, name in duckdb.connect().execute(query).fetchall():
        found.setdefault(kind, []).append(name)
    return found


def check(choices: Choices, folder: Path) -> None:
    """Evaluate a made-up expression over some rows, and over each of them."""
    text = _expression(choices, 0)
    if choices.chance(8):
        text = choices.changed(text.encode()).decode("utf-8", "replace")
    try:
        expression = expressions.parse(text)
        if sql.bound_type(text, ROWS.schema) != "BOOLEAN":
            return
        expressions.check_operands(expression, ROWS.schema, text=text)
    except sql.ExpressionError:
        return
    try:
        (together, missing) = sql.evaluate([text], ROWS)[0]
    except duckdb.Error:
        return
    assert len(together) == len(ROWS)
    for i in range(len(ROWS)):
        try:
            alone = sql.evaluate([text], ROWS.slice(i, 1))[0]
        except duckdb.Error as error:
            raise AssertionError(f"{text}: row {i} fails alone: {error}") from error
        assert [part.tolist() for part in alone] == [[together[i]], [missing[i]]], f"{text}: row {i}"


def _expression(choices: Choices, depth: int) -> str:
    if depth > 3 or choices.chance(3):
        return choices.pick(_LEAVES)
    if choices.chance(2):
        arguments = ", ".join(_expression(choices, depth + 1) for _ in range(choices.below(4)))
        called = f"{choices.pick(choices.pick(list(_functions().values())))}({arguments})"
        return called if depth else f"{called} {choices.pick(['IS NULL', '= 1', '> 0', ''])}"
    parts = [_expression(choices, depth + 1) for _ in range(3)]
    return choices.pick(_PATTERNS).format(*parts)
