"""Documents as rows of columns: what formats with columns share.

What we write has the columns id, text, source, added and created as strings, and `metadata` and `extra` (all other
fields) as JSON text, so that a field which appears late, or changes its type, survives.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from dolma.data import streams
from dolma.data.arrow_json import LONG_BYTES, JsonForm, is_text, json_of
from dolma.data.batch import TextBatch
from dolma.data.formats.format import Lines
from dolma.data.formats.records import RecordBlocks
from dolma.data.intake import KEPT_BYTES, Faults, Reading
from dolma.data.row_bytes import Bytes, row_bytes
from dolma.data.shards import Piece
from dolma.errors import DataError
from dolma.printable import printable

NOTE = b"dolma.documents"
REMOVED = b"dolma.removed"
"""The key in a file's metadata of the lines of rows that were taken out of it: a list, as JSON, ascending."""
_GROUP_BYTES = 64 << 20
_MOST_ROWS = 1024  # that are made JSON at once
_JSON_TEXT = ("metadata", "extra")
_FIELDS = ("id", "text", "source", "added", "created")
NAMES = (*_FIELDS, "metadata", "extra")
SCHEMA = pa.schema([pa.field(name, pa.large_string()) for name in NAMES], {NOTE: b"1"})


class Rows:
    """Makes documents of the record batches of a piece. `names` are the columns that are needed.

    `uuids` are the dotted paths that the file says are UUIDs.
    """

    def __init__(
        self,
        schema: pa.Schema,
        piece: Piece,
        reading: Reading,
        faults: Faults,
        *,
        records: bool,
        metadata: bool,
        uuids: Collection[str] = (),
    ) -> None:
        self._path, self._row, self._reading, self._faults = piece.shard.path, piece.first_line, reading, faults
        self._lines = KeptLines(schema, self._path)
        self._ours = is_ours(schema)
        text = text_column(reading, schema.names, self._path, ours=self._ours)
        wanted = columns_needed(reading, schema.names, metadata=metadata, ours=self._ours)
        self.names = schema.names if all_columns(reading, records=records) else wanted
        self._form = JsonForm(
            count=faults.intake.repair,
            id=reading.id,
            keep_null=text,
            uuids=uuids,
            json=_JSON_TEXT if self._ours else (),
        )
        self._block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata, measured=True)

    def batches(self, tables: Iterator[tuple[pa.RecordBatch, Bytes]]) -> Iterator[TextBatch]:
        """Rows become the JSON records that they stand for, and are then read like any other.

        `tables` are the needed columns, and how many bytes each row has in all columns of the file.
        """
        return in_blocks(self._records(tables), self._block_of, self._reading.batch_bytes)

    def _records(self, tables: Iterator[tuple[pa.RecordBatch, Bytes]]) -> Iterator[tuple[int, bytes]]:
        for table, n_bytes in tables:
            lines = self._lines.of(self._row, len(table)).tolist()
            for start, end in itertools.pairwise(cuts(n_bytes, self._reading.max_line_bytes)):
                rows, line = table.slice(start, end - start), self._row + start
                try:
                    if (size := int(n_bytes[start])) > self._reading.max_line_bytes:
                        self._faults.too_long(self._head(rows), size, line=lines[start], offset=None)
                        continue
                    parts = map(own_record, self._form.rows(rows)) if self._ours else self._form.rows(rows)
                    records = list(map(json_of, parts))
                except MemoryError:
                    raise
                except pa.ArrowException as error:
                    raise DataError(
                        f"rows {line} to {line + len(rows) - 1} cannot be read: {printable(error)}"
                        "\n  write these rows again, or leave the file out with `--exclude`",
                        file=self._path,
                    ) from error
                records.reverse()
                for i in range(len(records)):
                    yield lines[start + i], records.pop()  # which is then held once
            self._row += len(table)

    def _head(self, row: pa.RecordBatch) -> bytes:
        """The beginning of a row over the limit, as JSON, without values that are neither text nor short."""
        columns = {}
        for name, column in zip(row.schema.names, row.columns, strict=True):
            if int(row_bytes(column)[0]) <= KEPT_BYTES:
                columns[name] = column
            elif is_text(column.type):
                columns[name] = pa.array([bytes(column[0].as_buffer()[:KEPT_BYTES])], pa.large_binary())
        return self._form.records(pa.record_batch(columns))[0] if columns else b"{}"


