"""Token shards: a document's tokens become padding in their place, or the shard is written again without them.

Padding keeps every other token where it was, so that a training run on the shards goes on, and can be traced. The row
of such a document has no id, no file and line 0.
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

from dolma.data import streams
from dolma.data.streams import Written
from dolma.data.tokens import (
    PADDING,
    TokenManifest,
    TokenShardInfo,
    TokenShardWriter,
    open_tokens,
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
        place = row["src"], row["loc"]
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
        for one in filter(streams.exists, (path, rows_path(path), mask_path(path))):
            staging.remove(one)
        return NewShard(info=None, files={})
    mask = np.zeros(len(rows), dtype=bool)
    mask[gone.rows] = True
    ids = open_tokens(path, manifest.dtype)
    out = staging.place(path)
    staging.place(rows_path(path))
    with TokenShardWriter(out) as writer:
        for first in range(0, len(rows), _ROWS):
            _write(writer, ids, rows.slice(first, _ROWS), mask[first : first + _ROWS], manifest, how)
    assert writer.info is not None and writer.rows_written is not None
    shard = Written(path=path, bytes=writer.info.bytes, checksum=writer.info.xxh3)
    files = {path: shard, rows_path(path): writer.rows_written}
    if streams.exists(mask_path(path)):
        files[mask_path(path)] = _mask(path, rows, mask, staging, how)
    before = [*info.before, info.xxh3] if how == "pad" else []
    return NewShard(info=msgspec.structs.replace(writer.info, before=before), files=files)


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

    names, sources, lines = (rows[name].to_pylist() for name in ("id", "src", "loc"))
    for i in np.flatnonzero(gone).tolist():
        names[i], sources[i], lines[i] = PADDING, "", 0
    chosen = list(range(len(rows))) if how == "pad" else np.flatnonzero(~gone).tolist()
    if chosen:
        writer.write(
            parts(),
            counts=[ends[i] - starts[i] for i in chosen],
            names=[names[i] for i in chosen],
            sources=[sources[i] for i in chosen],
            lines=[lines[i] for i in chosen],
        )


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


def is_beside(path: str, info: TokenShardInfo) -> bool:
    """Whether a file is that of a shard, of its rows or of its mask."""
    name = os.path.basename(path)
    return name in (info.path, rows_path(info.path), mask_path(info.path))
