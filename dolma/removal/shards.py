"""Token shards: a document's tokens become padding in their place, or the shard is written again without them.

Padding keeps every other token where it was, so that a training run on the shards goes on, and can be traced. The row
of such a document, or of each part of one that is cut, has no id, no file and line 0, and stands alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data import streams
from dolma.data.streams import Written
from dolma.data.tokens import (
    PADDING,
    TokenManifest,
    TokenShardInfo,
    TokenShardWriter,
    open_tokens,
    parquet_path,
    read_rows,
    rows_path,
)
from dolma.removal.commit import Staging
from dolma.training.data.shards import mask_path

How = Literal["pad", "rewrite"]
_ROWS = 1 << 14  # written together


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The documents of a shard that go: row numbers from 0, ids, and by file and line of each its tokens."""

    rows: list[int]
    ids: set[str]
    tokens: dict[tuple[str, int], int]


def gone_of(path: str, ids: set[str]) -> Gone:
    """The documents of these ids in a shard; of one that was cut, each part has a row."""
    names = read_rows(path, only=["id"])["id"].to_pylist()
    found = [i for i, id in enumerate(names) if id in ids]
    tokens: dict[tuple[str, int], int] = {}
    for row in read_rows(path).take(found).to_pylist() if found else ():
        place = row["path"], row["line"]
        tokens[place] = tokens.get(place, 0) + row["end"] - row["start"]
    return Gone(rows=found, ids={names[i] for i in found}, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShard:
    """A shard as it is to be; `info` None where nothing of it is left. `files` are those that were staged, by path."""

    info: TokenShardInfo | None
    files: Mapping[str, Written]


def without_documents(
    folder: str, info: TokenShardInfo, manifest: TokenManifest, gone: Gone, staging: Staging, *, how: How
) -> NewShard:
    """A shard, its rows and the mask beside it, without some documents; staged."""
    path = streams.join(folder, info.path)
    rows = read_rows(path)
    if how == "rewrite" and len(gone.rows) == len(rows):
        for one in filter(streams.exists, files_of(path)):
            staging.remove(one)
        return NewShard(info=None, files={})
    mask = np.zeros(len(rows), dtype=bool)
    mask[gone.rows] = True
    ids = open_tokens(path, manifest.dtype)
    out = staging.place(path)
    with TokenShardWriter(os.path.dirname(out), os.path.basename(out), source=info.source) as writer:
        for first in range(0, len(rows), _ROWS):
            _write(writer, ids, rows.slice(first, _ROWS), mask[first : first + _ROWS], manifest, how)
    assert writer.info is not None
    files = {path: Written(path=path, bytes=writer.info.bytes, checksum=writer.info.xxh3)}
    for one, written in zip((rows_path(path), parquet_path(path)), writer.rows_written, strict=True):
        if streams.exists(one):
            staging.place(one)
            files[one] = written
        else:  # of shards of others
            streams.remove(written.path)
    if streams.exists(mask_path(path)):
        files[mask_path(path)] = _mask(path, rows, mask, staging, how)
    before = [*info.earlier, info.xxh3] if how == "pad" else msgspec.UNSET
    return NewShard(info=msgspec.structs.replace(writer.info, path=info.path, before=before), files=files)


def files_of(path: str) -> tuple[str, ...]:
    """A shard and what may lie beside it."""
    return path, rows_path(path), parquet_path(path), mask_path(path)


def _write(
    writer: TokenShardWriter,
    ids: npt.NDArray[Any],
    rows: pa.Table,
    gone: npt.NDArray[np.bool_],
    manifest: TokenManifest,
    how: How,
) -> None:
    starts, ends = rows["start"].to_pylist(), rows["end"].to_pylist()

    def parts() -> Iterator[memoryview]:
        for i, start, end in zip(range(len(rows)), starts, ends, strict=True):
            if not gone[i]:
                yield np.ascontiguousarray(ids[start:end]).data.cast("B")
            elif how == "pad":
                yield manifest.padding(end - start).data.cast("B")

    chosen = np.arange(len(rows)) if how == "pad" else np.flatnonzero(~gone)
    if len(chosen):
        counts = [ends[i] - starts[i] for i in chosen.tolist()]
        writer.write(parts(), counts=counts, rows=_anonymous(rows, gone).take(pa.array(chosen)))


_OF_PADDING = {**PADDING, "part": 0, "parts": 1, "offset": 0}


def _anonymous(rows: pa.Table, gone: npt.NDArray[np.bool_]) -> pa.Table:
    """The rows, of which some say nothing of their document any more but its source."""
    mask, columns = pa.array(gone), {}
    for name in rows.column_names:
        column = rows[name]
        if name in _OF_PADDING:
            column = pc.if_else(mask, pa.scalar(_OF_PADDING[name], column.type), column)
        columns[name] = column
    return pa.table(columns)


def _mask(path: str, rows: pa.Table, gone: npt.NDArray[np.bool_], staging: Staging, how: How) -> Written:
    """Which tokens are learnt: of padding none."""
    with open(mask_path(path), "rb") as file:
        learnt = np.frombuffer(file.read(), dtype=np.uint8).copy()
    kept = np.ones(len(learnt), dtype=bool)
    for i in np.flatnonzero(gone).tolist():
        start, end = rows["start"][i].as_py(), rows["end"][i].as_py()
        learnt[start:end], kept[start:end] = 0, how == "pad"
    with ExitStack() as stack:
        out = stack.enter_context(streams.RawOutput(staging.place(mask_path(path))))
        out.write(learnt[kept])
    assert out.written is not None
    return out.written
