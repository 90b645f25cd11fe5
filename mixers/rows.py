"""Files of rows in parquet that a mix writes beside its documents: where each document came from, and decisions."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dolma.data import streams
from dolma.data.parquet import BUFFER_BYTES

ROWS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("line", pa.int64()),
        ("copy", pa.int32()),
    ]
)
"""Of `rows/`: one row for each document that was written, in the same order."""
ROWS_PER_GROUP = 1 << 17


class RowsWriter:
    """Writes one parquet file of rows. A context manager."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self.written: streams.Written | None = None
        self._raw = streams.RawOutput(path)
        self._held: list[pa.Table] = []

    def __enter__(self) -> RowsWriter:
        with ExitStack() as opening:
            opening.enter_context(self._raw)
            self._buffered = io.BufferedWriter(self._raw, BUFFER_BYTES)
            self._writer = pq.ParquetWriter(self._buffered, self.schema, compression="zstd", compression_level=1)
            opening.pop_all()
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self.rows += len(table)
        self._held.append(table)
        if sum(map(len, self._held)) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._held), row_group_size=ROWS_PER_GROUP)
        self._held = []

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._raw.abandoned = True
            self._writer.close()
            self._raw.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._raw)
            if any(map(len, self._held)):
                self._flush()
            self._writer.close()
            self._buffered.flush()
        self.written = self._raw.written
