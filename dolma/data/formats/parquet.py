"""Documents as parquet: ours, and any other file with a column of text.

What we write has the columns id, text, source, added and created as strings, and `metadata` and `extra` (all other
fields) as JSON text, so that a field which appears late, or changes its type, survives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat
from dolma.data.formats.records import RecordBlocks
from dolma.data.intake import Faults, Reading
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError

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
        text = reading.text.split(".")[0]
        with open_parquet(path, content=piece.shard.content) as file:
            names = file.schema_arrow.names
            ours = (file.schema_arrow.metadata or {}).get(_NOTE) is not None
            if not ours and text not in names:
                raise DataError(
                    f"no column {text!r}; it has: {', '.join(names)}\n  name another with `--text-field`", file=path
                )
            columns = None if records else _columns_needed(reading, names, metadata=metadata, ours=ours)
            groups = list(range(piece.start, file.metadata.num_row_groups if piece.end is None else piece.end))
            try:
                for table in file.iter_batches(batch_size=1024, row_groups=groups, columns=columns):
                    lines = _rows_as_json(table, text=text, ours=ours)
                    for some in _by_bytes(lines, reading.batch_bytes):
                        block = b"\n".join(some)
                        yield block_of(block, ends=block_of.line_ends(block), line=row, offset=None)
                        row += len(some)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"corrupt parquet near row {row}: {error}", file=path) from error

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


def _columns_needed(reading: Reading, names: list[str], *, metadata: bool, ours: bool) -> list[str]:
    wanted = {path.split(".")[0] for path in (reading.text, reading.id, reading.source)}
    wanted |= {"metadata"} if metadata else set()
    wanted |= {"extra"} if ours else set()
    return [name for name in names if name in wanted]


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


def _rows_as_json(table: pa.RecordBatch, *, text: str, ours: bool) -> list[bytes]:
    if ours:
        return [_own_json(values) for values in table.to_pylist()]
    arrays = [_as_python_holds(column) for column in table.columns]
    rows = pa.RecordBatch.from_arrays(arrays, names=table.schema.names).to_pylist()
    if any(pa.types.is_binary(array.type) for array in arrays):
        rows = [{key: _bytes_as_json(value) for key, value in row.items()} for row in rows]
    present = ({key: value for key, value in row.items() if value is not None or key == text} for row in rows)
    return [msgspec.json.encode(row, enc_hook=str) for row in present]


def _as_python_holds(column: pa.Array) -> pa.Array:
    """Nanoseconds cut to microseconds; text that is not UTF-8 as bytes."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_large_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return column.cast(pa.binary())
    return column


def _bytes_as_json(value: Any) -> Any:
    """Bytes as a JSON string; what is not UTF-8 in them stays as it is, for the reader to repair and count."""
    if not isinstance(value, bytes):
        return value
    text = json.dumps(value.decode(errors="surrogateescape"), ensure_ascii=False)
    return msgspec.Raw(text.encode(errors="surrogateescape"))


def _own_json(values: dict[str, Any]) -> bytes:
    extra = values.pop("extra", None)
    metadata = values.pop("metadata", None)
    record = {key: value for key, value in values.items() if value is not None}
    if metadata is not None:
        record["metadata"] = msgspec.Raw(metadata.encode())
    if extra is not None:
        record |= msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(record)


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

    def write_records(self, records: Sequence[bytes]) -> None:
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
