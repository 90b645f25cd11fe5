"""Check finished token shards: ids, framing tokens, rows, sizes and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.tokens import (
    TokenManifest,
    TokenShardInfo,
    open_tokens,
    read_rows,
    read_token_manifest,
    rows_path,
)
from dolma.errors import DataError

_TOGETHER = 1 << 24  # ids looked at together


def verify_tokens(folder: str) -> list[str]:
    """The problems found in a folder of token shards, each a line that begins with the file; empty when all is well.

    Of each shard: size and checksum are those of `tokens.json`; ids are in the vocabulary; rows follow each other
    from the first token to the last; every document ends with the end-of-text token, begins with the begin token if
    there is one, and has no further end-of-text token unless texts were allowed to.
    """
    try:
        manifest = read_token_manifest(folder)
    except DataError as error:
        return [_line(error)]
    if not manifest.shards:
        return [f"{folder}: no shards"]
    return [problem for info in manifest.shards for problem in _check(streams.join(folder, info.path), info, manifest)]


def _line(error: DataError) -> str:
    return str(error).split("\n")[0]


def _check(path: str, info: TokenShardInfo, manifest: TokenManifest) -> Iterator[str]:
    try:
        with streams.local_copy(path) as local:
            ids = open_tokens(local, manifest.dtype)
            yield from _check_ids(path, ids, info, manifest)
            if streams.checksum(local) != info.xxh3:
                yield f"{path}: its bytes have changed (xxh3 differs from tokens.json)"
            yield from _check_rows(path, ids, read_rows(path), info, manifest)
    except FileNotFoundError:
        yield f"{path}: no such file"
    except DataError as error:
        yield _line(error)


def _check_ids(path: str, ids: npt.NDArray[Any], info: TokenShardInfo, manifest: TokenManifest) -> Iterator[str]:
    if (len(ids), ids.nbytes) != (info.tokens, info.bytes):
        yield f"{path}: {len(ids):,} tokens in {ids.nbytes:,} bytes, tokens.json says {info.tokens:,} in {info.bytes:,}"
    n_ends = 0
    for start in range(0, len(ids), _TOGETHER):
        some = ids[start : start + _TOGETHER]
        n_ends += int(np.count_nonzero(some == manifest.eos_id))
        if int(some.max()) >= manifest.vocab_size:
            at = int(np.argmax(some >= manifest.vocab_size))
            yield f"{path}: id {some[at]} at {start + at:,} is outside the vocabulary of {manifest.vocab_size:,}"
            return
    framing = 2 if manifest.bos_id == manifest.eos_id else 1
    if n_ends != framing * info.documents and not manifest.special_tokens_allowed:
        yield f"{path}: {n_ends:,} end-of-text tokens in {info.documents:,} documents"


def _check_rows(
    path: str, ids: npt.NDArray[Any], rows: pa.Table, info: TokenShardInfo, manifest: TokenManifest
) -> Iterator[str]:
    starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
    if len(rows) != info.documents:
        yield f"{rows_path(path)}: {len(rows):,} rows, tokens.json says {info.documents:,} documents"
    odd = np.flatnonzero((starts != np.concatenate([[0], ends[:-1]])) | (starts >= ends) | (ends > len(ids)))
    if len(odd):
        i = int(odd[0])
        where, what = f"{rows_path(path)}:{i + 1}", f"tokens {starts[i]:,} to {ends[i]:,}"
        yield f"{where}: {what} do not follow the row before, or leave the shard"
        return
    if len(rows) and ends[-1] != len(ids):
        yield f"{rows_path(path)}: its rows end at token {ends[-1]:,} of {len(ids):,}"
    for at, id, which in ((starts, manifest.bos_id, "begin"), (ends - 1, manifest.eos_id, "end")):
        if id is not None and np.any(ids[at] != id):
            i = int(np.argmax(ids[at] != id))
            yield f"{path}: document {rows['id'][i].as_py()!r} (row {i + 1}) does not {which} with token {id}"
