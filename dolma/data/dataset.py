"""Where things lie: the one place that knows the words `documents` and `attributes`.

A shard's attributes lie beside its documents (`books/documents/a.jsonl.gz` has
`books/attributes/<name>/a.jsonl.gz.parquet`) unless the dataset names another folder for them: see `places`. A shard's
name depends on the patterns, never on which files matched.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dolma.data import discovery, streams
from dolma.data.documents import Reading
from dolma.data.formats.table import format_of
from dolma.data.limit import first_documents
from dolma.data.manifest import NAMES
from dolma.data.places import (
    AttributesFormat,
    Place,
    Root,
    is_native,
    known_of,
    name_below,
    names_of,
    namesakes,
    note_of,
    root_of,
)
from dolma.data.shards import Piece, Shard, identified
from dolma.errors import ConfigError, DataError, nearest
from dolma.names import check_path
from dolma.printable import printable

__all__ = ["AttributesFormat", "Dataset", "Piece", "Place", "Shard", "identified", "is_native", "pieces"]

PIECE_BYTES = 256 << 20
_DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Documents by pattern, and where their attributes lie (None: beside each `documents` folder).

    Attributes are written there, and found there and in the folders `further`.
    `exclude` and `outputs` are those of `discovery.find`. Files longer than `piece_bytes` on disk are read in pieces,
    by a task each. Of a dataset that is `limited` only the first documents are there, as many as that reading says.
    """

    documents: tuple[str, ...]
    attributes: str | None = None
    further: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    piece_bytes: int = PIECE_BYTES
    limited: Reading | None = None

    def shards(self) -> list[Shard]:
        """The document files in corpus order.

        Raises:
            ConfigError: a pattern matches nothing; one file matches twice.
            DataError: a link leads nowhere, or a name is not UTF-8.
        """
        if not self.documents:
            raise ConfigError("no documents given\n  name them: `--documents 'data/*/documents/*.jsonl.gz'`")
        found = self._found()
        paths = [path for one in found for path in one.paths]
        if not paths:
            raise ConfigError(
                f"every document file is left out: {discovery.describe(self.left_out())}"
                "\n  name the files themselves, or change `--exclude`"
            )
        twice = [path for path, n in Counter(map(_identity, paths)).items() if n > 1]
        if twice:
            raise ConfigError(f"listed twice: {twice[0]}\n  each document file may match one pattern only")
        base = self._base()
        entries = {path: entry for one in found for path, entry in one.entries.items()}
        shards = sorted((self._shard(path, base, entries.get(path)) for path in paths), key=lambda shard: shard.name)
        names = Counter(shard.name for shard in shards)
        clash = next((name for name, n in names.items() if n > 1), None)
        if clash:
            both = [shard.path for shard in shards if shard.name == clash]
            raise ConfigError(
                f"two files would be called {clash!r}: {both[0]} and {both[1]}\n"
                "  rename one of them, or read them in two runs"
            )
        return shards if self.limited is None else first_documents(shards, self.limited)

    def left_out(self) -> dict[str, list[str]]:
        """The files and folders that patterns match and that are not read, by reason."""
        merged: dict[str, list[str]] = {}
        for found in self._found():
            for reason, paths in found.left_out.items():
                merged.setdefault(reason, []).extend(paths)
        return merged

    def _base(self) -> str:
        return os.path.commonpath([_bare(discovery.fixed_prefix(pattern)) or "." for pattern in self.documents])

    @property
    def base(self) -> Root:
        """The folder that all patterns have in common."""
        return names_of(self._base())

    def _found(self) -> list[discovery.Found]:
        return [discovery.find(one, exclude=self.exclude, outputs=self.outputs) for one in self.documents]

    def _shard(self, path: str, base: str, entry: streams.Entry | None) -> Shard:
        relative = _relative(_bare(path), base)
        root, inner = _split_documents(path)
        name = "/".join(part for part in relative.split("/") if part != _DOCUMENTS) if root or inner else relative
        size = streams.size(path) if entry is None else entry.size
        if size is None:
            raise DataError(
                "no such file\n  look for the name in its folder, or give a pattern: `'data/*.jsonl.gz'`", file=path
            )
        _check_name(path, name)
        return Shard(path=path, name=name, root=root, inner=inner, size=size)

    def pieces(self, shards: Sequence[Shard]) -> list[Piece]:
        """The pieces of these shards, in order."""
        return [piece for shard in shards for piece in pieces(shard, piece_bytes=self.piece_bytes)]

    def attribute_folder(self, name: str, shard: Shard) -> str:
        """The folder of the file set that holds the attribute `name` of this shard.

        Raises:
            ConfigError: the path has no `documents` folder to lie beside, and no attributes folder was given.
        """
        if self.attributes is not None:
            return self._set_folder(name, self.attributes)
        if not shard.inner:
            parent = os.path.dirname(os.path.dirname(shard.path)) or "."
            tried = streams.join(parent, "attributes", name)
            raise ConfigError(
                f"{printable(shard.path)}: no folder called 'documents' in this path, so {printable(tried)} "
                "would be a guess\n"
                "  say where attributes lie with `--attributes DIR`, or keep documents in a folder called `documents`"
            )
        return streams.join(shard.root, "attributes", name)

    def has_homes(self, shards: Sequence[Shard]) -> bool:
        """Whether it is known where attributes of all these shards lie."""
        return self.attributes is not None or all(shard.inner for shard in shards)

    def home(self, shards: Sequence[Shard]) -> str:
        """The folder of the attribute sets of these shards, or of the first of them; "" where there is none."""
        return self.attributes or next((streams.join(shard.root, "attributes") for shard in shards if shard.inner), "")

    def attribute_homes(self) -> list[str]:
        """Folders of attribute sets, as far as they are known before anything is listed."""
        found = [self.attributes, *self.further]
        if self.attributes is None:
            roots = [_split_documents(streams.join(pattern, "x"))[0] for pattern in self.documents]
            found += [streams.join(root, "attributes") for root in roots if root and not discovery.is_wild(root)]
        return [home for home in found if home is not None]

    def places(self, name: str, shards: Sequence[Shard]) -> list[Place]:
        """Where the attribute set `name` has, or is to have, the file of each shard, in their order.

        Raises:
            ConfigError: there is no such place, or two files would have one.
        """
        if self.attributes is None:
            return [Place(folder=self.attribute_folder(name, shard), name=shard.inner) for shard in shards]
        folder = self._set_folder(name, self.attributes)
        known = known_of(folder)
        root = root_of(known, shards, self.base)
        note = note_of(folder, root)
        places = [Place(folder=folder, name=name_below(names_of(shard.path), root), root=note) for shard in shards]
        seen: dict[str, Shard] = {}
        for shard, place in zip(shards, places, strict=True):
            _check_name(shard.path, place.name)
            if (other := seen.setdefault(place.name, shard)) is not shard:
                raise _one_place(other.path, shard, place)
        for path, shard in namesakes(known, shards, root):
            raise _one_place(path, shard, places[shards.index(shard)])
        return places

    def attribute_files(self, name: str, shards: Sequence[Shard]) -> list[tuple[Place, str | None]]:
        """Where the attribute set `name` has the file of each shard, in their order; None where it has none."""
        places = self.places(name, shards)
        there = {folder: streams.entries_below(folder).keys() for folder in {place.folder for place in places}}
        return [(place, place.found(there[place.folder])) for place in places]

    def attribute_names(self, shards: list[Shard] | None = None) -> list[str]:
        """The attributes found on disk for any of the shards, sorted.

        Raises:
            ConfigError: two folders have attributes of one name.
        """
        shards = self.shards() if shards is None else shards
        alone = replace(self, further=())
        homes = {os.path.dirname(alone.attribute_folder("x", shard)) for shard in shards}
        names = {name for home in homes for name in _folders(home)}
        for home in self.further:
            if twice := sorted(names & _folders(home)):
                raise ConfigError(
                    f"attributes {twice[0]!r} are in {printable(home)} and in another folder of attributes"
                    "\n  leave one of them out, or give the set another name"
                )
            names |= _folders(home)
        return sorted(names)

    def check_attributes(self, shards: Sequence[Shard]) -> None:
        """Return when the folder of attributes that was given, if one was, has some of these shards.

        Raises:
            ConfigError: it has none; says what it has.
        """
        home = (self.attributes or "").rstrip("/")
        names = self.attribute_names(list(shards)) if home else []
        if not home or any(path for name in names for _, path in self.attribute_files(name, shards)):
            return
        below, (parent, name) = streams.join(home, "attributes"), os.path.split(home)
        is_local = not streams.is_url(home) and os.path.isdir(parent or ".")
        near = nearest(name, os.listdir(parent or ".")) if is_local and not os.path.isdir(home) else None
        if any(streams.exists(streams.join(home, mark)) for mark in NAMES):  # one set, of several in the folder above
            meant = parent
        else:
            meant = below if _folders(below) else streams.join(parent, near) if near is not None else ""
        hint = f"did you mean {printable(meant)}?" if meant else "give the folder that `dolma tag` has written them to"
        has = ", ".join(map(printable, names)) or "none"
        raise ConfigError(f"no attributes of these documents in {printable(home)}; it has: {has}\n  {hint}")

    def _set_folder(self, name: str, first: str) -> str:
        """The folder of an attribute set: of several that may have it the one that has."""
        folders = [streams.join(home, name) for home in (first, *self.further)]
        return next((folder for folder in folders if self.further and streams.list_files(folder)), folders[0])


