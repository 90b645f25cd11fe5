"""Where the documents are that go: every file that has some of them, and how many."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from dolma.data import streams
from dolma.data.attributes import AttributeReader
from dolma.data.json_text import decode_json
from dolma.data.manifest import InputFile
from dolma.data.takedown import TakedownList
from dolma.data.tokens import read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.mixers.holdout import IDS
from dolma.printable import counted, printable
from dolma.removal.clusters import Reclustered, reclustered
from dolma.removal.find import Fact, attribute_files, facts_in, reading_of
from dolma.removal.places import DocumentFile, FileSetThere, Places
from dolma.removal.receipt import Place, Unreached
from dolma.removal.rewrite import HITS, ITEMS, lines_of_ids, linked_names, without_values
from dolma.removal.shards import Gone, How, gone_of
from dolma.stages import PACKAGES
from dolma.tokens.formats.dolma import FORMAT as OF_DOLMA

DOLMA = OF_DOLMA.name


@dataclass(slots=True, kw_only=True)
class Scan:
    """What is known before anything is written.

    `facts` and `rows` have what goes of each file that has some: documents, and numbers of rows or lines. `other` are
    facts of documents that stay, of which clusters say something else. `inputs` has the checksum of document files.
    """

    at: Places
    ids: set[str]
    listed: TakedownList
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    other: dict[str, Fact] = field(default_factory=dict)
    inputs: dict[str, InputFile] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    shards: dict[str, Gone] = field(default_factory=dict)
    clusters: dict[str, Reclustered] = field(default_factory=dict)  # by fingerprint
    found: set[str] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    unreached: list[Unreached] = field(default_factory=list)

    @classmethod
    def of(cls, at: Places, ids: set[str], listed: TakedownList) -> Scan:
        """Look into every file.

        Raises:
            ConfigError: attributes or tokens have documents that are in no file of documents that was named.
            DataError: a file cannot be read, or has changed since its stage wrote it.
        """
        scan = cls(at=at, ids=ids, listed=listed)
        scan.clusters = {name: reclustered(list(group), ids) for name, group in scan._together()}
        touched = {id for of in scan.clusters.values() for id in of.ids}
        for file in at.documents:
            scan._documents(file, touched)
        for one in at.of("attributes"):
            scan._attributes(one)
        for one in at.of("documents"):
            scan._mix(one)
        for one in at.of("tokens"):
            scan._tokens(one)
        for one in at.of("statistics"):
            scan._statistics(one)
        for path in at.quarantined:
            scan._lines(path, at.reading.id, "quarantined")
        for path in at.id_files:
            scan._lines(path, "id", "held-out ids")
        scan.unreached += [one for one in at.unreached if one.path in scan.facts or one.path not in scan._read_only()]
        scan.unreached += [
            Unreached(path=f"{counted(n, 'other name')} of {place.path}", why="hard links, which keep the old file")
            for place in scan.places
            if (n := linked_names(place.path))
        ]
        return scan

    def _read_only(self) -> set[str]:
        return {file.shard.path for file in self.at.documents if not file.writable}

    def _together(self) -> Iterator[tuple[str, Iterable[FileSetThere]]]:
        """The attribute sets that one stage has written together, by their fingerprint."""
        sets = sorted(self.at.of("attributes"), key=lambda one: (one.manifest.fingerprint, one.folder))
        return itertools.groupby(sets, key=lambda one: one.manifest.fingerprint)

    def _hit(self, path: str, kind: str, n: int) -> None:
        self.rows[path] = n
        self.places.append(Place(path=path, kind=kind, removed=n))

    def _documents(self, file: DocumentFile, touched: set[str]) -> None:
        path, reading = file.shard.path, reading_of(self.at)
        facts, n_unknown = facts_in(file.shard, reading, self.ids | touched)
        if n_unknown:
            why = "cannot be read, and no id is found in what they hold: look at them, and remove them by hand"
            self.unreached.append(Unreached(path=f"{counted(n_unknown, 'record')} of {path}", why=why))
        self.other |= {fact.id: fact for fact in facts if fact.id in touched}
        facts = [fact for fact in facts if fact.id in self.ids]
        if not facts:
            return
        content = InputFile(name=file.shard.name, size=streams.size(path) or 0, checksum=streams.checksum(path))
        if file.out is not None and (file.out.bytes, file.out.checksum) != (content.size, content.checksum):
            raise changed(path, file.home)
        self.inputs[path], self.facts[path] = content, facts
        if file.writable:
            self.found |= {fact.id for fact in facts}
            self._hit(path, file.kind, len(facts))
        else:  # of what stages pass over already there is nothing to do
            self.found |= {fact.id for fact in facts if self.listed.hash_of_id(fact.id) not in self.listed.ids}

    def _attributes(self, one: FileSetThere) -> None:
        changed_rows = {path for of in self.clusters.values() for path in of.changed}
        n_rows = 0
        for path in attribute_files(one):
            with AttributeReader(path, []) as reader:
                ids = [id for batch in reader.batches() for id in batch["id"].to_pylist() if id in self.ids]
            if ids or path in changed_rows:
                self._check_output(one, path)
                self._hit(path, "attributes", len(ids))
                self.found |= set(ids)
            n_rows += len(ids)
        for path in (one.path(out) for out in one.manifest.outputs if out.path in (HITS, ITEMS)):
            if self._lines(path, "id", "attributes"):
                self._check_output(one, path)
        if n_rows:
            self._check_known(one, n_rows)

    def _mix(self, one: FileSetThere) -> None:
        for out in one.manifest.outputs:
            path, first = one.path(out), out.path.partition("/")[0]
            if first in ("rows", "decisions"):
                with pq.ParquetFile(path) as file:
                    batches = file.iter_batches(columns=["id"])
                    ids = [id for batch in batches for id in batch["id"].to_pylist() if id in self.ids]
                if ids:
                    self._check_output(one, path)
                    self._hit(path, first, len(ids))
                    self.found |= set(ids)
            elif out.path == IDS:
                self._lines(path, "id", "held-out ids")

    def _tokens(self, one: FileSetThere) -> None:
        documents: set[tuple[str, int]] = set()  # of which one that is cut may be in several shards
        manifest = read_token_manifest(one.folder)
        if manifest.format != DOLMA:
            self._refuse_format(one, manifest.format)
            return
        for info in manifest.shards:
            path = streams.join(one.folder, info.path)
            gone = gone_of(path, self.ids)
            if gone.rows:
                self._check_output(one, path)
                self.shards[path] = gone
                self._hit(path, "token shards", len(gone.rows))
                self.found |= gone.ids
            documents |= gone.tokens.keys()
        if documents and one.manifest.stage in PACKAGES:
            self._check_known(one, len(documents))

    def _refuse_format(self, one: FileSetThere, name: str) -> None:
        """Return when shards of another format have none of the documents."""
        mine = {file.checksum for path, file in self.inputs.items() if self.facts[path]}
        if any(file.checksum in mine for file in one.manifest.inputs):
            raise ConfigError(
                f"{printable(one.folder)} has documents that are to go, in shards of the format {name}, out of which "
                "nothing can be taken\n"
                "  remove that folder, take down, and make it again with `dolma tokenize`"
            )

    def _statistics(self, one: FileSetThere) -> None:
        """Ids may be among the most frequent values of an attribute."""
        for out in one.manifest.outputs:
            path = one.path(out)
            if path.endswith(".json"):
                found = decode_json(streams.read_bytes(path), Any)
                if without_values(found, self.ids) != found:
                    self._check_output(one, path)
                    self._hit(path, "statistics", 1)

    def _lines(self, path: str, field: str, kind: str) -> bool:
        """Whether lines of a text file hold some of the ids."""
        lines = lines_of_ids(path, field, self.ids)
        if lines:
            self.lines[path] = list(lines)
            self.found |= set(lines.values())
            self._hit(path, kind, len(lines))
        return bool(lines)

    # --- what has to hold ---------------------------------------------------------------------------------------------

    def _check_output(self, one: FileSetThere, path: str) -> None:
        out = next(out for out in one.manifest.outputs if one.path(out) == path)
        if (streams.size(path), streams.checksum(path)) != (out.bytes, out.checksum):
            raise changed(path, one.folder)

    def _check_known(self, one: FileSetThere, n: int) -> None:
        """Return when as many documents as the set has rows of stand in the files that it was made from."""
        checksums = {file.checksum: self.facts[path] for path, file in self.inputs.items()}
        facts = [fact for file in one.manifest.inputs for fact in checksums.get(file.checksum, ())]
        known = {fact.id for fact in facts if not fact.failed}
        there = sum(1 for fact in facts if not fact.failed)
        if there < n or not known:
            raise ConfigError(
                f"{printable(one.folder)} has {counted(n, 'document')} that are to go, and {there:,} of them stand in "
                "the documents that were named\n"
                "  name those documents too, as they were when it was made: `--documents PATTERN`, or its recipe"
            )

    def check(self, how: How) -> None:
        """Return when the shards can be changed like this.

        Raises:
            ConfigError: a training run was made from what would be written again.
        """
        for one in self.at.of("tokens") if how == "rewrite" else ():
            mine = {
                checksum
                for info in read_token_manifest(one.folder).shards
                for checksum in (info.xxh3, *info.earlier)
                if streams.join(one.folder, info.path) in self.shards
            }
            for run in self.at.of("checkpoints"):
                if any(file.checksum in mine for file in run.manifest.inputs):
                    raise ConfigError(
                        f"{printable(run.folder)} was trained on {printable(one.folder)}, and could neither go on nor "
                        "be traced if these shards were written again\n"
                        "  `--tokens pad` leaves all other tokens where they are; or move the training run away",
                        path="--tokens",
                    )


def changed(path: str, folder: str) -> DataError:
    """The error about an output that is not what its manifest says."""
    return DataError(
        "changed since it was written, so what its manifest says of it cannot be put right\n"
        f"  run `dolma verify {printable(folder)}` to see the extent, and make it again with `--overwrite`",
        file=path,
    )