def cuts(n_bytes: Bytes, max_bytes: int) -> list[int]:
    """Where to cut rows of so many bytes, both ends included, so that few are made JSON at once.

    A row that is long, or has more than `max_bytes`, is alone.

    >>> cuts(np.array([10, 10, 500, 10]), 400)
    [0, 2, 3, 4]
    """
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_bytes)])
    found, over = [0], np.append(np.flatnonzero(n_bytes > max_bytes), len(n_bytes))
    while (start := found[-1]) < len(n_bytes):
        fit = int(np.searchsorted(before, before[start] + LONG_BYTES, side="right")) - 1
        end = min(max(fit, start + 1), start + _MOST_ROWS)
        next_over = int(over[np.searchsorted(over, start)])
        found.append(start + 1 if next_over == start else min(end, next_over))
    return found


def all_columns(reading: Reading, *, records: bool) -> bool:
    """Whether all columns are needed: for whole records, and where damaged text anywhere makes a bad record."""
    return records or reading.invalid_unicode == "error"


_Line = Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]


class KeptLines:
    """The lines of the rows of a file: their numbers from 1, as they were before rows were taken out of it.

    >>> schema = pa.schema([], {REMOVED: b"[1,4]"})
    >>> lines = KeptLines(schema, "a.parquet")
    >>> lines.of(1, 4).tolist(), lines.rows(np.array([3, 6])).tolist()
    ([2, 3, 5, 6], [2, 4])
    """

    def __init__(self, schema: pa.Schema, path: str) -> None:
        """Read them.

        Raises:
            DataError: they are not as they were written.
        """
        noted = (schema.metadata or {}).get(REMOVED, b"[]")
        try:
            self.removed = np.array(msgspec.json.decode(noted, type=list[_Line]), dtype=np.int64)
        except msgspec.DecodeError as error:
            raise DataError(
                f"its metadata {REMOVED.decode()!r} is no list of lines: {printable(error)}"
                "\n  write the file again without that key",
                file=path,
            ) from error
        self._passed = self.removed - np.arange(len(self.removed))  # the first row behind each

    def of(self, row: int, n: int) -> Lines:
        """The lines of `n` rows from one on."""
        rows = np.arange(row, row + n, dtype=np.int64)
        return rows + np.searchsorted(self._passed, rows, side="right")

    def rows(self, lines: Lines) -> Lines:
        """The rows at these lines."""
        return lines - np.searchsorted(self.removed, lines)

    def noted(self, schema: pa.Schema, lines: Lines) -> pa.Schema:
        """The schema of the file when the rows at these lines are taken out of it, too."""
        removed = np.union1d(self.removed, lines).tolist()
        return schema.with_metadata({**(schema.metadata or {}), REMOVED: msgspec.json.encode(removed)})


def left_of(rows: pa.Table | pa.RecordBatch, first: int, removed: Lines) -> Any:
    """The rows of a part of a file, of which the first has this number, that are not among `removed`."""
    mask = np.ones(len(rows), dtype=bool)
    mask[removed[(removed >= first) & (removed < first + len(rows))] - first] = False
    return rows.filter(pa.array(mask))


def is_ours(schema: pa.Schema) -> bool:
    """Whether a file of this schema was written by us, so that its columns are parts of JSON records."""
    return (schema.metadata or {}).get(NOTE) is not None


def text_column(reading: Reading, names: Sequence[str], path: str, *, ours: bool = False) -> str:
    """The column that holds the text.

    Raises:
        DataError: there is none; says which there are.
    """
    text = _column_of(reading.text, names)
    if not ours and text not in names:
        has = ", ".join(map(printable, names)) or "nothing"
        raise DataError(f"no column {text!r}; it has: {has}\n  name another with `--text-field`", file=path)
    return text


