"""SQL over a corpus: one SELECT about the relation `documents`, on the closed connection that rules use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa

from dolma.api.frame import Frame, Nested
from dolma.errors import ConfigError, DolmaError
from dolma.mixers.sql import ExpressionError, bounded_memory, connection, first_lines, tree_of
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
            with bounded_memory():
                rows: pa.Table = con.sql(sql).to_arrow_table()
        except duckdb.Error:
            if failed:
                raise failed[0] from None
            raise
    except MemoryError as error:
        raise _too_much(path) from error
    except duckdb.Error as error:
        if isinstance(error, duckdb.OutOfMemoryException) or "bad allocation" in str(error):
            raise _too_much(path) from error
        said = first_lines(error).partition("\n")[0]  # what follows are settings that cannot be set
        raise ConfigError(
            f"{printable(said)}\n"
            '  write a SELECT over `documents`: "select source, count(*) from documents group by 1"',
            path=path,
        ) from error
    finally:
        con.unregister(DOCUMENTS)
    if len(set(rows.column_names)) < len(rows.column_names):
        twice = next(name for name in rows.column_names if rows.column_names.count(name) > 1)
        raise ConfigError(f"two columns are called {twice!r}\n  name one of them: `... AS other`", path=path)
    return rows


def _too_much(path: str) -> ConfigError:
    return ConfigError("needs more than 2 GiB of memory\n  ask for fewer rows or columns", path=path)


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
    """The names of columns in the query, each as its parts in lower case; None where it may read others."""
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
    tables: set[str] = set()
    plain = _gather(tree["statements"][0]["node"], found, tables)
    return found if plain and not any(reference[-1] in tables for reference in found) else None


_TABLES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "CTE"})
_READS_ALL = frozenset({"STAR", "POSITIONAL_REFERENCE"})


def _gather(tree: Any, found: set[Reference], tables: set[str]) -> bool:
    """Add the names of columns and of tables below this node; False where not only those named may be read."""
    if isinstance(tree, list):
        return all(_gather(item, found, tables) for item in tree)
    if not isinstance(tree, dict):
        return True
    if tree.get("class") in _READS_ALL and tree.get("type") != "COUNT_STAR":
        return False
    if tree.get("class") == "COLUMN_REF":
        found.add(tuple(part.lower() for part in tree["column_names"]))
    if "class" not in tree and "alias" in tree and "sample" in tree:  # what stands behind FROM
        if tree["type"] not in _TABLES or tree.get("column_name_alias") or tree.get("ref_type") == "NATURAL":
            return False
        found.update((column.lower(),) for column in tree.get("using_columns") or ())
        tables.update(name.lower() for name in (tree["alias"], tree.get("table_name")) if name)
    return all(_gather(value, found, tables) for value in tree.values())


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
