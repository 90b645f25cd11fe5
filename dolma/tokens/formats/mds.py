"""MosaicML's MDS (`mosaicml-streaming`): a sample for each document, its ids in the column `tokens`.

A shard has: uint32 number of samples; uint32 byte at which each begins, and after the last one; the description of the
columns as JSON; the samples. A sample has the uint32 size of its one column, then an array of NumPy with its shape: a
byte (one dimension, sizes of 4 bytes), the uint32 number of ids, and the ids. `index.json` in the folder lists the
shards; of shards grouped by source each folder has one. Read from mosaicml-streaming 0.13 (`base/format/mds`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.tokens import Dtype, IdsFile, TokenManifest, little_endian
from dolma.errors import DataError
from dolma.tokens.formats.format import Counts, TokenFormat

INDEX = "index.json"
_SHAPE = np.frombuffer(bytes([1 << 2 | 2]), "u1")  # one dimension, of uint32
_HEAD = 9  # bytes of a sample before its ids: the size of the column, the byte of the shape, the number of ids
_MOST = 1 << 32


def _config(dtype: str) -> dict[str, Any]:
    return {
        "column_encodings": [f"ndarray:{dtype}"],
        "column_names": ["tokens"],
        "column_sizes": [None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": None,
        "version": 2,
    }


class MdsIds:
    """Ids as samples; the sizes of all documents are known before."""

    def __init__(self, path: str, dtype: Dtype, counts: Counts) -> None:
        self._file, self._itemsize, self._counts = streams.open_output(path), little_endian(dtype).itemsize, counts
        self._dtype = dtype

    @property
    def written(self) -> list[streams.Written]:
        """The file."""
        return [self._file.written] if self._file.written is not None else []

    def __enter__(self) -> Self:
        self._file.__enter__()
        config = json.dumps(_config(self._dtype), sort_keys=True).encode()
        n = len(self._counts)
        sizes = self._counts * self._itemsize + _HEAD
        bounds = 4 + 4 * (n + 1) + len(config) + np.concatenate([[0], np.cumsum(sizes)])
        if int(bounds[-1]) >= _MOST:
            raise DataError(
                f"would have {int(bounds[-1]):,} bytes, and a shard of MDS may have {_MOST - 1:,}"
                "\n  give a smaller `--max-tokens-per-shard`",
                file=self._file.path,
            )
        for part in (np.array([n], "<u4").tobytes(), bounds.astype("<u4").tobytes(), config):
            self._file.write(part)
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)

    def write(self, ids: Sequence[bytes | memoryview], *, counts: Counts, rows: pa.Table) -> None:
        """Append documents."""
        values = np.concatenate([np.frombuffer(some, "u1") for some in ids])
        sizes = counts * self._itemsize
        ends = np.cumsum(sizes)
        heads = np.zeros((len(counts), _HEAD), "u1")
        heads[:, :4] = (sizes + _HEAD - 4).astype("<u4").view("u1").reshape(-1, 4)
        heads[:, 4:5] = _SHAPE
        heads[:, 5:] = counts.astype("<u4").view("u1").reshape(-1, 4)
        samples = [part for head, some in zip(heads, np.split(values, ends[:-1]), strict=True) for part in (head, some)]
        self._file.write(np.concatenate(samples).tobytes())

    def end(self) -> None:
        """All is written."""


def _open(path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile:
    assert counts is not None
    return MdsIds(path, dtype, counts)


def _samples(path: str, itemsize: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of a shard, and where its samples begin and end."""
    encoded = np.frombuffer(streams.read_bytes(path), "u1")
    n = int(encoded[:4].view("<u4")[0]) if len(encoded) >= 4 else 0
    bounds = encoded[4 : 8 + 4 * n].view("<u4").astype(np.int64) if len(encoded) >= 8 + 4 * n else np.zeros(0, np.int64)
    n_bytes = np.diff(bounds) - _HEAD
    if len(bounds) != n + 1 or bounds[-1] != len(encoded) or np.any(n_bytes < 0) or np.any(n_bytes % itemsize):
        raise DataError("is no shard of MDS with ids\n  copy the folder of shards again", file=path)
    return encoded, bounds


def _ids(path: str, dtype: Dtype) -> npt.NDArray[Any]:
    encoded, bounds = _samples(path, little_endian(dtype).itemsize)
    kept = np.ones(len(encoded), dtype=bool)
    kept[: bounds[0]] = False
    for at in range(_HEAD):
        kept[bounds[:-1] + at] = False
    return encoded[kept].view(little_endian(dtype))


def _counts(path: str, dtype: Dtype) -> Counts:
    itemsize = little_endian(dtype).itemsize
    _, bounds = _samples(path, itemsize)
    return (np.diff(bounds) - _HEAD) // itemsize


def _describe(folder: str, manifest: TokenManifest) -> list[str]:
    written = []
    for home in sorted({os.path.dirname(info.path) for info in manifest.shards}):
        mine = [info for info in manifest.shards if os.path.dirname(info.path) == home]
        shards = [
            {
                **_config(manifest.dtype),
                "raw_data": {"basename": os.path.basename(info.path), "bytes": info.bytes, "hashes": {}},
                "samples": info.rows,
                "zip_data": None,
            }
            for info in mine
        ]
        path = streams.join(home, INDEX) if home else INDEX
        encoded = json.dumps({"shards": shards, "version": 2}, sort_keys=True)
        streams.write_bytes(streams.join(folder, path), encoded.encode())
        written.append(path)
    return written


FORMAT = TokenFormat(
    name="mds",
    suffix=".mds",
    open=_open,
    ids=_ids,
    counts=_counts,
    describe=_describe,
    needs_counts=True,
)
