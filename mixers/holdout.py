"""Which documents are held out for validation: a seeded share of each source, clusters of copies whole.

Documents of no cluster are held out by the keys by which they are drawn: the smallest ones, so that the share is exact
to a document. Documents that a cluster attribute puts together are held out together or not at all; where there are
several attributes, so is what any of them puts together: a component of the graph whose nodes are clusters and whose
edges are documents. A component is held out if a hash of the seed and its smallest node lies below the share, so that
the share of clustered documents is that on average. Documents that the rules drop join clusters too.

Ids in a file are held out beside these, with the clusters that they are in. One task sees all documents in clusters:
32 bytes of memory for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dolma.amounts import exact, share_out
from dolma.config import Holdout
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.exchange import Table
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, DataError
from dolma.mixers.catalogue import Catalogue, Column
from dolma.mixers.sampling import Candidates, Cut, Quota, Supply, find_cuts, times_of
from dolma.printable import printable
from dolma.runner.seeds import derive_seed

IDS = "holdout.jsonl"
GROUPS = Table(
    name="groups",
    schema=pa.schema([("node", pa.uint64()), ("other", pa.uint64()), ("forced", pa.bool_())]),
    key=("node",),
)
_PATH = "$.mix.holdout"
_MOST_BYTES = 1 << 30  # of a file of ids

Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


class HeldId(msgspec.Struct, frozen=True):
    """A line of a file of ids."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """What puts documents together, and hashes of the ids that are held out in any case, ascending. Picklable."""

    columns: tuple[Column, ...]
    ids: Words | None = field(default=None, compare=False)

    def marks(self, batch: TextBatch, arrays: Mapping[str, Mapping[str, pa.Array]]) -> Marks:
        """The clusters of each document of a batch."""
        nodes = [_nodes(i, arrays[name][output]) for i, (name, output) in enumerate(self.columns)]
        group = np.zeros(len(batch), np.uint64)
        for of in nodes[::-1]:
            group = np.where(of > 0, of, group)
        forced = np.zeros(len(batch), bool)
        if self.ids is not None:
            forced = np.isin(np.fromiter(map(hash_of_id, batch.ids), np.uint64, len(batch)), self.ids)
        edges = [(group[of > 0], of[of > 0], forced[of > 0]) for of in nodes]
        columns = [np.concatenate(parts) for parts in zip(*edges, strict=True)]
        found = pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=GROUPS.schema) if columns else None
        return Marks(group=group, forced=forced, edges=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Of some documents: a cluster of each, 0 where it is in none; whether its id is held out; edges as in `GROUPS`."""

    group: Words
    forced: Mask
    edges: pa.RecordBatch | None = None

    @classmethod
    def none(cls, n: int) -> Marks:
        """Of documents that are in no cluster."""
        return cls(group=np.zeros(n, np.uint64), forced=np.zeros(n, bool))

    def of(self, chosen: Mask) -> Marks:
        """Those of some documents."""
        return Marks(group=self.group[chosen], forced=self.forced[chosen])


def _nodes(attribute: int, values: pa.Array) -> Words:
    """A number for each cluster of an attribute, 0 for none; uint64."""
    found = values.dictionary_encode()
    names = [
        max(xxhash.xxh3_64_intdigest(f"{attribute}\0{value}".encode()), 1) for value in found.dictionary.to_pylist()
    ]
    codes = found.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return np.array([*names, 0], dtype=np.uint64)[codes]


def hash_of_id(id: str) -> int:
    """By what ids are compared: 64 bits."""
    return xxhash.xxh3_64_intdigest(id.encode("utf-8", "surrogatepass"))


def read_ids(path: str) -> Words:
    """The hashes of the ids in a file, in order.

    Raises:
        ConfigError: there is none, or a line is no JSON object with an `id`.
    """
    found = []
    for i, line in enumerate(_content(path).splitlines(), 1):
        try:
            found.append(hash_of_id(decode_json(line, HeldId).id))
        except (msgspec.DecodeError, DataError) as error:
            raise ConfigError(
                f"{printable(path)}:{i}: no id of a document: {printable(error)}\n"
                f'  expected lines such as {{"id": "a"}}, as `{IDS}` of a mix has them',
                path=f"{_PATH}.ids",
            ) from error
    return np.unique(np.array(found, dtype=np.uint64))


def _content(path: str) -> bytes:
    try:
        return streams.read_bytes(path, limit=_MOST_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no such file: {printable(path)}\n  give `{IDS}` of an earlier mix, or leave the key out",
            path=f"{_PATH}.ids",
        ) from error


def identity_of(config: Holdout | None) -> dict[str, Any] | None:
    """What decides which documents are held out."""
    if config is None:
        return None
    ids = None if config.ids is None else xxhash.xxh3_128_hexdigest(_content(config.ids))
    return {**msgspec.to_builtins(config), "ids": ids}


