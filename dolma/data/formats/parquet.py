"""Documents as parquet: ours, and any other file with a column of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat
from dolma.data.formats.rows import SCHEMA, Rows, RowSink
from dolma.data.intake import Faults, Reading
from dolma.data.parquet import ParquetOutput, open_parquet
from dolma.data.parquet_footer import row_groups
from dolma.data.parquet_rows import rows_at_once
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError
from dolma.printable import printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class Parquet(DocumentFormat):
    """A row is a document. A file can be entered at any row group."""

    name = "parquet"
    suffixes = (".parquet",)
    compressible = False

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        with open_parquet(piece.shard.path, content=piece.shard.content) as file:
            rows = Rows(
                file.schema_arrow, piece, reading, faults, records=records, metadata=metadata, uuids=_uuids(file)
            )
            yield from rows.batches(_tables(file, piece, rows.names))

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        with (
            open_parquet(shard.path, content=shard.content),
            streams.open_seekable(shard.path, shard.content) as source,
        ):
            try:
                groups = row_groups(source)
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

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        with ParquetOutput(path, SCHEMA) as out:
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
    path = piece.shard.path
    try:
        with streams.open_seekable(path, piece.shard.content) as source:
            n_rows = rows_at_once(source, groups, names, most=1024)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"corrupt parquet near row {row}: {printable(error)}\n  copy or write the file again", file=path
        ) from error
    batches = file.iter_batches(batch_size=n_rows, row_groups=groups, columns=names)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"corrupt parquet near row {row}: {printable(error)}\n  copy or write the file again", file=path
            ) from error
        if batch is None:
            return
        row += len(batch)
        yield batch.select(names)  # to Arrow the name `a.b` is also that of `b` in the struct `a`


def _uuids(file: pq.ParquetFile) -> set[str]:
    columns = (file.schema.column(i) for i in range(len(file.schema)))
    return {column.path for column in columns if column.logical_type.type == "UUID"}
