"""Documents by id, or by file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dolma.data import streams
from dolma.data.dataset import Dataset, Piece, Shard, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import read_manifest
from dolma.errors import ConfigError, DataError
from dolma.lookup.keys import FOLDER, Entry, KeyIndex
from dolma.lookup.near import is_called, nearest_ids
from dolma.printable import counted, printable
from dolma.runner.progress import Reporter

ENTRY_BYTES = 4 << 20
"""Least distance of the places at which a file can be entered."""
MOST = 20
"""Documents with one id that are read."""
_FILE_LINE = re.compile(r"(.+):([1-9]\d*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document. `row` is its 0-based row among those of its file that can be used: that of its attributes."""

    shard: Shard
    row: int
    line: int
    id: str
    source: str
    text: str
    metadata: bytes | None

    @property
    def place(self) -> str:
        """Its file and line."""
        return f"{self.shard.path}:{self.line}"


class Documents:
    """The documents of a dataset, one at a time.

    `index` is the folder in which the index of ids is kept (None: nowhere); it is made when an id is first looked for.
    """

    def __init__(
        self, dataset: Dataset, reading: Reading, *, index: str | None, reporter: Reporter | None = None
    ) -> None:
        self.dataset, self.shards = dataset, dataset.shards()
        self.reading = as_measured(dataset, self.shards, reading)
        self._folder, self._reporter = index, reporter

    def find(self, given: str) -> list[Document]:
        """The documents with this id, the first `MOST` in corpus order, or the one at `FILE:LINE`.

        Raises:
            ConfigError: there is none; names ids that are near.
            DataError: a file cannot be read.
        """
        found = list(self._at(given)) or self.with_id(given)
        if not found:
            near = nearest_ids(given, self.every_id())
            hint = f"did you mean {' or '.join(map(printable, near))}?" if near else "give an id, or FILE:LINE"
            raise ConfigError(f"no document of this corpus has the id {printable(given)!r}\n  {hint}")
        return found

    def with_id(self, id: str) -> list[Document]:
        """The documents with this id, whatever it looks like, the first `MOST` in corpus order.

        Raises:
            DataError: a file cannot be read.
        """
        found: list[Document] = []
        for file, row in self._index.find(id):
            if len(found) == MOST:
                if self._reporter is not None:
                    self._reporter.note(f"more documents have the id {printable(id)!r}: these are the first {MOST}")
                break
            shard = self.shards[file]
            document = self._read(shard, self._index.entry(file, row=row), row=row)
            if document is not None and document.id == id:
                found.append(document)
        return found

    def at(self, shard: Shard, *, row: int | None = None, line: int | None = None) -> Document | None:
        """The document at this row or line of a file; None where there is none."""
        number = self.shards.index(shard)
        entry = self._there.entry(number, row=row, line=line) if self._there is not None else None
        return self._read(shard, entry, row=row, line=line)

    def every_id(self) -> Iterator[str]:
        """The ids, in corpus order; reads all documents."""
        for shard in self.shards:
            for batch in read_batches(shard, self.reading, intake=Intake()):
                yield from batch.ids

    def _at(self, given: str) -> Iterator[Document]:
        found = _FILE_LINE.match(given)
        if found is None:
            return
        path, line = found[1], int(found[2])
        fit = [shard for shard in self.shards if is_called(shard.path, path) or shard.name == path]
        named = [shard for shard in fit if shard.path == path] or fit
        if len(named) > 1:
            raise ConfigError(
                f"{printable(path)} may be {named[0].path} or {named[1].path}\n  write the whole path, as in the first"
            )
        for shard in named:
            document = self.at(shard, line=line)
            if document is None:
                raise ConfigError(
                    f"{printable(shard.path)} has no document in line {line:,}\n  look with `dolma show --sample 3`"
                )
            yield document

    @cached_property
    def _there(self) -> KeyIndex | None:
        return KeyIndex.there(self._folder, self._files, about=self._about)

    @cached_property
    def _index(self) -> KeyIndex:
        if self._there is not None:
            return self._there
        if self._reporter is not None:
            where = "" if self._folder is None else f", once, into {printable(self._folder)}"
            self._reporter.note(f"index: reading the ids of {counted(len(self.shards), 'file')}{where}")
        return KeyIndex.made(self._folder, self._files, self._ids_of, about=self._about)

    @cached_property
    def _files(self) -> list[streams.Entry]:
        versions = streams.versions(shard.path for shard in self.shards)
        found = []
        for shard in self.shards:
            version = versions[shard.path]
            if version is None:
                raise DataError("no such file\n  it was there a moment ago; look for it", file=shard.path)
            found.append(streams.Entry(streams.real_path(shard.path), *version))
        return found

    @property
    def _about(self) -> object:
        return [self.reading.identity, [shard.name for shard in self.shards]]

    def _ids_of(self, number: int) -> Iterator[tuple[Entry | None, Iterable[str]]]:
        first = 0
        for piece in pieces(replace(self.shards[number], cuts=None), piece_bytes=ENTRY_BYTES):
            entry: Entry | None = Entry(first, piece.part, piece.cut)
            for batch in read_batches(piece, self.reading, intake=Intake()):
                yield entry, batch.ids
                first, entry = first + len(batch), None

    def _read(
        self, shard: Shard, entry: Entry | None, *, row: int | None = None, line: int | None = None
    ) -> Document | None:
        piece, at = Piece(shard=shard), 0
        if entry is not None:
            parts = entry.part + 2  # the number alone says whether it is the first
            piece, at = Piece(shard=shard, part=entry.part, parts=parts, **entry.cut._asdict()), entry.first_row
        for batch in read_batches(piece, self.reading, intake=Intake(), metadata=True):
            lines = batch.lines.tolist()
            i = row - at if row is not None else lines.index(line) if line in lines else len(batch)
            if i < len(batch):
                return Document(
                    shard=shard,
                    row=at + i,
                    line=lines[i],
                    id=batch.ids[i],
                    source=batch.sources[i],
                    text=batch.text(i),
                    metadata=None if batch.metadata is None else batch.metadata[i],
                )
            if line is not None and lines[-1] > line:
                return None
            at += len(batch)
        return None


def as_measured(dataset: Dataset, shards: Sequence[Shard], reading: Reading) -> Reading:
    """How documents were read when they were measured, so that rows of attributes are theirs."""
    for name in dataset.attribute_names(list(shards)) if dataset.has_homes(shards) else ():
        for folder in {place.folder for place, path in dataset.attribute_files(name, shards) if path is not None}:
            if (manifest := read_manifest(folder)) is not None:
                return reading.as_made(manifest.config)
    return reading


def index_folder(dataset: Dataset, shards: Sequence[Shard], output: str | None) -> str | None:
    """Where the index of a corpus is kept: in the output of its recipe, else with its attributes, else nowhere."""
    home = output or dataset.home(shards)
    return streams.join(home, FOLDER) if home and (output or streams.entries_below(home)) else None
