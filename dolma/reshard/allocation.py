"""How much of each source goes in, by the allocation of `dolma mix` (`mixers/sampling.py`) with tokens as the unit.

Supplies are what `tokens.json` of each folder tells. A sample is of whole documents, those with the smallest keys: the
parts of a document that was cut have one key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import MixConfig
from dolma.data.exchange import RunFile, RunWriter, Table, read_in_order
from dolma.data.tokens import is_padding
from dolma.errors import ConfigError
from dolma.mixers.sampling import (
    Candidates,
    Cut,
    Quota,
    Supply,
    check_sources,
    document_keys,
    find_cuts,
    quotas,
    with_weights,
)
from dolma.reshard.folders import Folders, ShardFile, documents_in
from dolma.runner.progress import advance
from dolma.runner.task import TaskResult

CANDIDATES = Table(
    name="candidates",
    schema=pa.schema([("key", pa.uint64()), ("line", pa.int64()), ("tokens", pa.int64()), ("ends", pa.bool_())]),
)
_TOGETHER = 1 << 16  # rows
_FLAGS = {"share": "--share", "repeat": "--repeat", "max_repeat": "--max-repeat"}


def quotas_of(folders: Folders, config: MixConfig) -> dict[str, Quota]:
    """What is asked of each source, in order of the folders.

    Raises:
        ConfigError: shares make no sense, or a source has too little.
    """
    supplies = {
        source: Supply.sum(_supply(shard) for shard in folders.shards if shard.source == source)
        for source in folders.sources
    }
    try:
        config = with_weights(config)
        check_sources(config)
        found = quotas(config, supplies, seen=folders.sources, when="in its shards")
    except ConfigError as error:
        key, _, _ = error.path.removeprefix("$.mix.").partition(".")
        said = _FLAGS.get(error.path.rpartition(".")[2], "--share") if key == "sources" else f"--{key}"
        raise ConfigError(error.message, path=said if error.path else "") from error
    if not any(quota.asked for quota in found.values()):
        raise ConfigError("nothing of any source is asked for\n  give one of them `--share` or `--repeat` above 0")
    return {source: found[source] for source in folders.sources if source in found}


def _supply(shard: ShardFile) -> Supply:
    """The documents of a shard; padding, which is in shards that were others before, is none."""
    documents, tokens = shard.info.documents, shard.info.tokens
    if shard.info.earlier:
        rows = shard.rows()
        padding = is_padding(rows)
        documents -= int(padding.sum())
        tokens -= int((rows["end"].to_numpy() - rows["start"].to_numpy())[padding].sum())
    return Supply(documents=documents, bytes=0, tokens=tokens)


def keys_of(shard: ShardFile, rows: pa.Table, *, seed: int) -> npt.NDArray[np.uint64]:
    """The place of each row's document in the sampling order of its source; uint64, shape `(n_rows,)`."""
    return row_keys(rows, [shard.source] * len(rows), seed=seed)


def row_keys(rows: pa.Table, sources: Sequence[str], *, seed: int) -> npt.NDArray[np.uint64]:
    """A number of each row's document, by seed, source, id, file and line; uint64, uniform, shape `(n_rows,)`."""
    keys = np.empty(len(rows), np.uint64)
    paths = rows["path"].combine_chunks().dictionary_encode()
    names, lines, of = rows["id"].to_pylist(), rows["line"].to_pylist(), paths.indices.to_numpy()
    for number, path in enumerate(paths.dictionary.to_pylist()):
        mine = np.flatnonzero(of == number).tolist()
        keys[mine] = document_keys(
            [names[i] for i in mine], [sources[i] for i in mine], [lines[i] for i in mine], shard=path, seed=seed
        )
    return keys


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawShard:
    """Draws the keys of a shard's documents. Called with (number of the shard, shard)."""

    work: str
    seed: int

    def __call__(self, spec: tuple[int, ShardFile]) -> TaskResult:
        number, shard = spec
        rows = shard.rows()
        rows = rows.filter(pa.array(~is_padding(rows)))
        sizes = rows["end"].to_numpy() - rows["start"].to_numpy()
        columns = [keys_of(shard, rows, seed=self.seed), rows["line"].to_numpy(), sizes, documents_in(rows)]
        with RunWriter(CANDIDATES, self.work, f"{number:06d}") as out:
            for start in range(0, len(rows), _TOGETHER):
                arrays = [pa.array(column[start : start + _TOGETHER]) for column in columns]
                out.add(pa.RecordBatch.from_arrays(arrays, schema=CANDIDATES.schema))
        advance(documents=shard.info.documents)
        return TaskResult(outputs=out.outputs, payload={"file": msgspec.to_builtins(out.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCuts:
    """Finds where the sample of each source ends. Called with the number of the source and candidates of each shard."""

    work: str
    wanted: tuple[Quota, ...]

    def __call__(self, files: Sequence[tuple[int, RunFile]]) -> TaskResult:
        cuts = find_cuts(self.wanted, lambda: self._candidates(files))
        return TaskResult(payload={"cuts": msgspec.to_builtins(cuts)})

    def _candidates(self, files: Sequence[tuple[int, RunFile]]) -> Iterator[Candidates]:
        for source, file in files:
            for records in read_in_order(CANDIDATES, self.work, file):
                counted = self.wanted[source].unit == "tokens"
                some = records if counted else records.filter(records["ends"])  # a document counts once
                n = len(some)
                yield Candidates(
                    shard="",
                    lines=some["line"].to_numpy(),
                    sources=np.full(n, source, np.int32),
                    n_bytes=np.zeros(n, np.int64),
                    n_tokens=some["tokens"].to_numpy(),
                    keys=some["key"].to_numpy(),
                )


def cuts_of(payload: Mapping[str, Any]) -> list[Cut]:
    """The cuts that `FindCuts` has found."""
    return msgspec.convert(payload["cuts"], list[Cut])