def _one_place(other: str, shard: Shard, place: Place) -> ConfigError:
    return ConfigError(
        f"{printable(other)} and {printable(shard.path)} would both have their attributes at "
        f"{printable(place.path())}\n  rename one of them, or give the second another `--attributes` folder"
    )


def _check_name(path: str, name: str) -> None:
    try:
        check_path(name)
    except ValueError as error:
        raise ConfigError(f"{printable(path)}: outputs would be named after it, and {error}\n  rename it") from None


def _folders(home: str) -> set[str]:
    """The folders that have files; those of a stage that has begun and written nothing have hidden ones alone."""
    below = [path.removeprefix(streams.join(home, "")).partition("/") for path in streams.list_files(home)]
    return {folder for folder, _, path in below if path and not folder.startswith(".") and not path.startswith(".")}


def _identity(path: str) -> str:
    return path if streams.is_url(path) else os.path.realpath(path)


def _bare(path: str) -> str:
    """The path as `os.path.commonpath` takes it: relative and absolute ones do not mix, URLs keep their scheme."""
    if streams.is_url(path):
        return "/" + path.replace("://", "/", 1)
    return os.path.abspath(path.removeprefix("file://"))


def _relative(path: str, base: str) -> str:
    base = os.path.abspath(base)
    return path.removeprefix(base).lstrip("/") or os.path.basename(path)


def _split_documents(path: str) -> tuple[str, str]:
    """The folder that holds the last `documents` of the path, and what lies below it; both "" without one."""
    top = "/".join(path.split("/", 3)[:3]) if streams.is_url(path) else ""  # the bucket's name is no folder
    home, found, inner = ("/" + path.removeprefix(top).lstrip("/" if top else "")).rpartition(f"/{_DOCUMENTS}/")
    if not found:
        return "", ""
    if top:
        return top + home, inner
    return home[1:] or ("/" if path.startswith("/") else "."), inner


def pieces(shard: Shard, *, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """The parts of a shard that separate tasks may read; one where the format cannot be entered in the middle.

    A function of the file and `piece_bytes` alone. A long file is read to count its lines, unless that was done before.
    """
    if shard.documents is not None:
        return [Piece(shard=shard)]
    if shard.cuts is not None and piece_bytes == PIECE_BYTES:
        n_parts = len(shard.cuts)
        return [Piece(shard=shard, part=i, parts=n_parts, **cut._asdict()) for i, cut in enumerate(shard.cuts)]
    return [Piece(shard=shard)] if shard.size <= piece_bytes else format_of(shard.path).pieces(shard, piece_bytes)
