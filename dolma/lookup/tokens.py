"""A token of a shard: which document it is from, the text around it, and what is known of that document.

shard -> row -> the document that was encoded -> ... by way of the rows of mixes -> the raw document -> its attributes
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow.compute as pc

from dolma.config import Recipe, read_recipe
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.formats.table import strip_suffixes
from dolma.data.manifest import RECIPE
from dolma.data.tokens import NAME, TokenManifest, TokenShard, has_rows, read_rows, read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.graph import Graph, corpus_of, graph_of, reading_of
from dolma.lookup.documents import Document, Documents
from dolma.lookup.measured import Measured, attribute_row, measured
from dolma.models.tokenizers_library import load_tokenizer
from dolma.printable import printable
from dolma.stages import Node
from dolma.tokens.formats.table import read_ids

AROUND = 40
"""Tokens on each side of one that are shown as text."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where tokens of a document are: `start` and `end` of the shard, which part of the document, and its place."""

    shard: str
    start: int
    end: int
    part: int
    parts: int
    id: str
    source: str | None
    path: str
    line: int


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """A token, its document, and what is known of that.

    `position` is that in the shard, `at` that in the document, both in tokens. `before` and `after` are the text of the
    tokens around it, of the same row. `places` are the file and line of the document that was encoded, then of what it
    was mixed from. `attributes` are those of the raw document. `unknown` says what cannot be told, and why.
    """

    position: int
    token: int
    text: str
    before: str
    after: str
    at: int
    document: Place
    places: list[str]
    attributes: Measured
    unknown: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The documents that token shards were made of, how they are read, and the stages that wrote them, if known."""

    dataset: Dataset
    reading: Reading
    graph: Graph | None = None
    node: Node | None = None


def trace_token(given: str, recipe: Recipe) -> Traced:
    """What is known of the token at `SHARD:POSITION`. `recipe` names documents and attributes, or stages, or nothing.

    Without documents, the recipe beside the shards says where they are.

    Raises:
        ConfigError: that is no place in a shard.
        DataError: the shard, its rows, or what they lead to cannot be read.
    """
    path, position = _place_of(given)
    folder = tokens_folder(path)
    manifest = read_token_manifest(folder)
    shard = TokenShard(path, manifest.dtype, ids=read_ids(path, manifest))
    if not 0 <= position < len(shard.ids):
        raise ConfigError(
            f"there is no token {position:,} in {printable(path)}, which has {len(shard.ids):,}"
            "\n  tokens are counted from 0"
        )
    if not has_rows(path):
        raise DataError(
            "has no document rows beside it, so nothing says what its tokens are of"
            "\n  copy its .parquet beside it, or tokenize again",
            file=path,
        )
    row = shard.trace(position)
    document = _found(path, row)
    texts = _texts(folder, manifest, shard, position, row)
    unknown: list[str] = []
    places: list[str] = []
    attributes: Measured = {}
    for found, where in _documents(folder, recipe, document, unknown):
        places.append(found.place)
        attributes = measured(where.dataset, where.shards, found)
    return Traced(
        position=position,
        token=int(shard.ids[position]),
        text=texts[1],
        before=texts[0],
        after=texts[2],
        at=row["offset"] + position - row["start"],
        document=document,
        places=places,
        attributes=attributes,
        unknown=unknown,
    )


def places_of_document(folders: Sequence[str], id: str) -> Iterator[Place]:
    """Where the tokens of the documents of this id are, in the order of shards.

    Raises:
        ConfigError: no document has this id.
        DataError: a folder has no shards, or a shard no rows.
    """
    there = False
    for folder in folders:
        for info in read_token_manifest(folder).shards:
            path = streams.join(folder, info.path)
            rows = read_rows(path)
            for row in rows.filter(pc.equal(rows["id"], id)).to_pylist():
                there = True
                yield _found(path, row)
    if not there:
        raise ConfigError(
            f"no document in these shards has the id {printable(id)!r}"
            "\n  give an id as it stands in the documents, a copy's with `#2`"
        )


def _place_of(given: str) -> tuple[str, int]:
    path, colon, position = given.rpartition(":")
    if not colon or not position.isdecimal():
        raise ConfigError(
            f"{printable(given)!r} is no place in a shard: expected SHARD:POSITION"
            "\n  such as `dolma trace tokens/part-00000.npy:123456`, tokens counted from 0"
        )
    return path, int(position)


def tokens_folder(shard: str) -> str:
    """The folder of the description of a shard: its own, or the one above where shards are grouped by source."""
    own = os.path.dirname(shard) or "."
    above = os.path.dirname(own) or "."
    return own if streams.exists(streams.join(own, NAME)) or not streams.exists(streams.join(above, NAME)) else above


def _found(path: str, row: dict[str, Any]) -> Place:
    return Place(shard=path, **{key: row[key] for key in Place.__struct_fields__ if key != "shard"})


def _texts(
    folder: str, manifest: TokenManifest, shard: TokenShard, position: int, row: dict[str, Any]
) -> tuple[str, str, str]:
    """The text of the tokens before it, of itself, and of those after it, all of the same row."""
    tokenizer = load_tokenizer(streams.join(folder, manifest.tokenizer), sha256=manifest.tokenizer_sha256)
    stretches = (
        (max(row["start"], position - AROUND), position),
        (position, position + 1),
        (position + 1, min(row["end"], position + 1 + AROUND)),
    )
    before, text, after = (
        tokenizer.decode(shard.ids[start:end].tolist(), skip_special_tokens=False) for start, end in stretches
    )
    return before, text, after


# --- the documents that were encoded ---------------------------------------------------------------------------------


def encoded_documents(folder: str, recipe: Recipe) -> Encoded:
    """The documents that the shards of a folder were made of: those of `recipe`, else of the recipe that lies there.

    Raises:
        ConfigError: neither names any, or they are not there.
    """
    for found, home in ((recipe, None), *_recipes(folder)):
        if home is not None:
            found = msgspec.structs.replace(found, output=home)
        if not (found.documents or found.stages):
            continue
        graph = graph_of(found)
        for node in graph:
            if node.stage.writes == "tokens" and node.output is not None and _same(node.output, folder):
                return Encoded(dataset=node.dataset, reading=node.reading, graph=graph, node=node)
        if found.documents:
            return Encoded(dataset=corpus_of(found), reading=reading_of(found))
    raise ConfigError(
        f"nothing says which documents {printable(folder)} was made of"
        "\n  name them: `--documents 'data/*/documents/*.jsonl.gz'`, or the recipe: `-c recipe.yaml`"
    )


def _recipes(folder: str) -> Iterator[tuple[Recipe, str]]:
    """The recipe of `dolma tokenize` in the folder, or that of `dolma run` above it, and the output of each."""
    for home in (folder, os.path.dirname(os.path.abspath(folder)) if not streams.is_url(folder) else folder):
        path = streams.join(home, RECIPE)
        if streams.exists(path):
            yield read_recipe(path), home


def _same(one: str, other: str) -> bool:
    return streams.real_path(one) == streams.real_path(other)


def _documents(folder: str, recipe: Recipe, wanted: Place, unknown: list[str]) -> Iterator[tuple[Document, Documents]]:
    """The document that was encoded, then the one that it was mixed from, as far as they can be found."""
    try:
        encoded = encoded_documents(folder, recipe)
        dataset, reading, node = encoded.dataset, encoded.reading, encoded.node
        name, line = wanted.path, wanted.line
        while True:
            documents = Documents(dataset, reading, index=None)
            shard = next((shard for shard in documents.shards if shard.name == name), None)
            found = None if shard is None else documents.at(shard, line=line)
            if found is None:
                unknown.append(f"{name}:{line}: no such document in {', '.join(dataset.documents)}")
                return
            yield found, documents
            writers = encoded.graph.inputs(node, "documents") if encoded.graph and node else []
            if len(writers) != 1 or writers[0].output is None:
                return
            node = writers[0]
            row = attribute_row(streams.join(node.output or "", "rows", f"{strip_suffixes(name)}.parquet"), found)
            dataset, reading, name, line = node.dataset, node.reading, row["shard"], row["line"]
    except (ConfigError, DataError) as error:
        unknown.append(str(error).replace("\n ", ";"))
