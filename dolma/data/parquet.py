"""Parquet files: opened with errors that name them; written whole at their path or not there."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dolma.data import streams
from dolma.data.identity import Content
from dolma.data.storage.reading import allowed
from dolma.errors import DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BUFFER_BYTES = 1 << 16
"""Arrow writes some thirty pieces for each row group, however small: they are collected."""


@contextmanager
def open_parquet(path: str, *, what: str = "parquet", content: Content | None = None) -> Iterator[pq.ParquetFile]:
    """The file, its footer read. `content` is what it has to hold.

    Raises:
        DataError: it is missing or no parquet file, or two of its columns have one name; or it does not hold `content`,
            also while it is read. What Arrow says of its pages is left to the caller.
    """
    from pyarrow import parquet as pq

    with ExitStack() as stack:
        try:
            source: Any = streams.local_path(path)
            if content is not None or streams.is_url(path):
                source = stack.enter_context(streams.open_seekable(path, content))
            file = stack.enter_context(pq.ParquetFile(source, page_checksum_verification=True))
        except FileNotFoundError as error:
            raise DataError("no such file\n  look for the name in its folder", file=path) from error
        except MemoryError:
            raise
        except PermissionError as error:
            reason = os.strerror(error.errno or 0)
            raise DataError(f"cannot read: {reason}\n  {allowed(error, 'u+r')}", file=path) from error
        except (
            pa.ArrowException,
            OSError,
            UnicodeDecodeError,
            RuntimeError,
        ) as error:  # the last two: of column names,
            # and an exception of Arrow's C++ that has no class in Python
            said = streams.mistaken_for(path, "parquet", bare=f"{os.path.splitext(path)[0]}.jsonl")
            raise DataError(said or f"not a readable {what} file: {printable(error)}", file=path) from error
        if (twice := _twice(file.schema_arrow)) is not None:
            raise DataError(
                f"two columns are called {twice!r}\n  rename one of them, or write the file again", file=path
            )
        try:
            yield file
        except RuntimeError as error:
            if type(error) is not RuntimeError:
                raise
            # An exception of Arrow's C++ that has no class in Python.
            raise DataError(
                f"corrupt {what} file: {printable(error)}\n  copy or write the file again", file=path
            ) from error


def _twice(fields: Iterable[pa.Field], above: str = "") -> str | None:
    """The first name that two columns, or two fields of a struct at any depth, have; None if each has its own.

    >>> _twice(pa.schema([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.int8()), ("c", pa.int8())])))]))
    'b.c'
    """
    names: set[str] = set()
    for field in fields:
        if field.name in names:
            return above + field.name
        names.add(field.name)
        if (inner := _twice(_fields(field.type), f"{above}{field.name}.")) is not None:
            return inner
    return None


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct, also of one in lists, maps and dictionaries."""
    if pa.types.is_struct(kind):
        return list(kind)
    return [inner for i in range(kind.num_fields) for inner in _fields(kind.field(i).type)]


class ParquetOutput:
    """The parquet twin of `streams.OutputStream`; `.written` tells size and checksum afterwards.

    `rising` names leaves of integers that mostly rise, as positions do: their differences are written, without a
    dictionary. Of 2.8 million spans that takes 55 % of the time and 63 % of the room (one core, 2026-11-24). To
    compress those as well takes a fifth more time and saves 2 %. `plain` names leaves that a dictionary does not help.
    Neither gets statistics. Of the same spans that saves an eighth of the time.
    """

    def __init__(
        self, path: str, schema: pa.Schema, *, level: int = 3, rising: Sequence[str] = (), plain: Sequence[str] = ()
    ) -> None:
        self.path, self.schema, self.level, self.rising, self.plain = path, schema, level, rising, plain
        self.written: streams.Written | None = None
        self._stack = ExitStack()

    def __enter__(self) -> ParquetOutput:
        from pyarrow import parquet as pq

        others = [leaf for leaf in leaves(self.schema) if leaf not in self.rising]
        repeating = [leaf for leaf in others if leaf not in self.plain]
        with ExitStack() as opening:
            self._raw = opening.enter_context(streams.RawOutput(self.path))
            self._buffered = io.BufferedWriter(self._raw, BUFFER_BYTES)
            self._writer = pq.ParquetWriter(
                self._buffered,
                self.schema,
                compression=dict.fromkeys(others, "zstd") | dict.fromkeys(self.rising, "none"),
                compression_level=dict.fromkeys(others, self.level),
                write_page_checksum=True,
                use_dictionary=repeating,
                write_statistics=repeating,
                column_encoding=dict.fromkeys(self.rising, "DELTA_BINARY_PACKED"),
            )
            self._stack = opening.pop_all()
        return self

    def write(self, table: pa.Table) -> None:
        """Append these rows as one row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._raw.abandoned = True
            self._writer.close()
            self._stack.__exit__(kind, value, trace)
            return
        with self._stack:
            self._writer.close()
            self._buffered.flush()
        self.written = self._raw.written


def leaves(fields: Iterable[pa.Field], above: str = "") -> list[str]:
    """The paths of the columns that parquet makes of these fields, lists and structs included.

    >>> leaves(pa.schema([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.int64())])))]))
    ['a', 'b.list.element.c']
    """
    found: list[str] = []
    for field in fields:
        path, kind = above + field.name, field.type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        found += leaves(kind, f"{path}.") if pa.types.is_struct(kind) else [path]
    return found
