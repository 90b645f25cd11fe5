"""Documents as parquet: ours, and any other file with a column of text.

What we write has the columns id, text, source, added and created as strings, and `metadata` and `extra` (all other
fields) as JSON text, so that a field which appears late, or changes its type, survives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.arrow_json import JsonForm
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat
from dolma.data.formats.records import RecordBlocks
from dolma.data.intake import Faults, Reading
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_NOTE = b"dolma.documents"
_ROW_GROUP_BYTES = 64 << 20
_FIELDS = ("id", "text", "source", "added", "created")
_SCHEMA = pa.schema([pa.field(name, pa.large_string()) for name in (*_FIELDS, "metadata", "extra")], {_NOTE: b"1"})


class Parquet(DocumentFormat):
    """A row is a document. A file can be entered at any row group."""

    name = "parquet"
    suffixes = (".parquet",)
    compressible = False

    def is_text(self, path: str) -> bool:
        return False

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        """Rows become the JSON records that they stand for, and are then read like any other."""
        block_of = RecordBlocks(reading, piece, faults, records=records, metadata=metadata)
        row, path = piece.first_line, piece.shard.path
        with open_parquet(path, content=piece.shard.content) as file:
            schema = file.schema_arrow
            ours = (schema.metadata or {}).get(_NOTE) is not None
            text = _column_of(reading.text, schema.names)
            if not ours and text not in schema.names:
                has = ", ".join(map(printable, schema.names))
                raise DataError(f"no column {text!r}; it has: {has}\n  name another with `--text-field`", file=path)
            names = schema.names if records else _columns_needed(reading, schema.names, metadata=metadata, ours=ours)
            form = JsonForm(count=faults.intake.repair, id=reading.id, keep_null=text, uuids=_uuids(file))
            for table in _tables(file, piece, names):
                try:
                    lines = list(map(_own_json, form.rows(table))) if ours else form.records(table)
                except pa.ArrowException as error:
                    raise DataError(
                        f"rows {row} to {row + len(table) - 1} cannot be read: {printable(error)}", file=path
                    ) from error
                for some in _by_bytes(lines, reading.batch_bytes):
                    block = b"\n".join(some)
                    yield block_of(block, ends=block_of.line_ends(block), line=row, offset=None)
                    row += len(some)

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        with open_parquet(shard.path, content=shard.content) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        starts, first_lines, filled, rows = [0], [1], 0, 0
        for i, group in enumerate(groups):
            n_bytes = sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            if filled and filled + n_bytes > piece_bytes:
                starts.append(i)
                first_lines.append(rows + 1)
                filled = 0
            filled, rows = filled + n_bytes, rows + group.num_rows
        ends: list[int | None] = [*starts[1:], None]
        return [
            Piece(shard=shard, part=part, parts=len(starts), start=start, end=end, first_line=line, first_offset=0)
            for part, (start, end, line) in enumerate(zip(starts, ends, first_lines, strict=True))
        ]

    def count(self, path: str) -> int:
        with open_parquet(path) as file:
            return int(file.metadata.num_rows)

    def sink(self, path: str) -> ParquetSink:
        return ParquetSink(path)

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        with ParquetOutput(path, _SCHEMA) as out:
            for part in parts:
                with open_parquet(part) as file:
                    for group in range(file.metadata.num_row_groups):
                        out.write(file.read_row_group(group, use_threads=False))
        assert out.written is not None
        return out.written


def _tables(file: pq.ParquetFile, piece: Piece, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of the piece, these columns of them."""
    row = piece.first_line
    groups = list(range(piece.start, file.metadata.num_row_groups if piece.end is None else piece.end))
    batches = file.iter_batches(batch_size=1024, row_groups=groups, columns=names)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"corrupt parquet near row {row}: {printable(error)}", file=piece.shard.path) from error
        if batch is None:
            return
        row += len(batch)
        yield batch.select(names)  # to Arrow the name `a.b` is also that of `b` in the struct `a`


def _column_of(path: str, names: list[str]) -> str:
    """The column that holds a field: the one of that name as it stands, else the one it is to be found in."""
    return path if path in names else path.split(".")[0]


def _columns_needed(reading: Reading, names: list[str], *, metadata: bool, ours: bool) -> list[str]:
    wanted = {_column_of(path, names) for path in (reading.text, reading.id, reading.source)}
    wanted |= {"metadata"} if metadata else set()
    wanted |= {"extra"} if ours else set()
    return [name for name in names if name in wanted]


def _uuids(file: pq.ParquetFile) -> set[str]:
    columns = (file.schema.column(i) for i in range(len(file.schema)))
    return {column.path for column in columns if column.logical_type.type == "UUID"}


def _by_bytes(lines: list[bytes], limit: int) -> Iterator[list[bytes]]:
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
    extra = row.pop("extra", None)
    if (metadata := row.pop("metadata", None)) is not None:
        row["metadata"] = _raw(metadata)
    if extra is not None:
        try:
            row |= msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:
            row["extra"] = _raw(extra)
    return msgspec.json.encode(row)


def _raw(text: str | msgspec.Raw) -> msgspec.Raw:
    """JSON text as a part of a line; where it is no JSON, the record is a bad one."""
    return text if isinstance(text, msgspec.Raw) else msgspec.Raw(text.replace("\n", " ").encode())


class ParquetSink:
    def __init__(self, path: str) -> None:
        self._file = ParquetOutput(path, _SCHEMA)
        self._rows: list[dict[str, str | None]] = []
        self._bytes = 0

    @property
    def written(self) -> streams.Written | None:
        return self._file.written

    def __enter__(self) -> ParquetSink:
        self._file.__enter__()
        return self

    def write_records(self, records: Iterable[bytes]) -> None:
        for record in records:
            self._rows.append(_row(record))
            self._bytes += len(record)
            if self._bytes >= _ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        self._file.write(pa.Table.from_pylist(self._rows, _SCHEMA))
        self._rows, self._bytes = [], 0

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._file.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._file)
            if self._rows:
                self._flush()


def _row(json_object: bytes) -> dict[str, str | None]:
    record = msgspec.json.decode(json_object, type=dict[str, msgspec.Raw])
    row: dict[str, str | None] = {}
    for name in _FIELDS:
        raw = bytes(record.get(name, b""))
        if raw.startswith(b'"'):
            row[name] = msgspec.json.decode(raw, type=str)
            del record[name]
    metadata = record.pop("metadata", None)
    row["metadata"] = None if metadata is None else bytes(metadata).decode()
    row["extra"] = msgspec.json.encode(record).decode() if record else None
    return row
