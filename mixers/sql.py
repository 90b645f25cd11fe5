"""The DuckDB side of rules: one closed connection per process, syntax trees, types, values.

The connection reads no file, loads no extension and runs one thread, so a rule has nothing to act on but the rows it
is given. Division by zero gives NULL. What a rule may say at all is for `dolma.mixers.expressions`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.errors import ConfigError

ROWS = "the rows of this batch"
"""The relation that rules are evaluated over; a name that no attribute set has, so that it hides none."""

MAX_DEPTH = 100
"""Levels of operators and calls in a rule."""

MAX_BYTES = 2 << 30
"""How much memory evaluating rules over one batch may take, where the system can tell (Linux)."""

SETTINGS = {
    "threads": "1",
    "memory_limit": "'2GiB'",
    "temp_directory": "''",
    "max_expression_depth": str(MAX_DEPTH),
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "ieee_floating_point_ops": "false",
    "error_on_division_by_zero": "false",
    "TimeZone": "'UTC'",
    "enable_external_access": "false",
    "lock_configuration": "true",
}


class ExpressionError(ValueError):
    """The text is no expression that a rule may be; the message says why."""


@functools.cache
def connection() -> duckdb.DuckDBPyConnection:
    """The connection of this process.

    Raises:
        ConfigError: this DuckDB lacks a setting that closes it, or by which division by zero is NULL.
    """
    con = duckdb.connect(":memory:")
    known = {name.lower() for (name,) in con.execute("SELECT name FROM duckdb_settings()").fetchall()}
    for name, value in SETTINGS.items():
        if name.lower() not in known:
            raise ConfigError(
                f"DuckDB {duckdb.__version__} has no setting {name!r}, which rules need\n"
                "  install a version that dolma was made for: pip install 'duckdb>=2.0,<2.0.1'"
            )
        con.execute(f"SET {name} = {value}")
    return con


def quoted(name: str) -> str:
    """The name as an SQL identifier.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def tree_of(statement: str) -> dict[str, Any]:
    """The statement as DuckDB parses it, or a dictionary with `error` and `error_message`.

    Raises:
        ExpressionError: it is nested more deeply than `MAX_DEPTH`.
    """
    # fetchall, not fetchone: DuckDB takes no further statement while a result has rows left.
    text = connection().execute("SELECT json_serialize_sql(?)", [statement]).fetchall()[0][0]
    if "Max expression depth" in text:
        raise ExpressionError(
            f"is nested too deeply: more than {MAX_DEPTH} levels\n  write it with fewer brackets, or as several rules"
        )
    try:
        return json.loads(text)
    except RecursionError:
        raise ExpressionError("is nested too deeply\n  write it with fewer brackets, or as several rules") from None


def text_of(tree: dict[str, Any]) -> str:
    """The statement of a tree, as DuckDB writes it."""
    return connection().execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()[0][0]


@functools.cache
def known_functions() -> dict[str, set[tuple[str, str | None]]]:
    """The functions of this DuckDB: kinds (scalar, aggregate, ...) and stabilities, by name in lower case."""
    kinds: dict[str, set[tuple[str, str | None]]] = {}
    found = connection().execute("SELECT lower(function_name), function_type, stability FROM duckdb_functions()")
    for name, kind, stability in found.fetchall():
        kinds.setdefault(name, set()).add((kind, stability))
    return kinds


@contextmanager
def _over(rows: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection with `ROWS` in it, and `MAX_BYTES` to use. What breaks it inside costs the connection."""
    con = connection()
    con.register(ROWS, rows)
    try:
        with bounded_memory():
            yield con
    except MemoryError as error:
        raise duckdb.OutOfMemoryException(f"Out of Memory Error: more than {MAX_BYTES:,} bytes") from error
    except (duckdb.InternalException, duckdb.FatalException):
        connection.cache_clear()
        raise
    finally:
        con.unregister(ROWS)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """While entered, this process may take `MAX_BYTES` more than it has, where the system can tell."""
    # DuckDB's own limit does not count the texts that functions make.
    try:
        import resource

        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    unlimited = resource.RLIM_INFINITY
    bound = min(limit for limit in (soft, hard, used + MAX_BYTES) if limit != unlimited)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def types_of(select: str, schema: pa.Schema) -> list[str]:
    """The SQL types of what follows SELECT, over rows of this schema; no row is read.

    Raises:
        ExpressionError: DuckDB cannot bind it.
    """
    try:
        with _over(schema.empty_table()) as con:
            found = con.execute(f"DESCRIBE SELECT {select} FROM {quoted(ROWS)}").fetchall()
    except duckdb.Error as error:
        raise ExpressionError(first_lines(error)) from error
    return [str(row[1]) for row in found]


def bound_type(text: str, schema: pa.Schema) -> str:
    """The SQL type of the expression over rows of this schema; no row is read.

    Raises:
        ExpressionError: DuckDB cannot bind it.
    """
    return types_of(f"(\n{text}\n) AS value", schema)[0]


def converts(text: str, kind: str) -> bool:
    """Whether a text is a value of an SQL type."""
    found = connection().execute(f"SELECT TRY_CAST(? AS {kind}) IS NOT NULL", [text]).fetchall()
    return bool(found[0][0])


def first_lines(error: Exception) -> str:
    """DuckDB's message without its class, its picture of the query, its advice and its list of candidates."""
    text = str(error).split("\n\n")[0].split("\n\tCandidate functions")[0].strip()
    return text.partition(": ")[2] or text


def text_constant(text: str) -> str:
    """The text as an SQL constant.

    >>> text_constant("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def columns_of(texts: Sequence[str], rows: pa.Table, *, first: str) -> list[pa.Array]:
    """The values of each expression over what `first` makes of the rows.

    Raises:
        duckdb.Error: an expression cannot be evaluated on some row, or takes more than `MAX_BYTES`.
    """
    select = ", ".join(f"{text} AS c{i}" for i, text in enumerate(texts))
    with _over(rows) as con:
        found = con.sql(f"SELECT {select} FROM (SELECT {first} FROM {quoted(ROWS)})").to_arrow_table()
    return [column.combine_chunks() for column in found.columns]


def evaluate(texts: Sequence[str], rows: pa.Table) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """For each expression its truth (False where NULL) and where it is NULL; bool, shape `(len(rows),)` each.

    Raises:
        duckdb.Error: an expression cannot be evaluated on some row, or takes more than `MAX_BYTES`.
        ExpressionError: an expression has not one value per row.
    """
    select = ", ".join(f"(\n{text}\n) AS c{i}" for i, text in enumerate(texts))
    with _over(rows) as con:
        found = con.execute(f"SELECT {select} FROM {quoted(ROWS)}").fetchnumpy()
    values = [found[f"c{i}"] for i in range(len(texts))]
    for text, value in zip(texts, values, strict=True):
        if value.shape != (len(rows),):
            raise ExpressionError(f"has {value.size} values for {len(rows)} rows: `{text}`\n  leave that function out")
    nulls = [np.ma.getmaskarray(value) for value in values]
    return [(np.ma.getdata(value).astype(bool) & ~null, null) for value, null in zip(values, nulls, strict=True)]
