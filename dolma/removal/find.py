"""Which documents go: ids that are asked for, and those that domains, a rule, clusters and copies add to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq

from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.attributes import AttributeReader, attribute_schema
from dolma.data.dataset import is_native, pieces
from dolma.data.documents import Faults, Intake, Reading, read_batches
from dolma.data.shards import Piece, Shard
from dolma.data.takedown import Passing, TakedownList, new_list, read_takedown
from dolma.errors import ConfigError, did_you_mean
from dolma.mixers.judge import Count, PieceSpec
from dolma.mixers.subject import subject_of
from dolma.printable import printable
from dolma.removal.asked import Asked
from dolma.removal.ids import ids_in
from dolma.removal.places import FileSetThere, Places


@dataclass(slots=True, kw_only=True)
class Wanted:
    """The ids of the documents that go, `copies` of a mix included, and the domains of which none was found."""

    ids: set[str]
    copies: set[str] = field(default_factory=set)
    without: list[str] = field(default_factory=list)


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A document in a file, and what stages have counted of it; `failed`: they could not read it."""

    id: str
    source: str
    bytes: int
    line: int
    failed: bool = False


def wanted_of(asked: Asked, places: Places, listed: TakedownList) -> Wanted:
    """All documents that go; URLs stand in the fields that the list names.

    Raises:
        ConfigError: a rule or a cluster names what is not there.
        DataError: a file cannot be read.
    """
    ids = set(asked.ids)
    found = _of_domains(asked.domains, places, listed.urls) if asked.domains else {}
    for some in found.values():
        ids |= some
    if asked.rule is not None:
        ids |= _of_rule(asked.rule, places)
    if asked.clusters:
        _add_clusters(asked.clusters, places, ids)
    copies = _add_copies(places, ids)
    without = [domain for domain in asked.domains if not found.get(domain)]
    return Wanted(ids=ids | copies, copies=copies, without=without)


# --- by domain and by rule -------------------------------------------------------------------------------------------


def _of_domains(domains: Sequence[str], places: Places, urls: Sequence[str]) -> dict[str, set[str]]:
    """The ids of the documents of each domain, in whichever files they stand."""
    empty = new_list(urls)
    of = {domain: Passing(empty.with_entries((), [domain])) for domain in domains}
    every = Passing(empty.with_entries((), domains))
    found: dict[str, set[str]] = {domain: set() for domain in domains}
    for file in places.documents:
        for batch in read_batches(file.shard, reading_of(places), intake=Intake(), records=True):
            rows = np.flatnonzero(every.mask(batch))
            if len(rows):
                hits = batch.taken(rows)
                for domain, passing in of.items():
                    found[domain].update(hits.ids[i] for i in np.flatnonzero(passing.mask(hits)).tolist())
    return found


def _of_rule(rule: str, places: Places) -> set[str]:
    """The ids of the documents of which the rule is true, over their attributes and fields."""
    if places.dataset is None:
        raise ConfigError(
            "`--rule` is about documents, of which none were named\n  give a recipe, or `--documents PATTERN`",
            path="--rule",
        )
    config = MixConfig(drop=[rule], missing="keep", allow_duplicate_inputs=True)
    # Attributes have no rows of the documents that are on the list already.
    reading = msgspec.structs.replace(reading_of(places), takedown=places.reading.takedown)
    try:
        subject = subject_of(places.dataset, config, reading)
    except ConfigError as error:
        if not error.path.startswith("$.mix.drop"):
            raise
        raise ConfigError(error.message, path="--rule") from error
    parts = [piece for shard in subject.shards for piece in pieces(shard)]
    ids: set[str] = set()
    for i, piece in enumerate(parts):
        spec = PieceSpec(index=i, piece=piece, files=subject.files[piece.shard.name])
        for judged in subject.judge.judge(spec, Count.of(subject.judge), records=False):
            fired = np.flatnonzero(~judged.decision.kept)
            ids.update(judged.batch.ids[row] for row in fired.tolist())
    return ids


# --- what goes with them ---------------------------------------------------------------------------------------------


def _add_clusters(names: Iterable[str], places: Places, ids: set[str]) -> None:
    """Add the documents that share a cluster with one of these, by any of the attributes, until there are none."""
    columns = [(one, output) for name in names for one, output in _columns(name, places)]
    n_before = -1
    while n_before < len(ids):
        n_before = len(ids)
        for one, output in columns:
            clusters = {
                cluster for rows in _rows(one, output) for id, cluster in rows if cluster is not None and id in ids
            }
            if clusters:
                ids.update(id for rows in _rows(one, output) for id, cluster in rows if cluster in clusters)


