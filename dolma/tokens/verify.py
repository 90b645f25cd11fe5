"""Check finished token shards: ids, framing tokens, rows, sizes and checksums."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.manifest import Manifest, differences
from dolma.data.tokens import (
    TokenManifest,
    TokenShardInfo,
    is_padding,
    parquet_path,
    read_csv_rows,
    read_rows,
    read_token_manifest,
    rows_file,
    rows_path,
)
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizer_facts import read_facts
from dolma.runner.ledger import Ledger
from dolma.tokens.formats.table import format_of, read_ids

_TOGETHER = 1 << 24  # ids looked at together


def verify_tokens(folder: str) -> list[str]:
    """The problems found in a folder of token shards, each a line that begins with the file; empty when all is well.

    Of each shard: size and checksum are those of `tokens.json`; ids are in the vocabulary; rows follow each other
    from the first token to the last, and are the same in parquet and csv.gz; every document ends with the end-of-text
    token, begins with the begin token if there is one, and has no further end-of-text token unless texts were allowed
    to; of one that is cut, all parts follow each other; the tokens of one that was taken down are padding.
    """
    try:
        manifest = read_token_manifest(folder)
    except DataError as error:
        return [_line(error)]
    if not manifest.shards:
        return [f"{folder}: no shards"]
    found: list[str] = []
    parts: list[pa.Table] = []
    for info in manifest.shards:
        found += _check(streams.join(folder, info.path), info, manifest, parts)
    return [*found, *_check_parts(folder, parts)]


def _line(error: DataError) -> str:
    return str(error).split("\n")[0]


def _check(path: str, info: TokenShardInfo, manifest: TokenManifest, parts: list[pa.Table]) -> Iterator[str]:
    """The problems of a shard; `parts` gets its rows of documents that are cut."""
    try:
        with streams.local_copy(path) as local:
            ids = read_ids(local, manifest)
            n_ends = yield from _check_ids(path, ids, info, manifest)
            if streams.checksum(local) != info.xxh3:
                yield f"{path}: its bytes have changed (xxh3 differs from tokens.json)"
            rows = read_rows(path)
            yield from _check_rows(path, ids, rows, n_ends, info, manifest)
            parts.append(rows.filter(pc.greater(rows["parts"], 1)))
    except FileNotFoundError:
        yield f"{path}: no such file"
    except DataError as error:
        yield _line(error)


def _check_ids(
    path: str, ids: npt.NDArray[Any], info: TokenShardInfo, manifest: TokenManifest
) -> Generator[str, None, int]:
    """Returns the number of end-of-text tokens."""
    size = streams.size(path)
    if (len(ids), size) != (info.tokens, info.bytes):
        yield f"{path}: {len(ids):,} tokens in {size:,} bytes, tokens.json says {info.tokens:,} in {info.bytes:,}"
    n_ends = 0
    for start in range(0, len(ids), _TOGETHER):
        some = ids[start : start + _TOGETHER]
        n_ends += int(np.count_nonzero(some == manifest.eos_id))
        if int(some.max()) >= manifest.vocab_size:
            at = int(np.argmax(some >= manifest.vocab_size))
            yield f"{path}: id {some[at]} at {start + at:,} is outside the vocabulary of {manifest.vocab_size:,}"
            break
    return n_ends


def _check_rows(
    path: str, ids: npt.NDArray[Any], rows: pa.Table, n_ends: int, info: TokenShardInfo, manifest: TokenManifest
) -> Iterator[str]:
    first = rows["part"].to_numpy() == 0
    last = rows["part"].to_numpy() + 1 == rows["parts"].to_numpy()
    framing = int(np.count_nonzero(last)) + (manifest.bos_id == manifest.eos_id) * int(np.count_nonzero(first))
    padded = rows.filter(pa.array(is_padding(rows))).select(["start", "end"]).to_pylist()
    if manifest.filler == manifest.eos_id:
        n_ends -= sum(row["end"] - row["start"] - 1 - (manifest.bos_id == manifest.eos_id) for row in padded)
    for start, end in ((row["start"], row["end"]) for row in padded):
        if not 0 <= start < end <= len(ids) or not np.array_equal(ids[start:end], manifest.padding(end - start)):
            yield f"{path}: tokens {start:,} to {end:,} are of no document, and are no padding"
            return
    if n_ends != framing and not manifest.special_tokens_allowed:
        yield f"{path}: {n_ends:,} end-of-text tokens in {np.count_nonzero(last):,} documents"
    where = rows_file(path)
    if where != rows_path(path) and streams.exists(rows_path(path)):
        yield from _check_csv(path, rows)
    starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
    if len(rows) != info.rows:
        yield f"{where}: {len(rows):,} rows, tokens.json says {info.rows:,}"
    odd = np.flatnonzero((starts != np.concatenate([[0], ends[:-1]])) | (starts >= ends) | (ends > len(ids)))
    if len(odd):
        i = int(odd[0])
        what = f"tokens {starts[i]:,} to {ends[i]:,}"
        yield f"{where}:{i + 1}: {what} do not follow the row before, or leave the shard"
        return
    if len(rows) and ends[-1] != len(ids):
        yield f"{where}: its rows end at token {ends[-1]:,} of {len(ids):,}"
    own = format_of(manifest).counts(path, manifest.dtype)
    if own is not None and not np.array_equal(own, ends - starts):
        yield f"{path}: documents are of other lengths by the index of its format than by its rows"
    for some, at, id, which in ((first, starts, manifest.bos_id, "begin"), (last, ends - 1, manifest.eos_id, "end")):
        if id is not None and np.any(wrong := some & (ids[at] != id)):
            i = int(np.argmax(wrong))
            yield f"{path}: document {rows['id'][i].as_py()!r} (row {i + 1}) does not {which} with token {id}"
    if info.source is not None and not pc.all(pc.equal(rows["source"], info.source)).as_py():
        yield f"{where}: has rows of other sources than {info.source!r}, which tokens.json says"


def _check_csv(path: str, rows: pa.Table) -> Iterator[str]:
    names = ["start", "end", "id", "path", "line"]
    if not rows.select(names).equals(read_csv_rows(path, only=names)):
        yield f"{rows_path(path)}: its rows are not those of {os.path.basename(parquet_path(path))}"


def _check_parts(folder: str, tables: Sequence[pa.Table]) -> Iterator[str]:
    """Whether the parts of each document that is cut are all there, one after the other."""
    rows = pa.concat_tables(tables) if tables else None
    if rows is None or not len(rows):
        return
    due: tuple[Any, ...] | None = None  # the part that has to come next, of which document; None: a first one
    for row in rows.to_pylist():
        document = (row["path"], row["line"], row["id"], row["parts"])
        if (row["part"], row["offset"]) != (0, 0) if due is None else (row["part"], row["offset"], document) != due:
            yield (
                f"{folder}: part {row['part'] + 1} of {row['parts']} of document {row['id']!r} does not follow the one "
                "before"
            )
            return
        going_on = row["part"] + 1 < row["parts"]
        due = (row["part"] + 1, row["offset"] + row["end"] - row["start"], document) if going_on else None
    if due is not None:
        yield f"{folder}: document {due[2][2]!r} has {due[0]} of {due[2][3]} parts"


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest, `tokens.json` and the tokenizer beside it does not fit."""
    tokens, config, out = read_token_manifest(folder), manifest.config, ledger.total().written
    yield from differences(
        "tokens.json",
        shards=(
            sorted(out.path for out in manifest.outputs if out.path.endswith(format_of(tokens).suffix)),
            sorted(shard.path for shard in tokens.shards),
        ),
        tokenizer=(config["tokenizer_sha256"], tokens.tokenizer_sha256),
        dtype=(config["dtype"], tokens.dtype),
        shuffle=(config["shuffle"], tokens.shuffle),
        format=(config.get("format", "dolma"), tokens.format),
        seed=(config["seed"] or 0, tokens.seed),
        allow_special_tokens=(config["allow_special_tokens"], tokens.special_tokens_allowed),
    )
    padding = padding_of(manifest)
    n_documents = sum(shard.documents for shard in tokens.shards) - padding["documents"]
    yield from differences(
        "tokens.json",
        **{
            "number of tokens in the ledger": (out.tokens, tokens.tokens - padding["tokens"]),
            "number of documents in the ledger": (out.documents, n_documents),
        },
    )
    yield from _of_tokenizer(streams.join(folder, tokens.tokenizer), config, tokens)


def padding_of(manifest: Manifest) -> dict[str, int]:
    """How many documents of the shards are padding, and their tokens, as a take-down has noted."""
    return {"documents": 0, "tokens": 0} | manifest.notes.get("takedown", {}).get("padding", {})


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
