"""Check finished token shards: ids, framing tokens, rows, sizes and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.manifest import Manifest, differences
from dolma.data.tokens import (
    TokenManifest,
    TokenShardInfo,
    open_tokens,
    read_rows,
    read_token_manifest,
    rows_path,
)
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizer_facts import read_facts
from dolma.runner.ledger import Ledger

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


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest, `tokens.json` and the tokenizer beside it does not fit."""
    tokens, config, out = read_token_manifest(folder), manifest.config, ledger.total().out
    yield from differences(
        "tokens.json",
        shards=(
            sorted(out.path for out in manifest.outputs if out.path.endswith(".npy")),
            sorted(shard.path for shard in tokens.shards),
        ),
        tokenizer=(config["tokenizer_sha256"], tokens.tokenizer_sha256),
        dtype=(config["dtype"], tokens.dtype),
        shuffle=(config["shuffle"], tokens.shuffle),
        seed=(config["seed"] or 0, tokens.seed),
        allow_special_tokens=(config["allow_special_tokens"], tokens.special_tokens_allowed),
    )
    yield from differences(
        "tokens.json",
        **{
            "number of tokens in the ledger": (out.tokens, tokens.tokens),
            "number of documents in the ledger": (out.documents, sum(shard.documents for shard in tokens.shards)),
        },
    )
    yield from _of_tokenizer(streams.join(folder, tokens.tokenizer), config, tokens)


def _of_tokenizer(path: str, config: dict[str, Any], tokens: TokenManifest) -> Iterator[str]:
    try:
        facts = read_facts(TokenizeConfig(tokenizer=path, eos=config["eos"], bos=config["bos"], dtype=config["dtype"]))
    except ConfigError as error:
        yield str(error).split("\n")[0]
        return
    said = {key: getattr(tokens, key) for key in ("vocab_size", "eos_id", "bos_id", "pad_id")}
    for key, value in {"sha256": tokens.tokenizer_sha256, **said}.items():
        if getattr(facts, key) != value:
            yield f"tokens.json says that {key} is {value!r}, of {tokens.tokenizer} it is {getattr(facts, key)!r}"
