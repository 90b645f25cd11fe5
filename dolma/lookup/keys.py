"""Which record of which file has a key, such as an id: an index on disk that is made once.

files -> hash of the key, file and row of each record, sorted -> one run of `dolma/data/exchange.py`, read by range
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import xxhash

from dolma.data import streams
from dolma.data.exchange import RunFile, RunWriter, Table, partitions, read_sorted, whole_runs
from dolma.data.shards import Cut
from dolma.errors import DataError, WriteError

FOLDER = ".ids"
"""Where indexes lie, in a folder of outputs. They are no outputs, and may be removed."""
_VERSION = 1
_NOTE = "index.json"
_MEMORY = 256 << 20
_RECORDS = Table(
    name="keys",
    schema=pa.schema([("hash", pa.uint64()), ("file", pa.uint64()), ("row", pa.int64())]),
    key=("hash", "file"),
)
_ENTRIES = Table(
    name="entries",
    schema=pa.schema(
        [("file", pa.uint64()), ("first_row", pa.int64()), ("part", pa.int64())]
        + [(name, pa.int64()) for name in Cut._fields]
    ),
    key=("file",),
)
_TO_THE_END = -1


class Entry(NamedTuple):
    """A place at which a file can be entered: row 0-based, number of its part, and where it is (`Piece`)."""

    first_row: int
    part: int
    cut: Cut


class Found(NamedTuple):
    """A record that may have the key, by the number of its file and its 0-based row."""

    file: int
    row: int


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    about: str
    keys: RunFile
    entries: RunFile


ReadKeys = Callable[[int], Iterator[tuple[Entry | None, Iterable[str]]]]
"""From the number of a file to its keys in order, some at a time, each with the entry that they begin at, if any."""


class KeyIndex:
    """Finds records by key. Different keys may share a hash, so whoever asks compares the keys."""

    def __init__(self, folder: str, note: _Note) -> None:
        self._folder, self._note = folder, note

    @classmethod
    def there(cls, folder: str | None, files: Sequence[streams.Entry], *, about: Any = None) -> KeyIndex | None:
        """The index of these files, as they are now, in this folder; None where it has none."""
        if folder is None:
            return None
        try:
            note = msgspec.json.decode(streams.read_bytes(streams.join(folder, _NOTE)), type=_Note)
        except (DataError, FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        return cls(folder, note) if note.version == _VERSION and note.about == _mark(files, about) else None

    @classmethod
    def made(cls, folder: str | None, files: Sequence[streams.Entry], read: ReadKeys, *, about: Any = None) -> KeyIndex:
        """The index of these files, kept in the folder for the next time if that can be written.

        `about` is what decides, besides the files, which keys they have.
        """
        mark = _mark(files, about)
        with tempfile.TemporaryDirectory(prefix="dolma-ids-") as work:
            name = mark[:16]
            with RunWriter(_RECORDS, work, name, memory=_MEMORY) as keys, RunWriter(_ENTRIES, work, name) as entries:
                for number in range(len(files)):
                    _add(keys, entries, number, read(number))
            if folder is not None:
                try:
                    return cls(folder, _kept(folder, work, keys.file, entries.file, mark))
                except WriteError:
                    pass  # a folder that is for reading only: nothing is kept
            temporary = tempfile.mkdtemp(prefix="dolma-ids-")
            index = cls(temporary, _kept(temporary, work, keys.file, entries.file, mark))
            weakref.finalize(index, shutil.rmtree, temporary, ignore_errors=True)
            return index

    def find(self, key: str) -> list[Found]:
        """The records whose keys have the hash of this one, in the order of files and rows."""
        number = _hash(key)
        found: list[Found] = []
        for records in self._between(_RECORDS, self._note.keys, number):
            found += map(Found, records["file"].to_pylist(), records["row"].to_pylist())
        return sorted(found)

    def entry(self, file: int, *, row: int | None = None, line: int | None = None) -> Entry | None:
        """Where to enter a file to reach a row or a 1-based line with the least reading; None: at its beginning."""
        best: Entry | None = None
        for records in self._between(_ENTRIES, self._note.entries, file):
            for found in records.to_pylist():
                cut = Cut(**{name: found[name] for name in Cut._fields})
                cut = cut._replace(end=None if cut.end == _TO_THE_END else cut.end)
                here = Entry(found["first_row"], found["part"], cut)
                before = here.first_row <= row if row is not None else line is None or cut.first_line <= line
                if before and (best is None or here.first_row >= best.first_row):
                    best = here
        return best

    def _between(self, table: Table, file: RunFile, key: int) -> Iterator[pa.RecordBatch]:
        if not file.rows:
            return
        (part,) = partitions(table, self._folder, [file], [key, key + 1])
        yield from read_sorted(table, self._folder, part)


def _add(keys: RunWriter, entries: RunWriter, number: int, found: Iterator[tuple[Entry | None, Iterable[str]]]) -> None:
    n_rows = 0
    for entry, some in found:
        if entry is not None:
            end = _TO_THE_END if entry.cut.end is None else entry.cut.end
            values = [number, n_rows, entry.part, *entry.cut._replace(end=end)]
            entries.add(
                pa.RecordBatch.from_pylist([dict(zip(_ENTRIES.schema.names, values, strict=True))], _ENTRIES.schema)
            )
        hashes = np.fromiter(map(_hash, some), np.uint64)
        columns = [
            pa.array(hashes),
            pa.array(np.full(len(hashes), number, np.uint64)),
            pa.array(np.arange(n_rows, n_rows + len(hashes), dtype=np.int64)),
        ]
        if len(hashes):
            keys.add(pa.RecordBatch.from_arrays(columns, schema=_RECORDS.schema))
        n_rows += len(hashes)


def _hash(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode(errors="surrogatepass"))


def _kept(folder: str, work: str, keys: RunFile, entries: RunFile, mark: str) -> _Note:
    """Put the index there; what else lies there is of files as they were before, and goes."""
    note = _Note(
        version=_VERSION,
        about=mark,
        keys=_sorted(_RECORDS, work, keys, folder),
        entries=_sorted(_ENTRIES, work, entries, folder),
    )
    streams.write_bytes(streams.join(folder, _NOTE), msgspec.json.encode(note))
    for table, kept in ((_RECORDS, note.keys), (_ENTRIES, note.entries)):
        for path in streams.list_files(streams.join(folder, table.name)):
            if path != streams.join(folder, kept.path):
                streams.remove(path)
    return note


def _sorted(table: Table, work: str, file: RunFile, folder: str) -> RunFile:
    """All records in one run, in the folder."""
    name = os.path.basename(file.path)
    with RunWriter(table, folder, name) as writer:
        writer.write_run(read_sorted(table, work, whole_runs([file]), memory=_MEMORY))
    return writer.file


def _mark(files: Sequence[streams.Entry], about: Any) -> str:
    """What changes with the files, and with what decides which keys they have."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(msgspec.json.encode([file.path, file.size, file.version]))
    digest.update(msgspec.json.encode(about))
    return digest.hexdigest()
