"""How many rows of a parquet file are decoded at once: as many as memory has room for, whatever they repeat.

A footer says how many bytes the pages of a column have, but a value stands once in a dictionary however many rows have
it. So the values of a dictionary are looked at where it is large enough to matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BYTES_AT_ONCE = 256 << 20
"""What the rows of one batch may come to, as far as is known before they are decoded."""
SMALL_DICTIONARY = 1 << 20
"""Bytes: of 1,024 rows that all have the largest value of such a dictionary, memory has room for all."""
_LONGEST_HEADER = 4096  # bytes; of a page, with the statistics that some writers put there


def rows_at_once(
    file: pq.ParquetFile, source: BinaryIO, groups: Sequence[int], columns: Sequence[str], *, most: int
) -> int:
    """From 1 to `most` rows; `source` is the file's bytes, of which only the heads of large dictionaries are read.

    Raises:
        pyarrow.ArrowException, OSError: a dictionary cannot be read.
    """
    rows = most
    for group in groups:
        facts = file.metadata.row_group(group)
        chunks = [facts.column(i) for i in range(facts.num_columns)]
        wanted = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns or _is(chunk, columns)]
        n_bytes = sum(_bytes_of_row(chunk, facts.num_rows, source, group) for chunk in wanted)
        rows = min(rows, BYTES_AT_ONCE // max(1, n_bytes))
    return max(1, rows)


def _is(chunk: pq.ColumnChunkMetaData, columns: Sequence[str]) -> bool:
    return chunk.path_in_schema in columns  # a name may have dots


def _bytes_of_row(chunk: pq.ColumnChunkMetaData, n_rows: int, source: BinaryIO, group: int) -> int:
    """What a row may have of this column: the mean of its pages, or the longest value of its dictionary."""
    mean = chunk.total_uncompressed_size // max(1, n_rows)
    start = chunk.dictionary_page_offset
    if chunk.total_uncompressed_size <= SMALL_DICTIONARY or chunk.physical_type != "BYTE_ARRAY" or not start:
        return mean
    source.seek(start)
    size = _page_bytes(source.read(_LONGEST_HEADER))
    if size <= SMALL_DICTIONARY:
        return mean
    if "." not in chunk.path_in_schema:
        size = _longest(source, group, chunk.path_in_schema)
    return max(mean, size * -(-chunk.num_values // max(1, n_rows)))


def _page_bytes(header: bytes) -> int:
    """The size of a page before compression: the second field of its header, in Thrift's compact protocol."""
    numbers, at = [], 0
    for expected in (0x15, 0x15):  # the next field, an i32
        if header[at : at + 1] != bytes([expected]):
            raise pa.ArrowInvalid("a page begins with something else than a page's header")
        number, shift, at = 0, 0, at + 1
        while True:
            byte = header[at] if at < len(header) and shift < 64 else 0
            number, shift, at = number | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                break
        numbers.append(number >> 1 if number % 2 == 0 else -(number + 1 >> 1))
    return numbers[1]


def _longest(source: BinaryIO, group: int, column: str) -> int:
    """The bytes of the longest value of a column's dictionary."""
    with pq.ParquetFile(pa.PythonFile(source, mode="r"), read_dictionary=[column]) as file:
        batch = next(file.iter_batches(batch_size=1, row_groups=[group], columns=[column], use_threads=False))
        values = batch.column(0)
        values = values.dictionary if pa.types.is_dictionary(values.type) else values
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
