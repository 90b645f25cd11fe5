"""Parquet for Hugging Face's `datasets`: a row for each document, its ids in `input_ids`, and the columns of `ROWS`.

The ids are int32, which torch has and uint16 is not everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data import streams
from dolma.data.columns import array_of
from dolma.data.parquet import open_parquet
from dolma.data.tokens import ROWS, Dtype, IdsFile, ParquetRows, little_endian
from dolma.errors import DataError
from dolma.printable import printable
from dolma.tokens.formats.format import Counts, TokenFormat

SCHEMA = ROWS.append(pa.field("input_ids", pa.large_list(pa.int32())))


class ParquetIds:
    """Ids and rows in one file."""

    def __init__(self, path: str, dtype: Dtype) -> None:
        self._file, self._kind = ParquetRows(path, SCHEMA), little_endian(dtype)

    @property
    def written(self) -> list[streams.Written]:
        """The file."""
        return [self._file.written] if self._file.written is not None else []

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)

    def write(self, ids: Sequence[bytes | memoryview], *, counts: Counts, rows: pa.Table) -> None:
        """Append documents."""
        values = np.concatenate([np.frombuffer(some, self._kind) for some in ids]).astype(np.int32)
        bounds = array_of(np.concatenate([[0], np.cumsum(counts)]))
        lists = pa.LargeListArray.from_arrays(bounds, array_of(values))
        self._file.write(rows.append_column("input_ids", lists), n_bytes=4 * counts)

    def end(self) -> None:
        """Write what is held."""
        self._file.end()


def _open(path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile:
    return ParquetIds(path, dtype)


def _lists(path: str) -> pa.ChunkedArray:
    with open_parquet(path) as file:
        try:
            return file.read(columns=["input_ids"], use_threads=False)["input_ids"]
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(
                f"corrupt parquet file: {printable(error)}\n  copy or write the file again", file=path
            ) from error


def _ids(path: str, dtype: Dtype) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = pc.list_flatten(_lists(path)).to_numpy()
    return found.astype(little_endian(dtype))


def _counts(path: str, dtype: Dtype) -> Counts:
    return pc.list_value_length(_lists(path)).to_numpy().astype(np.int64)


FORMAT = TokenFormat(name="parquet", suffix=".parquet", open=_open, ids=_ids, counts=_counts, parquet=False)
