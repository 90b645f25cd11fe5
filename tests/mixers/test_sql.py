"""Types and values of expressions. Run: pytest tests/mixers/test_sql.py"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from dolma.errors import ConfigError
from dolma.mixers import sql
from dolma.mixers.sql import ExpressionError, bound_type, evaluate

SCHEMA = pa.schema([("a", pa.struct([("b", pa.int64()), ("s", pa.string())]))])


@pytest.mark.parametrize(
    ("text", "kind"), [("a.b > 1", "BOOLEAN"), ("a.b + 1", "BIGINT"), ("NOT a.b", "BOOLEAN"), ("a.s", "VARCHAR")]
)
def test_the_type_is_known_before_any_row(text: str, kind: str) -> None:
    assert bound_type(text, SCHEMA) == kind


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("len(a.b) > 1", "No function matches the given name and argument types"),
        ("nosuch(a.b)", "nosuch does not exist"),
    ],
)
def test_what_cannot_be_bound_is_said(text: str, why: str) -> None:
    with pytest.raises(ExpressionError, match=why) as found:
        bound_type(text, SCHEMA)
    assert "LINE" not in str(found.value)


def test_truth_and_null_come_in_row_order() -> None:
    rows = pa.table({"a": pa.array([{"b": 1}, {"b": None}, {"b": 3}])})
    ((truth, null), (other, _)) = evaluate(["a.b > 1", "a.b IS NULL"], rows)
    assert (truth.tolist(), null.tolist()) == ([False, False, True], [False, True, False])
    assert other.tolist() == [False, True, False]


def test_dividing_by_zero_is_null() -> None:
    ((_, null),) = evaluate(["a.b / 0 > 1"], pa.table({"a": pa.array([{"b": 1}])}))
    assert null.tolist() == [True]


def test_order_is_kept_over_many_rows() -> None:
    values = list(range(10_000))
    ((truth, _),) = evaluate(["a.b % 3 = 0"], pa.table({"a": pa.array([{"b": value} for value in values])}))
    assert truth.tolist() == [value % 3 == 0 for value in values]


def test_files_cannot_be_reached() -> None:
    with pytest.raises(ExpressionError, match=r"does not exist|is a table function"):
        bound_type("read_text('/etc/passwd') IS NOT NULL", SCHEMA)


# --- what no expression may do ---------------------------------------------------------------------------------------


def test_another_number_of_rows_is_an_error() -> None:
    with pytest.raises(ExpressionError, match=r"has 4 values for 2 rows: `unnest\(\[a.b > 1, true\]\)`"):
        evaluate(["unnest([a.b > 1, true])"], pa.table({"a": pa.array([{"b": 1}, {"b": 2}])}))


def test_a_value_too_large_for_memory_is_an_error_and_the_next_one_is_fine() -> None:
    rows = pa.table({"a": pa.array([{"b": 1}])})
    with pytest.raises(duckdb.Error, match=r"memory|allocat|string of size"):
        evaluate(["len(range(a.b * 1000000000)) > 1"], rows)
    assert evaluate(["a.b = 1"], rows)[0][0].tolist() == [True]


def test_an_engine_that_cannot_be_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sql.SETTINGS, "a_setting_of_the_past", "true")
    with pytest.raises(ConfigError, match="has no setting 'a_setting_of_the_past'"):
        sql.connection.__wrapped__()


@pytest.mark.parametrize(
    "statement",
    [
        "SET threads = 4",
        "SET enable_external_access = true",
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO 'x.csv'",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_the_engine_is_closed(statement: str) -> None:
    with pytest.raises(duckdb.Error):
        sql.connection().execute(statement)
