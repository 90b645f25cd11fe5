"""How many rows of a parquet file are decoded at once: as many as memory has room for, whatever they repeat.

A footer says how many bytes the pages of a column have, but a value stands once in a dictionary however many rows have
it. So the values of a dictionary are looked at where it is large enough to matter, and of lists, of which one row may
have any number of them, also how often each row has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from dolma.data.parquet_footer import BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY, ColumnChunk, row_groups
from dolma.data.row_bytes import FIXED_BYTES, Bytes, row_bytes

BYTES_AT_ONCE = 256 << 20
"""What the rows of one batch may come to, as far as is known before they are decoded."""
MOST_BYTES = 1 << 30
"""What one row may have of a column; and what the rows of one batch have at most where no dictionary is looked at."""
_SMALL_BYTES = 16 << 20  # for which no dictionary is looked at
_LONGEST_HEADER = 4096  # bytes; of a page, with the statistics that some writers put there


def rows_at_once(source: BinaryIO, groups: Sequence[int], columns: Sequence[str], *, most: int) -> int:
    """From 1 to `most` rows; of the file, only the footer and the heads of large dictionaries are read.

    Raises:
        pyarrow.ArrowException, OSError: the footer or a dictionary cannot be read.
    """
    rows = most
    facts = row_groups(source)
    for group in groups:
        n_rows, chunks = facts[group]
        # a name may have dots
        wanted = [chunk for chunk in chunks if chunk.path.split(".")[0] in columns or chunk.path in columns]
        n_bytes = sum(_bytes_of_row(chunk, n_rows, source, group, most) for chunk in wanted)
        rows = min(rows, BYTES_AT_ONCE // max(1, n_bytes))
    return max(1, rows)


def _bytes_of_row(chunk: ColumnChunk, n_rows: int, source: BinaryIO, group: int, most: int) -> int:
    """What a row may have of this column: the mean of its pages, or what it can have of its dictionary."""
    mean = chunk.uncompressed // max(1, n_rows)
    is_nested = "." in chunk.path
    repeats = chunk.n_values if is_nested else most
    if chunk.uncompressed * repeats <= MOST_BYTES or chunk.physical_type != BYTE_ARRAY or not chunk.dictionary_at:
        return mean
    source.seek(chunk.dictionary_at)
    size = _page_bytes(source.read(_LONGEST_HEADER))
    if size * repeats <= MOST_BYTES:
        return mean
    longest = _longest(source, group, chunk.path)
    if is_nested:
        return mean if longest * repeats <= MOST_BYTES else max(mean, _longest_row(source, group, chunk.path, most))
    return max(mean, longest)


def most_bytes(source: BinaryIO, groups: Sequence[int], columns: Sequence[str]) -> int:
    """What a row has in these columns at most, as far as the footer and large dictionaries tell.

    Raises:
        pyarrow.ArrowException, OSError: the footer or a dictionary cannot be read.
    """
    most, facts = 0, row_groups(source) if columns else []
    for group in groups if columns else ():
        chunks = (
            chunk for chunk in facts[group].chunks if f"{chunk.path}.".startswith(tuple(f"{name}." for name in columns))
        )
        most = max(most, sum(_most_bytes(chunk, source, group) for chunk in chunks))
    return most


def _most_bytes(chunk: ColumnChunk, source: BinaryIO, group: int) -> int:
    has_length = chunk.physical_type in (BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY)
    if "." not in chunk.path:
        return chunk.uncompressed if has_length else FIXED_BYTES
    if not has_length or not chunk.dictionary_at:
        return chunk.uncompressed * has_length + chunk.n_values * FIXED_BYTES
    if chunk.physical_type == BYTE_ARRAY and chunk.n_values * chunk.uncompressed > _SMALL_BYTES:
        return chunk.n_values * _longest(source, group, chunk.path) + chunk.uncompressed
    return chunk.n_values * chunk.uncompressed


def bytes_of_rows(source: BinaryIO, groups: Sequence[int], columns: Sequence[str]) -> Bytes:
    """What each row of these row groups has in these columns; int64, shape (rows,).

    Raises:
        pyarrow.ArrowException, OSError: a column cannot be read.
    """
    import pyarrow.parquet as pq

    chunks = [chunk for group in row_groups(source) for chunk in group.chunks]
    texts = sorted({chunk.path for chunk in chunks if chunk.physical_type == BYTE_ARRAY})
    found = [np.zeros(0, np.int64)]
    with pq.ParquetFile(pa.PythonFile(source, mode="r"), read_dictionary=texts) as file:
        n_rows = rows_at_once(source, groups, columns, most=1024)
        for batch in file.iter_batches(batch_size=n_rows, row_groups=groups, columns=columns, use_threads=False):
            found.append(sum(map(row_bytes, batch.select(columns).columns), np.zeros(len(batch), np.int64)))
    return np.concatenate(found)


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
    import pyarrow.compute as pc

    for batch in _with_dictionary(source, group, column, rows=1024):
        for values in _leaves(batch.column(0)):
            found = values.dictionary if pa.types.is_dictionary(values.type) else values
            if len(found):  # it is empty before the first value
                return int(pc.max(pc.binary_length(found)).as_py() or 0)
    return 0


def _longest_row(source: BinaryIO, group: int, column: str, most: int) -> int:
    """The bytes of the longest row of a column of lists; of the mean row where `most` of them have room at once.

    Raises:
        pyarrow.ArrowInvalid: a row has more than `MOST_BYTES`.
    """
    longest = 0
    for batch in _with_dictionary(source, group, column, rows=most):
        rows = row_bytes(batch.column(0))
        n_bytes = int(rows.sum())
        longest = max(longest, n_bytes // max(1, len(rows)) if n_bytes <= BYTES_AT_ONCE else int(rows.max()))
    if longest > MOST_BYTES:
        raise pa.ArrowInvalid(f"a row has {longest:,} bytes in the column {column!r}, more than {MOST_BYTES:,}")
    return longest


def _with_dictionary(source: BinaryIO, group: int, column: str, *, rows: int) -> Iterator[pa.RecordBatch]:
    """A column in batches in which each value of its dictionary stands once."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.PythonFile(source, mode="r"), read_dictionary=[column]) as file:
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=[column], use_threads=False)


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The values in lists, maps and structs at any depth."""
    if pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _leaves(field)
    elif pa.types.is_nested(array.type):
        yield from _leaves(array.flatten())
    else:
        yield array
