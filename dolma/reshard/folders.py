"""Folders of token shards that are read together: what they hold, and whether their ids mean the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.config import TokenizeConfig
from dolma.data import streams
from dolma.data.identity import Content
from dolma.data.manifest import InputFile, input_file
from dolma.data.tokens import (
    NAME,
    Dtype,
    TokenManifest,
    TokenShardInfo,
    check_format,
    little_endian,
    read_rows,
    read_token_manifest,
    rows_file,
)
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizer_facts import TokenizerFacts, read_facts
from dolma.models.tokenizer_file import read_tokenizer_file
from dolma.printable import printable
from dolma.runner.inputs import Inputs
from dolma.training.data.shards import mask_path

_IDS_AT_ONCE = 1 << 22
_ALIKE = ("tokenizer_sha256", "dtype", "vocab_size", "eos_id", "bos_id", "special_tokens_allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A shard of a source: where it lies, what `tokens.json` says of it, and what it and its rows have to hold.

    `mixed`: as in `TokenManifest`.
    """

    source: str
    path: str
    info: TokenShardInfo
    mixed: bool = False
    content: Content | None = None
    rows_content: Content | None = None

    @property
    def name(self) -> str:
        """What it is called as an input."""
        return _below(self.source, self.info.path)

    def rows(self) -> pa.Table:
        """Its rows, which follow each other from its first token to its last, with its source where it has one.

        Raises:
            DataError: they do not, or have changed.
        """
        rows = read_rows(self.path, content=self.rows_content)
        starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
        begins = np.concatenate([[0], ends[:-1]])
        whole = len(rows) > 0 and ends[-1] == self.info.tokens and len(rows) == self.info.rows
        if not whole or (starts != begins).any() or (ends <= starts).any():
            raise DataError(
                "its rows do not follow each other from its first token to its last"
                "\n  see what is wrong with `dolma verify`, and make the shards again",
                file=self.path,
            )
        if self.info.source is not None:
            sources = pc.fill_null(rows["source"], self.info.source)  # of rows in csv.gz
            rows = rows.set_column(rows.schema.get_field_index("source"), "source", sources)
        return rows

    def ids(self, rows: pa.Table, chosen: npt.NDArray[np.bool_], dtype: Dtype) -> Iterator[tuple[slice, Any]]:
        """The ids of the chosen ones of these rows, some rows at a time: which, and the ids of the chosen of them."""
        starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
        kind = little_endian(dtype)
        if not len(rows):
            return
        first, last = int(starts[0]) * kind.itemsize, int(ends[-1]) * kind.itemsize
        groups = (starts - starts[0]) // _IDS_AT_ONCE
        bounds = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(rows)]
        with streams.open_input(self.path, start=first, end=last, content=self.content) as raw:
            for start, end in itertools.pairwise(bounds):
                some = slice(start, end)
                counts = ends[some] - starts[some]
                ids = np.frombuffer(raw.read(int(counts.sum()) * kind.itemsize), kind)
                if chosen[some].any():
                    yield some, ids if chosen[some].all() else ids[np.repeat(chosen[some], counts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Shards of some sources, in order, that one tokenizer has made."""

    shards: tuple[ShardFile, ...]
    manifest: TokenManifest
    facts: TokenizerFacts
    folders: tuple[tuple[str, str], ...]

    @property
    def sources(self) -> list[str]:
        """The sources, in order."""
        return list(dict.fromkeys(shard.source for shard in self.shards))

    def identified(self, inputs: Inputs) -> tuple[Folders, list[InputFile]]:
        """The same with what its files hold now, and these as the inputs of a manifest."""
        rows = {shard.path: rows_file(shard.path) for shard in self.shards}
        manifests = {streams.join(folder, NAME): _below(source, NAME) for source, folder in self.folders}
        contents = inputs.contents([*manifests, *(path for pair in rows.items() for path in pair)])
        shards = tuple(
            replace(shard, content=contents[shard.path], rows_content=contents[rows[shard.path]])
            for shard in self.shards
        )
        named = [input_file(name, contents[path]) for path, name in manifests.items()]
        for shard in shards:
            assert shard.content is not None and shard.rows_content is not None
            if shard.content.checksum != shard.info.xxh3:
                raise DataError(
                    f"its bytes are not those that {NAME} tells of\n  copy the folder again, or make the shards again",
                    file=shard.path,
                )
            ending = rows[shard.path].removeprefix(shard.path.removesuffix(".npy"))
            named += [
                input_file(shard.name, shard.content),
                input_file(shard.name.removesuffix(".npy") + ending, shard.rows_content),
            ]
        return replace(self, shards=shards), named


def open_folders(folders: Mapping[str, str]) -> Folders:
    """The shards in these folders, by name of their source.

    Raises:
        ConfigError: they were made by different tokenizers, or are of a kind that cannot be mixed.
        DataError: a folder has no token shards.
    """
    manifests = {source: read_token_manifest(folder) for source, folder in folders.items()}
    for source, found in manifests.items():
        check_format(folders[source], found)
    (first, manifest), *others = manifests.items()
    for source, other in others:
        for key in _ALIKE:
            if (here := getattr(other, key)) != (there := getattr(manifest, key)):
                raise ConfigError(
                    f"`{key}` of {printable(folders[source])} is {here!r}, of {printable(folders[first])} {there!r}: "
                    "their ids do not mean the same\n  tokenize all sources with one tokenizer and the same options"
                )
    shards = [
        ShardFile(
            source=source,
            path=streams.join(folder, info.path),
            info=info,
            mixed=manifests[source].mixed is True,
        )
        for source, folder in folders.items()
        for info in manifests[source].shards
    ]
    if not shards:
        raise DataError("no shards\n  give a folder that `dolma tokenize` has written", file=folders[first])
    for shard in shards:
        if streams.exists(mask_path(shard.path)):
            raise ConfigError(
                f"{printable(mask_path(shard.path))} tells which tokens are learnt, and would be lost"
                "\n  make shards of conversations as they are wanted"
            )
    return Folders(
        shards=tuple(shards),
        manifest=manifest,
        facts=_facts(folders[first], manifest),
        folders=tuple(folders.items()),
    )


def _facts(folder: str, manifest: TokenManifest) -> TokenizerFacts:
    path = streams.join(folder, manifest.tokenizer)
    if manifest.eos_id is None:
        raise ConfigError(
            f"{printable(streams.join(folder, NAME))} names no end-of-text token, so documents have no end"
            "\n  tokenize again with `--eos TOKEN`"
        )
    tokens = {id: token for token, id in read_tokenizer_file(path).ids.items()}
    bos = None if manifest.bos_id is None else tokens.get(manifest.bos_id)
    facts = read_facts(TokenizeConfig(tokenizer=path, eos=tokens.get(manifest.eos_id), bos=bos, dtype=manifest.dtype))
    if facts.sha256 != manifest.tokenizer_sha256:
        raise DataError(
            f"is not the tokenizer that {NAME} tells of\n  copy the folder again, or make the shards again", file=path
        )
    return facts


def _below(source: str, name: str) -> str:
    return f"tokens/{source}/{name}" if source else f"tokens/{name}"


def documents_in(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows end a document; bool, shape `(n_rows,)`."""
    found: npt.NDArray[np.bool_] = pc.equal(pc.add(rows["part"], 1), rows["parts"]).to_numpy()
    return found
