"""What the footer of a parquet file says of its row groups, read by us.

pyarrow ends the whole process where the metadata of one column of a damaged footer is asked for. A footer is a struct
of Thrift's compact protocol (parquet.thrift of the format: `FileMetaData`, `RowGroup`, `ColumnMetaData`).
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = 6, 7
"""The physical types of texts and bytes."""
_MAGIC_BYTES, _TAIL = 4, 8
_MOST_DEPTH = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


class ColumnChunk(NamedTuple):
    """A column of a row group; `physical_type` by the format's numbers. `dictionary_at` is 0 where there is none."""

    physical_type: int
    path: str
    n_values: int
    uncompressed: int
    compressed: int
    dictionary_at: int


class RowGroup(NamedTuple):
    """A row group and its columns."""

    n_rows: int
    chunks: list[ColumnChunk]


def row_groups(source: BinaryIO) -> list[RowGroup]:
    """The row groups of a parquet file.

    Raises:
        pyarrow.ArrowInvalid: the footer is damaged.
    """
    end = source.seek(0, io.SEEK_END)
    source.seek(max(0, end - _TAIL))
    size = int.from_bytes(source.read(_TAIL - _MAGIC_BYTES), "little")
    if size + _TAIL > end:
        raise pa.ArrowInvalid(f"its footer has {size:,} bytes, and the file {end:,}")
    source.seek(end - _TAIL - size)
    try:
        return [_row_group(group) for group in _Reader(source.read(size)).struct()[4]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise pa.ArrowInvalid("its footer is damaged") from error


def _row_group(group: dict[int, Any]) -> RowGroup:
    return RowGroup(n_rows=max(0, group[3]), chunks=[_chunk(column[3]) for column in group[1]])


def _chunk(facts: dict[int, Any]) -> ColumnChunk:
    return ColumnChunk(
        physical_type=facts[1],
        path=b".".join(facts[3]).decode(),
        n_values=max(0, facts[5]),
        uncompressed=max(0, facts[6]),
        compressed=max(0, facts[7]),
        dictionary_at=max(0, facts.get(11, 0)),
    )


class _Reader:
    """Reads values of Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a struct by number."""
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deep")
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._item(kind, depth)
        return found

    def _item(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind == _MAP:
            self._map(depth)
            return None
        if kind == _STRUCT:
            return self.struct(depth + 1)
        return self._zigzag()

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4 if head >> 4 != 15 else self._varint()
        if size > len(self._data):
            raise ValueError("a list longer than the footer")
        return [self._item(head & 15, depth) for _ in range(size)]

    def _map(self, depth: int) -> None:
        size = self._varint()
        if size > len(self._data):
            raise ValueError("a map longer than the footer")
        kinds = self._byte() if size else 0
        for _ in range(size):
            self._item(kinds >> 4, depth)
            self._item(kinds & 15, depth)

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, n: int) -> bytes:
        if n > len(self._data) - self._at:
            raise ValueError("a value longer than the footer")
        self._at += n
        return self._data[self._at - n : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
            if shift > 70:
                raise ValueError("a number of more than 64 bits")

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)
