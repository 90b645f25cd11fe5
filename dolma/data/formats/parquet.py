"""Documents as parquet: ours, and any other file with a column of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat, Lines
from dolma.data.formats.rows import SCHEMA, KeptLines, Rows, RowSink, left_of
from dolma.data.intake import Faults, Reading
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.data.parquet_footer import row_groups
from dolma.data.parquet_rows import bytes_of_rows, most_bytes, rows_at_once
from dolma.data.row_bytes import Bytes, row_bytes
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class Parquet(DocumentFormat):
    """A row is a document. A file can be entered at any row group."""

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        with open_parquet(piece.shard.path, content=piece.shard.content) as file:
            rows = Rows(
                file.schema_arrow, piece, reading, faults, records=records, metadata=metadata, uuids=_uuids(file)
            )
            yield from rows.batches(_tables(file, piece, rows.names, reading.max_line_bytes))

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        with (
            open_parquet(shard.path, content=shard.content),
            streams.open_seekable(shard.path, shard.content) as source,
        ):
            try:
                groups = row_groups(source)
            except MemoryError:
                raise
            except pa.ArrowException as error:
                raise DataError(
                    f"corrupt parquet: {printable(error)}\n  copy or write the file again", file=shard.path
                ) from error
        starts, first_lines, filled, rows = [0], [1], 0, 0
        for i, group in enumerate(groups):
            n_bytes = sum(chunk.compressed for chunk in group.chunks)
            if filled and filled + n_bytes > piece_bytes:
                starts.append(i)
                first_lines.append(rows + 1)
                filled = 0
            filled, rows = filled + n_bytes, rows + group.n_rows
        ends: list[int | None] = [*starts[1:], None]
        return [
            Piece(shard=shard, part=part, parts=len(starts), start=start, end=end, first_line=line, first_offset=0)
            for part, (start, end, line) in enumerate(zip(starts, ends, first_lines, strict=True))
        ]

    def count(self, path: str) -> int:
        with open_parquet(path) as file:
            return int(file.metadata.num_rows)

    def sink(self, path: str) -> RowSink:
        return RowSink(ParquetOutput(path, SCHEMA))

    def without(self, path: str, lines: Lines, out: str) -> streams.Written:
        """The rows at these lines are gone, and its metadata says which; compressed as before, by row groups."""
        from pyarrow import parquet as pq

        with open_parquet(path) as file, streams.RawOutput(out) as sink:
            kept, first = KeptLines(file.schema_arrow, path), 1
            schema, removed = kept.noted(file.schema_arrow, lines), kept.rows(lines)
            with pq.ParquetWriter(
                sink, schema, compression=_compressions(file), compression_level=None, write_page_checksum=True
            ) as writer:
                for group in range(file.metadata.num_row_groups):
                    table = file.read_row_group(group, use_threads=False)
                    left = left_of(table, first, removed)
                    first += len(table)
                    if len(left):
                        writer.write_table(left.replace_schema_metadata(schema.metadata), row_group_size=len(left))
        assert sink.written is not None
        return sink.written

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        with ParquetOutput(path, SCHEMA) as out:
            for part in parts:
                with open_parquet(part) as file:
                    for group in range(file.metadata.num_row_groups):
                        out.write(file.read_row_group(group, use_threads=False))
        assert out.written is not None
        return out.written


def _tables(file: pq.ParquetFile, piece: Piece, names: list[str], limit: int) -> Iterator[tuple[pa.RecordBatch, Bytes]]:
    """The rows of the piece, these columns of them, and how many bytes each has in all columns.

    Other columns are looked at where they may bring a row over the `limit`, and else taken for empty.
    """
    groups = list(range(piece.start, file.metadata.num_row_groups if piece.end is None else piece.end))
    path, row = piece.shard.path, 0
    others = [name for name in file.schema_arrow.names if name not in names]
    of_others: Bytes | None = None
    try:
        with streams.open_seekable(path, piece.shard.content) as source:
            n_rows = rows_at_once(source, groups, names, most=1024)
            most = most_bytes(source, groups, others)
            for batch in file.iter_batches(batch_size=n_rows, row_groups=groups, columns=names):
                rows = batch.select(names)  # to Arrow the name `a.b` is also that of `b` in the struct `a`
                n_bytes = sum(map(row_bytes, rows.columns), np.zeros(len(rows), np.int64))
                if most and int(n_bytes.max(initial=0)) + most > limit:
                    if of_others is None:
                        of_others = bytes_of_rows(source, groups, others)
                    n_bytes += of_others[row : row + len(rows)]
                row += len(rows)
                yield rows, n_bytes
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"corrupt parquet near row {piece.first_line + row}: {printable(error)}\n  copy or write the file again",
            file=path,
        ) from error


def _compressions(file: pq.ParquetFile) -> dict[str, str] | str:
    """How each column is compressed, as the writer calls it."""
    if not file.metadata.num_row_groups:
        return "zstd"
    group = file.metadata.row_group(0)
    columns = (group.column(i) for i in range(group.num_columns))
    names = {"UNCOMPRESSED": "none", "LZ4_RAW": "lz4"}
    return {column.path_in_schema: names.get(column.compression, column.compression.lower()) for column in columns}


def _uuids(file: pq.ParquetFile) -> set[str]:
    columns = (file.schema.column(i) for i in range(len(file.schema)))
    return {column.path for column in columns if column.logical_type.type == "UUID"}
