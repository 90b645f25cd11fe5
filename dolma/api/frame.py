"""A lazy table: read when it is asked for, as Arrow, pandas, Polars or DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.html_text import shown, table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

_SHOWN = 12  # columns
_ROWS, _CHARACTERS = 10, 200  # of a frame in a notebook, and of a text
ReadBatches = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


class Frame:
    """Rows that are read from files each time they are asked for.

    Memory holds one batch of rows at a time in `batches`, `reader` and DuckDB, and all rows after `to_arrow`,
    `to_pandas` and `to_polars`. Any library that takes the Arrow C stream takes a frame:
    `polars.DataFrame(frame)`, `duckdb.sql("FROM frame")`.
    """

    def __init__(self, schema: pa.Schema, read: ReadBatches, *, about: str) -> None:
        self._schema, self._read, self._about = schema, read, about

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._schema.names)

    def select(self, *columns: str) -> Frame:
        """A frame of these columns, in this order; the files of other columns are not read.

        Raises:
            ConfigError: a column is not there.
        """
        unknown = next((name for name in columns if name not in self.columns), None)
        if unknown is not None or not columns:
            said = f"no column {unknown!r}" if unknown is not None else "no columns were given"
            raise ConfigError(f"{said}; {did_you_mean(unknown or '', self.columns)}")
        schema = pa.schema([self._schema.field(name) for name in columns])
        return Frame(schema, self._read, about=self._about)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in corpus order, some thousands at a time.

        Raises:
            DataError: a file is missing, damaged, or does not fit the others.
        """
        return self._read(self.columns)

    def reader(self) -> pa.RecordBatchReader:
        """The rows as a stream of Arrow, for one pass."""
        return pa.RecordBatchReader.from_batches(self._schema, self.batches())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def head(self, n: int = 5) -> pa.Table:
        """The first `n` rows as an Arrow table; no more is read than they need."""
        batches, left = [], n
        for batch in self.batches():
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
            if left <= 0:
                break
        return pa.Table.from_batches(batches, self._schema)

    def count(self) -> int:
        """How many rows there are; reads the first column of all of them."""
        return sum(len(batch) for batch in self.select(self.columns[0]).batches())

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        return pa.Table.from_batches(self.batches(), self._schema)

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        _needed("pandas", "to_pandas()")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """All rows as a Polars DataFrame.

        Raises:
            MissingExtraError: Polars is not installed.
        """
        polars = _needed("polars", "to_polars()")
        return polars.from_arrow(self.to_arrow())

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation; each query over it reads the files again, in bounded memory.

        `connection`: where the relation lives; None: DuckDB's default connection. An attribute is named as in rules:
        `relation.filter("length.words > 100")`.
        """
        import duckdb

        return (connection or duckdb).from_arrow(Nested(self))

    def _repr_html_(self) -> str:
        """The first rows, as a notebook shows them; long texts are cut."""
        rows = [[_cut(value) for value in row.values()] for row in self.head(_ROWS).to_pylist()]
        return f"<p>{shown(self)}</p>{table(self.columns, rows)}"

    def __repr__(self) -> str:
        columns = [f"{field.name}: {field.type}" for field in list(self._schema)[:_SHOWN]]
        if len(self._schema) > _SHOWN:
            columns.append(f"and {len(self._schema) - _SHOWN} more")
        return f"<{self._about}: {', '.join(columns)}>"


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value) if isinstance(value, list | dict) else None
    return value if text is None else text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


class Nested:
    """A frame whose columns `set.output` are fields of a column `set`, as SQL names them."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        names = [name.partition(".") for name in frame.columns]
        self._groups = {
            first: [i for i, (one, _, _) in enumerate(names) if one == first]
            for first in dict.fromkeys(first for first, _, _ in names)
        }
        self._fields = [rest for _, _, rest in names]
        self.schema = pa.schema([pa.field(name, self._type(group)) for name, group in self._groups.items()])

    def _type(self, group: Sequence[int]) -> pa.DataType:
        types = [self._frame.schema.field(i).type for i in group]
        if not self._fields[group[0]]:
            return types[0]
        return pa.struct([(self._fields[i], type) for i, type in zip(group, types, strict=True)])

    def _nested(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for field, group in zip(self.schema, self._groups.values(), strict=True):
            arrays = [batch.column(i) for i in group]
            nested = bool(self._fields[group[0]])
            columns.append(pa.StructArray.from_arrays(arrays, fields=list(field.type)) if nested else arrays[0])
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows of the frame, so nested."""
        return map(self._nested, self._frame.batches())

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)


def _needed(package: str, what: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, extra="frames", purpose=what) from error
