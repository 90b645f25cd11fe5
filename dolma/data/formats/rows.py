"""Documents as rows of columns: what formats with columns share.

What we write has the columns id, text, source, added and created as strings, and `metadata` and `extra` (all other
fields) as JSON text, so that a field which appears late, or changes its type, survives.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.arrow_json import JsonForm
from dolma.data.batch import TextBatch
from dolma.data.formats.records import RecordBlocks
from dolma.data.intake import Faults, Reading
from dolma.data.shards import Piece
from dolma.errors import DataError
from dolma.printable import printable

NOTE = b"dolma.documents"
_GROUP_BYTES = 64 << 20
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
        self._path, self._row, self._reading = piece.shard.path, piece.first_line, reading
        self._ours = is_ours(schema)
        text = text_column(reading, schema.names, self._path, ours=self._ours)
        wanted = columns_needed(reading, schema.names, metadata=metadata, ours=self._ours)
        self.names = schema.names if records else wanted
        self._form = JsonForm(count=faults.intake.repair, id=reading.id, keep_null=text, uuids=uuids)
        self._block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata)

    def batches(self, tables: Iterator[pa.RecordBatch]) -> Iterator[TextBatch]:
        """Rows become the JSON records that they stand for, and are then read like any other."""
        for table in tables:
            try:
                lines = list(map(_own_json, self._form.rows(table))) if self._ours else self._form.records(table)
            except pa.ArrowException as error:
                last = self._row + len(table) - 1
                raise DataError(
                    f"rows {self._row} to {last} cannot be read: {printable(error)}"
                    "\n  write these rows again, or leave the file out with `--exclude`",
                    file=self._path,
                ) from error
            for some in by_bytes(lines, self._reading.batch_bytes):
                block = b"\n".join(some)
                yield self._block_of(block, ends=self._block_of.line_ends(block), line=self._row, offset=None)
                self._row += len(some)


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


def by_bytes(lines: Iterable[bytes], limit: int) -> Iterator[list[bytes]]:
    """The lines in lists of about `limit` bytes, in order."""
    some: list[bytes] = []
    n_bytes = 0
    for line in lines:
        if some and n_bytes + len(line) > limit:
            yield some
            some, n_bytes = [], 0
        some.append(line)
        n_bytes += len(line)
    if some:
        yield some


def _own_json(row: dict[str, Any]) -> bytes:
    return msgspec.json.encode(own_record(row))


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
