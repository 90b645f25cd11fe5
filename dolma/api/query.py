"""SQL over a corpus: one SELECT about the relation `documents`, on the closed connection that rules use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa

from dolma.api.frame import Frame, Nested
from dolma.errors import ConfigError, DolmaError
from dolma.mixers.sql import ExpressionError, connection, first_lines, tree_of
from dolma.printable import printable

DOCUMENTS = "documents"


def select(frame: Frame, sql: str, *, path: str = "") -> pa.Table:
    """What a SELECT over the rows of `frame` gives; they are `documents`, and `set.output` names an attribute.

    Only the columns that the query names are read. It reaches nothing else: no file, no network, no setting.

    Raises:
        ConfigError: it is no single SELECT, names what is not there, or needs more than 2 GiB of memory; `path` is the
            key or option that it was given as.
        DataError: a file is missing, damaged, or does not fit the others.
    """
    references = _references(sql, path)
    con = connection()
    try:
        con.register(DOCUMENTS, Nested(frame).schema.empty_table())
        con.execute(f"DESCRIBE {sql}").fetchall()
        chosen = [name for name in frame.columns if _is_read(name, references)] or frame.columns[:1]
        con.unregister(DOCUMENTS)
        failed: list[DolmaError] = []
        con.register(DOCUMENTS, _Stream(frame.select(*chosen), failed))
        try:
            rows: pa.Table = con.sql(sql).to_arrow_table()
        except duckdb.Error:
            if failed:
                raise failed[0] from None
            raise
    except duckdb.Error as error:
        raise ConfigError(
            f"{printable(first_lines(error))}\n"
            '  write a SELECT over `documents`: "select source, count(*) from documents group by 1"',
            path=path,
        ) from error
    finally:
        con.unregister(DOCUMENTS)
    if len(set(rows.column_names)) < len(rows.column_names):
        twice = next(name for name in rows.column_names if rows.column_names.count(name) > 1)
        raise ConfigError(f"two columns are called {twice!r}\n  name one of them: `... AS other`", path=path)
    return rows


class _Stream:
    """A frame as DuckDB reads it; an error while it is read is kept, as DuckDB makes one of its own of it."""

    def __init__(self, frame: Frame, failed: list[DolmaError]) -> None:
        self._nested, self._failed = Nested(frame), failed

    def __arrow_c_schema__(self) -> Any:
        return self._nested.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = pa.RecordBatchReader.from_batches(self._nested.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._nested.batches()
        except DolmaError as error:
            self._failed.append(error)
            raise


Reference = tuple[str, ...]


def _references(sql: str, path: str) -> set[Reference] | None:
    """The names of columns in the query, each as its parts in lower case; None where it has a `*`."""
    try:
        tree = tree_of(sql)
    except ExpressionError as error:
        raise ConfigError("is nested too deeply\n  write it with fewer brackets", path=path) from error
    if tree.get("error"):
        raise ConfigError(
            f"no SELECT: {printable(tree['error_message'])}\n"
            '  write one over `documents`: "select source, count(*) from documents group by 1"',
            path=path,
        )
    if len(tree["statements"]) != 1:
        raise ConfigError(f"has {len(tree['statements'])} statements, expected one\n  write one SELECT", path=path)
    found: set[Reference] = set()
    return found if _gather(tree, found) else None


def _gather(tree: Any, found: set[Reference]) -> bool:
    """Add the names below this node; False where there is a `*`."""
    if isinstance(tree, list):
        return all(_gather(item, found) for item in tree)
    if not isinstance(tree, dict):
        return True
    if tree.get("class") == "STAR" and tree.get("type") != "COUNT_STAR":
        return False
    if tree.get("class") == "COLUMN_REF":
        found.add(tuple(part.lower() for part in tree["column_names"]))
    return all(_gather(value, found) for value in tree.values())


def _is_read(column: str, references: set[Reference] | None) -> bool:
    """Whether a query with these names reads the column: `set.output` where it names both, or ends with the set.

    >>> _is_read("length.words", {("d", "length", "words")}), _is_read("length.words", {("length",)})
    (True, True)
    >>> _is_read("length.words", {("length", "lines")})
    False
    """
    if references is None:
        return True
    name, _, output = column.lower().partition(".")
    if not output:
        return any(name in reference for reference in references)
    return any(reference[-1] == name or (name, output) in pairwise(reference) for reference in references)