def _columns(name: str, places: Places) -> Iterator[tuple[list[FileSetThere], str]]:
    """The file sets of an attribute `set.output`: those that one stage has written belong together."""
    found: dict[str, list[FileSetThere]] = {}
    known = []
    for one in places.of("attributes"):
        mine = [f"{one.manifest.name}.{output}" for output in one.manifest.config.get("outputs", {})]
        known += mine
        if name in mine:
            found.setdefault(one.manifest.fingerprint, []).append(one)
    if not found:
        raise ConfigError(f"no attribute {name!r}; {did_you_mean(name, sorted(set(known)))}", path="--with-cluster")
    for sets in found.values():
        yield sets, name.partition(".")[2]


def _rows(sets: Iterable[FileSetThere], output: str) -> Iterator[list[tuple[str, Any]]]:
    for one in sets:
        for path in attribute_files(one):
            if output not in attribute_schema(path):
                continue  # of Dolma 1.x, where no document has any
            with AttributeReader(path, [output] if is_native(path) else None) as reader:
                for batch in reader.batches():
                    yield list(zip(batch["id"].to_pylist(), batch[output].to_pylist(), strict=True))


def _add_copies(places: Places, ids: set[str]) -> set[str]:
    """The ids of the copies that mixes have written of these documents. Of a copy that is asked for, add the document.

    A copy of a copy is one too.
    """
    copies, n_before = set[str](), -1
    while n_before < len(copies) + len(ids):
        n_before = len(copies) + len(ids)
        for one in places.of("documents"):
            for path in (one.path(out) for out in one.manifest.outputs if out.path.startswith("rows/")):
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(columns=["id", "copy"]):
                        for id, copy in zip(batch["id"].to_pylist(), batch["copy"].to_pylist(), strict=True):
                            of = id.removesuffix(f"#{copy + 1}")
                            if copy and (of in ids or of in copies or id in ids):
                                copies.add(id)
                                ids.add(of)
    return copies


# --- in one file -----------------------------------------------------------------------------------------------------


def attribute_files(one: FileSetThere) -> list[str]:
    """The files of a set that have a row for each document; what begins with `_` is something else."""
    return [one.path(out) for out in one.manifest.outputs if not out.path.startswith("_")]


def reading_of(places: Places) -> Reading:
    """How all of it is read: what is on the list, too; and no bad record is kept again."""
    policy = "fail" if places.reading.on_error == "fail" else "skip"
    return msgspec.structs.replace(places.reading, takedown=None, quarantine=None, limit=None, on_error=policy)


def facts_in(shard: Shard, reading: Reading, ids: set[str]) -> tuple[list[Fact], int]:
    """The documents of these ids in a file, by line; of bad records those that seem to have such an id.

    And how many bad records there are in which no id is found, so that one may be of such a document.
    """
    intake, found = Intake(), list[Fact]()
    faults = _Bad(shard, reading, intake, ids)
    for batch in read_batches(shard, reading, intake=intake, faults=faults):
        if not ids.isdisjoint(batch.ids):
            sizes = batch.n_bytes
            found += [
                Fact(id=id, source=batch.sources[i], bytes=int(sizes[i]), line=int(batch.lines[i]))
                for i, id in enumerate(batch.ids)
                if id in ids
            ]
    return sorted([*found, *faults.facts], key=lambda fact: fact.line), faults.n_unknown


class _Bad(Faults):
    """Looks for ids in records that cannot be read."""

    def __init__(self, shard: Shard, reading: Reading, intake: Intake, ids: set[str]) -> None:
        super().__init__(Piece(shard=shard), reading, intake)
        self._ids, self.facts, self.n_unknown = ids, list[Fact](), 0

    def bad(self, raw: bytes, *, line: int, offset: int | None, reason: str, at: int | None = None) -> None:
        super().bad(raw, line=line, offset=offset, reason=reason, at=at)
        there = list(ids_in(raw, self.reading.id))
        self.n_unknown += not there
        id = next((id for id in there if id in self._ids), None)
        if id is not None:
            self.facts.append(Fact(id=id, source=self.piece.shard.source, bytes=0, line=line, failed=True))


def listed_of(path: str, asked: Asked) -> TakedownList:
    """The list that is there, or a new one.

    Raises:
        ConfigError: its domains are those of URLs in other fields than are asked for.
    """
    listed = read_takedown(path) if streams.exists(path) else new_list()
    if not asked.urls or set(asked.urls) == set(listed.urls):
        return listed
    if listed.domains:
        raise ConfigError(
            f"names other fields than {printable(path)}, whose domains are those of URLs in "
            f"{', '.join(map(printable, listed.urls))}\n  leave it out, or name another list: `--takedown FILE`",
            path="--url-field",
        )
    return msgspec.structs.replace(listed, urls=asked.urls)


def is_listed(listed: TakedownList, asked: Asked) -> bool:
    """Whether all ids and domains that are asked for are on the list."""
    ids = {listed.hash_of_id(id) for id in asked.ids}
    domains = {listed.hash_of_domain(domain) for domain in asked.domains}
    return ids <= listed.ids and domains <= listed.domains