def columns_needed(reading: Reading, names: Sequence[str], *, metadata: bool, ours: bool) -> list[str]:
    """The columns in which fields are to be found, in the file's order."""
    wanted = {_column_of(path, names) for path in (reading.text, reading.id, reading.source)}
    wanted |= {"metadata"} if metadata else set()
    wanted |= {"extra"} if ours else set()
    return [name for name in names if name in wanted]


def _column_of(path: str, names: Sequence[str]) -> str:
    """The column that holds a field: the one of that name as it stands, else the one it is to be found in."""
    return path if path in names else path.split(".")[0]


def in_blocks(records: Iterable[tuple[int, bytes]], block_of: RecordBlocks, limit: int) -> Iterator[TextBatch]:
    """The documents of records, each with its line, in batches of about `limit` bytes."""
    lines: list[int] = []
    some: list[bytes] = []
    n_bytes = 0
    for line, record in records:
        if some and n_bytes + len(record) > limit:
            yield _batch(lines, some, block_of)
            n_bytes = 0
        lines.append(line)
        some.append(record)
        n_bytes += len(record)
        del record
    if some:
        yield _batch(lines, some, block_of)


def _batch(lines: list[int], some: list[bytes], block_of: RecordBlocks) -> TextBatch:
    """The documents of these records; both lists are then empty."""
    numbers, block = np.array(lines, dtype=np.int64), b"\n".join(some)
    lines.clear()
    some.clear()
    return block_of(block, ends=block_of.line_ends(block), line=numbers, offset=None)


def own_record(row: dict[str, Any]) -> dict[str, Any]:
    """The record that a row of ours stands for, some of its values JSON text."""
    extra = row.pop("extra", None)
    if (metadata := row.pop("metadata", None)) is not None:
        row["metadata"] = _raw(metadata)
    if extra is not None:
        try:
            row |= msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeEncodeError):
            row["extra"] = _raw(extra)
    return row


def _raw(text: str | msgspec.Raw) -> msgspec.Raw:
    """JSON text as a part of a line; where it is no JSON, the record is a bad one."""
    return (
        text if isinstance(text, msgspec.Raw) else msgspec.Raw(text.replace("\n", " ").encode(errors="surrogateescape"))
    )


def row_of(json_object: bytes, *, empty_cells: bool = True) -> dict[str, str | None]:
    """A record as a row of ours. Without `empty_cells`, as such a cell means no value, empty strings are in `extra`."""
    record = msgspec.json.decode(json_object, type=dict[str, msgspec.Raw])
    row: dict[str, str | None] = {}
    for name in _FIELDS:
        raw = bytes(record.get(name, b""))
        if raw.startswith(b'"') and (empty_cells or raw != b'""'):
            row[name] = msgspec.json.decode(raw, type=str)
            del record[name]
    metadata = record.pop("metadata", None)
    row["metadata"] = None if metadata is None else bytes(metadata).decode()
    row["extra"] = msgspec.json.encode(record).decode() if record else None
    return row


class TableOutput(Protocol):
    """A file that takes record batches or tables; `written` afterwards."""

    written: streams.Written | None

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None: ...

    def write(self, table: pa.Table) -> None: ...


class RowSink:
    """Writes records as rows of ours, in groups of about 64 MB of JSON."""

    def __init__(self, file: TableOutput) -> None:
        self._file = file
        self._rows: list[dict[str, str | None]] = []
        self._bytes = 0

    @property
    def written(self) -> streams.Written | None:
        return self._file.written

    def __enter__(self) -> RowSink:
        self._file.__enter__()
        return self

    def write_records(self, records: Iterable[bytes]) -> None:
        for record in records:
            self._rows.append(row_of(record))
            self._bytes += len(record)
            if self._bytes >= _GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        self._file.write(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows, self._bytes = [], 0

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._file.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._file)
            if self._rows:
                self._flush()
