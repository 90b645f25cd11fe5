"""Documents as Arrow IPC, file or stream: ours, and any other with a column of text.

`.arrow` may be either: Hugging Face's `datasets` writes streams, Feather is a file. What it is, its first bytes tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.formats.format import DocumentFormat, Lines
from dolma.data.formats.rows import SCHEMA, KeptLines, Rows, RowSink, is_ours, left_of
from dolma.data.identity import Content
from dolma.data.intake import Faults, Reading
from dolma.data.row_bytes import Bytes, row_bytes
from dolma.data.shards import Piece, Shard
from dolma.errors import DataError
from dolma.printable import printable

_FILE = b"ARROW1"
_MEASURED_ROWS = 1 << 20  # at a time: a null or a run has any number of rows
_FAILURES = (pa.ArrowException, OSError, UnicodeDecodeError, ValueError)


class Arrow(DocumentFormat):
    """A row is a document. A file can be entered at any record batch, a stream only at its beginning."""

    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        path = piece.shard.path
        with _opened(path, piece.shard.content) as file:
            rows = Rows(file.schema, piece, reading, faults, records=records, metadata=metadata)
            yield from rows.batches(_tables(file, path, rows.names, piece))

    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        with _opened(shard.path, shard.content) as file:
            if not isinstance(file, pa.RecordBatchFileReader):
                return [Piece(shard=shard)]
            n_batches = file.num_record_batches
            n_parts = max(1, min(n_batches, shard.size // piece_bytes))
            starts = [part * n_batches // n_parts for part in range(n_parts)]
            rows = [len(batch) for batch in _batches(file, shard.path)]
        ends: list[int | None] = [*starts[1:], None]
        return [
            Piece(shard=shard, part=part, parts=n_parts, start=start, end=end, first_line=sum(rows[:start]) + 1)
            for part, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]

    def count(self, path: str) -> int:
        with _opened(path) as file:
            return sum(map(len, _batches(file, path)))

    def sink(self, path: str) -> RowSink:
        return RowSink(ArrowOutput(path))

    def without(self, path: str, lines: Lines, out: str) -> streams.Written:
        """The rows at these lines are gone, and the schema's metadata says which; a record batch at a time.

        The file is compressed, with zstd, if it is one of ours or smaller than what its first batch holds.
        """
        with _opened(path) as file, streams.RawOutput(out) as sink:
            kept, first = KeptLines(file.schema, path), 1
            schema, removed = kept.noted(file.schema, lines), kept.rows(lines)
            is_file = isinstance(file, pa.RecordBatchFileReader)
            new, writer = pa.ipc.new_file if is_file else pa.ipc.new_stream, None
            for batch in _raw_batches(file, path):
                if writer is None:
                    compression = "zstd" if is_ours(schema) or batch.nbytes > (streams.size(path) or 0) else None
                    options = pa.ipc.IpcWriteOptions(
                        compression=compression, use_threads=False, emit_dictionary_deltas=False
                    )
                    writer = new(sink, schema, options=options)
                writer.write_batch(left_of(batch, first, removed).replace_schema_metadata(schema.metadata))
                first += len(batch)
            (writer or new(sink, schema)).close()
        assert sink.written is not None
        return sink.written

    def concatenate(self, parts: Sequence[str], path: str) -> streams.Written:
        with ArrowOutput(path) as out:
            for part in parts:
                with _opened(part) as file:
                    for batch in _batches(file, part):
                        out.write(pa.Table.from_batches([batch], SCHEMA))
        assert out.written is not None
        return out.written


@contextmanager
def _opened(path: str, content: Content | None = None) -> Iterator[Any]:
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(streams.open_seekable(path, content))
            kind = pa.ipc.open_file if raw.read(len(_FILE)) == _FILE else pa.ipc.open_stream
            raw.seek(0)
            file = stack.enter_context(kind(pa.PythonFile(raw, mode="r")))
            names = file.schema.names
        except MemoryError:
            raise
        except FileNotFoundError as error:
            raise DataError("no such file\n  look for the name in its folder", file=path) from error
        except _FAILURES as error:
            said = streams.mistaken_for(path, "Arrow IPC", bare=path)
            raise DataError(
                said or f"not a readable Arrow IPC file: {printable(error)}\n  copy or write the file again", file=path
            ) from error
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"two columns are called {twice!r}\n  rename one of them, or write the file again", file=path
            )
        yield file


def _raw_batches(file: Any, path: str) -> Iterator[pa.RecordBatch]:
    """The record batches as they are."""
    if isinstance(file, pa.RecordBatchFileReader):
        yield from map(file.get_batch, range(file.num_record_batches))
    else:
        yield from file


def _batches(file: Any, path: str, start: int = 0, end: int | None = None) -> Iterator[pa.RecordBatch]:
    """The record batches, each with bounds that lie within its buffers: Arrow does not look where it only reads."""
    i = start
    while True:
        try:
            if isinstance(file, pa.RecordBatchFileReader):
                if i >= (file.num_record_batches if end is None else end):
                    return
                batch = file.get_batch(i)
            else:
                batch = file.read_next_batch()
            _bytes_for_strings(batch).validate(full=True)
        except StopIteration:
            return
        except MemoryError:
            raise
        except _FAILURES as error:
            raise DataError(
                f"corrupt Arrow IPC in record batch {i}: {printable(error)}\n  copy or write the file again", file=path
            ) from error
        yield batch
        i += 1


def _bytes_for_strings(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same with binary columns for strings, which may hold text that is not UTF-8: that is repaired later."""
    kinds = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    columns = [column.view(kinds[column.type]) if column.type in kinds else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _tables(file: Any, path: str, names: list[str], piece: Piece) -> Iterator[tuple[pa.RecordBatch, Bytes]]:
    """The rows of the piece, these columns of them, and how many bytes each has in all columns."""
    for batch in _batches(file, path, piece.start, piece.end):
        for start in range(0, len(batch), _MEASURED_ROWS):
            rows = batch.slice(start, _MEASURED_ROWS)
            yield rows.select(names), sum(map(row_bytes, rows.columns), np.zeros(len(rows), np.int64))


class ArrowOutput:
    """An Arrow file, or a stream where the suffix is `.arrows`, of our columns; `.written` afterwards."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.written: streams.Written | None = None
        self._stack = ExitStack()

    def __enter__(self) -> ArrowOutput:
        with ExitStack() as opening:
            self._raw = opening.enter_context(streams.RawOutput(self.path))
            new = pa.ipc.new_stream if self.path.lower().endswith(".arrows") else pa.ipc.new_file
            self._writer = new(self._raw, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False))
            self._stack = opening.pop_all()
        return self

    def write(self, table: pa.Table) -> None:
        """Append these rows as one record batch."""
        self._writer.write_table(table.combine_chunks())

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._raw.abandoned = True
            self._writer.close()
            self._stack.__exit__(kind, value, trace)
            return
        with self._stack:
            self._writer.close()
        self.written = self._raw.written
