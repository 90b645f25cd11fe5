"""The index of a set: what a later run needs of the documents that were compared, so that it reads new ones alone.

    <set>/_index/index.json     `Index`: settings, the files in corpus order, and where their records are
    <set>/_index/<table>/...    files of the exchange: a row for each document, and the keys, sorted, by range

An index is part of its set: its files are outputs that the manifest lists, so both are finished at once. A run with
`--since` makes a set of the old documents and the new ones in a folder of its own: attribute files of old documents
whose rows stay are linked, all others are written. If it is to stand in the place of the old set, the two folders are
exchanged when all is done (`swap_folders`). So a kill leaves the old set with the old index, or the new with the new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import pyarrow as pa

from dolma.data import streams
from dolma.data.exchange import RunFile, RunWriter, Table
from dolma.data.json_text import decode_json
from dolma.data.manifest import REFERENCES, InputFile, Manifest, OutputFile, output_file, read_manifest
from dolma.data.storage.local import local_path
from dolma.errors import ConfigError, DataError
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.task import TaskResult

FORMAT_VERSION = 1
FOLDER = "_index"  # what reads a folder of parquet passes over such names
_HEADER = "index.json"
_NAME = "name the set that `dolma dedupe --index` has made, such as `--since runs/a/dedupe`"
_NEXT = "make the set of all documents with `dolma dedupe --index`"


class HeldFile(msgspec.Struct, frozen=True, kw_only=True):
    """A document file that was compared: its attribute file below the set ("" for a reference), and of each piece the
    number of documents and its rows, if the method keeps them; `copies` counts what is written, as in `Copies`."""

    input: InputFile
    attributes: str
    documents: list[int]
    rows: list[RunFile]
    copies: dict[str, Any]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """`index.json`. `settings` decide the answer; paths in `records`, by table, and in rows are below the index.

    The ledgers are those of the documents and of references; `without_key` counts documents that can have no copy.
    """

    format_version: int
    settings: dict[str, Any]
    files: list[HeldFile]
    records: dict[str, list[RunFile]]
    ledger: Ledger
    references: Ledger
    without_key: int


@dataclass(frozen=True, kw_only=True)
class Held:
    """An index on disk, in the set in `folder`, whose manifest says that it is whole."""

    folder: str
    index: Index
    digest: str
    manifest: Manifest

    @property
    def documents(self) -> list[int]:
        """The number of documents of each piece."""
        return [n for file in self.index.files for n in file.documents]

    @cached_property
    def first_pieces(self) -> list[int]:
        """The number of the first piece of each file, and that of the first new piece."""
        firsts = [0]
        for file in self.index.files:
            firsts.append(firsts[-1] + len(file.documents))
        return firsts

    @property
    def n_reference_pieces(self) -> int:
        """How many of the pieces are of references, which come first."""
        return sum(len(file.documents) for file in self.index.files if not file.attributes)

    def files(self, table: Table) -> list[RunFile]:
        """The sorted records of a table, with whole paths."""
        return list(map(self._placed, self.index.records.get(table.name, [])))

    def rows(self, number: int) -> dict[int, RunFile]:
        """The rows of the file of this number, by piece."""
        first = self.first_pieces[number]
        return {first + i: self._placed(rows) for i, rows in enumerate(self.index.files[number].rows)}

    @cached_property
    def outputs(self) -> dict[str, OutputFile]:
        """The outputs of the set, by path."""
        return {out.path: msgspec.structs.replace(out, set=self.folder) for out in self.manifest.outputs}

    def check(self, settings: dict[str, Any]) -> None:
        """Return when these settings are those of the index.

        Raises:
            ConfigError: they are not.
        """
        wanted, there = msgspec.json.decode(msgspec.json.encode(settings)), self.index.settings
        for key in ("method", *sorted(wanted.keys() | there.keys())):  # other keys follow from the method
            if wanted.get(key) != there.get(key):
                raise ConfigError(
                    f"{printable(self.folder)} has an index of other settings: its `{key}` is {there.get(key)!r}, "
                    f"here it is {wanted.get(key)!r}\n"
                    f"  give the settings that it was made with; or leave `--since` out and {_NEXT}"
                )

    def is_held(self, file: InputFile, path: str) -> bool:
        """Whether the index holds this file.

        Raises:
            ConfigError: it holds another one of this name; or this is a reference that it does not hold.
        """
        there = self._by_name.get(file.name)
        if there is not None and there != file:
            raise ConfigError(
                f"{printable(path)} is another one than when the index of {printable(self.folder)} was made\n"
                f"  give the new documents a file of their own; or leave `--since` out and {_NEXT}"
            )
        if there is None and file.name.startswith(REFERENCES):
            raise ConfigError(
                f"{printable(path)} is a reference that the index of {printable(self.folder)} does not hold, and "
                f"references come first\n  leave it out; or leave `--since` out and {_NEXT}",
                path="$.dedupe.reference",
            )
        return there is not None

    @cached_property
    def _by_name(self) -> dict[str, InputFile]:
        return {file.input.name: file.input for file in self.index.files}

    def _placed(self, file: RunFile) -> RunFile:
        home = self.folder if streams.is_url(self.folder) else os.path.abspath(local_path(self.folder))
        return msgspec.structs.replace(file, path=streams.join(home, FOLDER, file.path))


def open_index(path: str) -> Held:
    """The index of a set; `path` is that of the set, or of its folder `_index`.

    Raises:
        ConfigError: there is none.
        DataError: it cannot be read, or is not whole.
    """
    folder = path.rstrip("/").removesuffix(f"/{FOLDER}") or path
    manifest = read_manifest(folder)
    outputs = {out.path: out for out in manifest.outputs} if manifest is not None else {}
    header = outputs.get(f"{FOLDER}/{_HEADER}")
    if manifest is None:
        raise ConfigError(f"{printable(folder)} is no finished set of attributes\n  {_NAME}")
    if header is None:
        raise ConfigError(f"{printable(folder)} has no index\n  {_NAME}")
    there = streams.entries_below(folder)
    for out in outputs.values():
        if (entry := there.get(out.path)) is None or entry.size != out.bytes:
            what = "gone" if entry is None else "of another size"
            raise DataError(
                f"is {what} since its set was made\n  put it back as it was; or leave `--since` out and {_NEXT}",
                file=streams.join(folder, out.path),
            )
    where = streams.join(folder, header.path)
    data = streams.read_bytes(where)
    try:
        index = decode_json(data, Index) if streams.checksum(where) == header.checksum else None
    except msgspec.DecodeError:
        index = None
    if index is None or index.format_version != FORMAT_VERSION:
        raise DataError(f"is no index of this version of dolma\n  leave `--since` out and {_NEXT}", file=where)
    return Held(folder=folder, index=index, digest=header.checksum, manifest=manifest)


# --- writing ---------------------------------------------------------------------------------------------------------


def keep_sorted(
    table: Table, folder: str, name: str, records: Iterator[pa.RecordBatch]
) -> tuple[RunFile, list[OutputFile]]:
    """A file of the index of the set in `folder`, of sorted records; and the same as outputs of the set."""
    with RunWriter(table, streams.join(folder, FOLDER), name) as out:
        out.write_run(records)
    return out.file, [msgspec.structs.replace(one, set=folder, path=f"{FOLDER}/{one.path}") for one in out.outputs]


def linked(out: OutputFile, folder: str, path: str = "") -> OutputFile:
    """A finished output of another set, in that in `folder`: one file with two names; a copy where that cannot be.

    `path` is its path there, if that is another one.
    """
    path = path or out.path
    source, target = streams.join(out.set, out.path), streams.join(folder, path)
    if not (streams.is_url(source) or streams.is_url(target)):
        os.makedirs(os.path.dirname(local_path(target)), exist_ok=True)
        streams.remove(target)
        with suppress(OSError):
            os.link(local_path(source), local_path(target))
            return msgspec.structs.replace(out, set=folder, path=path)
    return output_file(folder, streams.concatenate([source], target), rows=out.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFile:
    """Takes a file into the index of the set in `folder`. Called with one of an older index, or of the work folder."""

    folder: str

    def __call__(self, file: OutputFile) -> TaskResult:
        return TaskResult(outputs=[linked(file, self.folder, f"{FOLDER}/{file.path.removeprefix(f'{FOLDER}/')}")])


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteIndex:
    """Writes `index.json` of the set in `folder`. Called with what it holds."""

    folder: str

    def __call__(self, spec: Index) -> TaskResult:
        with streams.open_output(streams.join(self.folder, FOLDER, _HEADER)) as out:
            out.write(msgspec.json.encode(spec, order="deterministic"))
        return TaskResult(outputs=[output_file(self.folder, out.written)])