def grouping_of(config: Holdout | None, catalogue: Catalogue) -> Grouping | None:
    """How documents are held out; None where none are.

    Raises:
        ConfigError: there is no such attribute or file of ids.
    """
    if config is None:
        return None
    columns = [
        catalogue.column(name, path=f"{_PATH}.cluster[{i}]", kinds=("int", "text"))
        for i, name in enumerate(config.clusters)
    ]
    return Grouping(columns=tuple(columns), ids=None if config.ids is None else read_ids(config.ids))


# --- choosing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Which documents are held out: those of `nodes` (uint64, ascending), and of no cluster those that `cuts` take.

    There is a cut for each source, or one for all.
    """

    cuts: tuple[Cut, ...]
    nodes: Words

    def mask(self, found: Candidates, marks: Marks) -> Mask:
        """Whether each document is held out; bool, shape `(n_docs,)`."""
        clustered = marks.group > 0
        held = marks.forced & ~clustered
        held[clustered] = np.isin(marks.group[clustered], self.nodes)
        free = ~clustered & ~marks.forced
        of_free = _of(found, free, pooled=len(self.cuts) == 1)
        held[free] = times_of(of_free, self.cuts) > 0
        return held


def choose(
    config: Holdout,
    n_sources: int,
    candidates: Callable[[], Iterable[tuple[Candidates, Marks]]],
    edges: Iterable[pa.RecordBatch],
    *,
    seed: int,
) -> Holding:
    """Which documents are held out; `candidates` are called several times."""
    pooled = not config.per_source or n_sources == 1
    free = functools.partial(_free, candidates, pooled=pooled)
    counts = np.zeros(1 if pooled else n_sources, np.int64)
    for found in free():
        counts += np.bincount(found.sources, minlength=len(counts))
    wanted = [
        Quota(
            source=str(i), supply=Supply(documents=n, bytes=0), unit="documents", copies=0, rest=_part(n, config.share)
        )
        for i, n in enumerate(counts.tolist())
    ]
    return Holding(cuts=tuple(find_cuts(wanted, free)), nodes=held_nodes(list(edges), share=config.share, seed=seed))


def _part(n: int, share: float) -> int:
    """This share of a number, rounded."""
    return share_out(n, [exact(share), 1 - exact(share)])[0]


def _free(candidates: Callable[[], Iterable[tuple[Candidates, Marks]]], *, pooled: bool) -> Iterator[Candidates]:
    for found, marks in candidates():
        yield _of(found, (marks.group == 0) & ~marks.forced, pooled=pooled)


def _of(found: Candidates, chosen: Mask, *, pooled: bool) -> Candidates:
    """Some of these documents, by source or all as of one."""
    return Candidates(
        shard=found.shard,
        lines=found.lines[chosen],
        sources=found.sources[chosen] * (0 if pooled else 1),
        n_bytes=found.n_bytes[chosen],
        n_tokens=found.n_tokens[chosen],
        keys=found.keys[chosen],
    )


def held_nodes(edges: Sequence[pa.RecordBatch], *, share: float, seed: int) -> Words:
    """The nodes of the components that are held out, ascending; `edges` as in `GROUPS`."""
    if not edges:
        return np.zeros(0, np.uint64)
    table = pa.Table.from_batches(edges)
    ends = [table[name].to_numpy() for name in ("node", "other")]
    nodes, places = np.unique(np.concatenate(ends), return_inverse=True)
    roots = components(len(nodes), *np.split(places, 2))
    forced = np.zeros(len(nodes), bool)
    forced[roots[places[: len(table)]][table["forced"].to_numpy(zero_copy_only=False)]] = True
    salt, bound = derive_seed(seed, "mix", "holdout"), int(exact(share) * (1 << 64))
    heads = np.unique(roots)
    drawn = [xxhash.xxh3_64_intdigest(int(nodes[head]).to_bytes(8, "little"), salt) < bound for head in heads.tolist()]
    chosen = heads[np.array(drawn, dtype=bool) | forced[heads]]
    return nodes[np.isin(roots, chosen)]


def components(n: int, ones: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each of `n` nodes the smallest one that edges lead to; edges are from `ones[i]` to `others[i]`.

    >>> components(5, np.array([3, 1]), np.array([4, 3])).tolist()
    [0, 1, 2, 1, 1]
    """
    roots = np.arange(n)
    while True:
        least = np.minimum(roots[ones], roots[others])
        found = roots.copy()
        np.minimum.at(found, roots[ones], least)
        np.minimum.at(found, roots[others], least)
        found = found[found]
        if (found == roots).all():
            return roots
        roots = found
