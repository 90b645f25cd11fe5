"""Where the attributes of a document file lie: a matter of its own path and of the set, never of a pattern.

Beside a folder called `documents`, a set lies in `attributes/<set>`, and names are paths below these two. In a folder
that is given for attributes, names are paths below the set's root: what the patterns of its first run had in common,
which its manifest keeps (`notes.root`, relative to the set where both are local). A document file that does not lie
below the root is named by its path below the nearest folder that it shares with the root.

Folders called `documents` are left out of names in a folder of attributes. A set whose manifest has no root, and one
whose documents were moved, tells it by the names and sizes of its documents.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dolma.data import streams
from dolma.data.formats.table import format_name, is_document
from dolma.data.manifest import read_manifest
from dolma.data.shards import Shard
from dolma.errors import DataError

AttributesFormat = Literal["parquet", "dolma1"]
DOCUMENTS = "documents"
_FORMATS: tuple[AttributesFormat, ...] = ("parquet", "dolma1")
_NATIVE = ".parquet"
_TEXT = ".jsonl.gz"
_TRIED = 16  # documents that are looked for at their old place
Root = tuple[str, ...]
"""The names of folders from the top; a URL begins with its scheme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a set has the attributes of a document file: in `folder`, called `name` and a suffix of the format.

    `root` is what the set's manifest is to say of it: "" beside documents.
    """

    folder: str
    name: str
    root: str = ""

    def path(self, format: AttributesFormat = "parquet") -> str:
        """Where the attribute file is written."""
        return streams.join(self.folder, self.below(format))

    def below(self, format: AttributesFormat) -> str:
        """The same from the set's folder."""
        return self.name + suffix_of(self.name, format)

    def document(self, name: str, shard: Shard) -> str | None:
        """The document file that the set calls so, None if there is none; `shard` is the one of this place.

        It lies below the set's root, or below a folder above that.
        """
        own = self.name.split("/")
        home = shard.path
        for part in reversed(own):
            home = home.removesuffix(part).rstrip("/").removesuffix(f"/{DOCUMENTS}")
        below = _root_of_note(self.folder, self.root)[len(names_of(shard.path)) - len(own) :] if self.root else ()
        tries = [(home, below[:i]) for i in range(len(below), -1, -1)]
        if self.root:
            tries += [(folder, ()) for folder in _above(home)]
        found = (_there(folder, "/".join((*rest, name))) for folder, rest in tries)
        return next((path for path in found if path is not None), None)

    def found(self, there: Container[str]) -> str | None:
        """The attribute file in whichever format is `there`, by its path from the set's folder; None: there is none."""
        return next((self.path(format) for format in _FORMATS if self.below(format) in there), None)


def suffix_of(name: str, format: str) -> str:
    """What follows the name of a document file in that of its attributes."""
    if format == "parquet":
        return _NATIVE
    return "" if format_name(name) == "jsonl" else _TEXT  # 1.x: named as the documents are


def is_native(path: str) -> bool:
    """Whether an attribute file is in our own form; else it is in that of Dolma 1.x.

    >>> is_native("length/a.jsonl.gz.parquet"), is_native("length/a.jsonl.gz")
    (True, False)
    """
    return path.endswith(_NATIVE)


def document_of(path: str, format: str) -> str:
    """The name of the document file that an attribute file is of, both below the set.

    >>> document_of("a.jsonl.gz.parquet", "parquet"), document_of("a.parquet.jsonl.gz", "dolma1")
    ('a.jsonl.gz', 'a.parquet')
    """
    if format == "parquet":
        return path.removesuffix(_NATIVE)
    name = path.removesuffix(_TEXT)
    return name if is_document(name) and suffix_of(name, format) else path


def _there(folder: str, name: str) -> str | None:
    """The file of this name below a folder, where a folder called `documents` may be left out of the name."""
    parts = name.split("/")
    tries = [streams.join(folder, *parts[:i], DOCUMENTS, *parts[i:]) for i in range(len(parts))]
    return next((path for path in (streams.join(folder, name), *tries) if streams.exists(path)), None)


def _above(folder: str) -> Iterator[str]:
    """The folders above, the nearest first."""
    while (folder := folder.rpartition("/")[0]) and not folder.endswith((":/", ":")):
        yield folder


# --- roots -----------------------------------------------------------------------------------------------------------


def names_of(path: str) -> Root:
    """The names of a path from the top, without folders called `documents`.

    >>> names_of("s3://bucket/books/documents/a.jsonl"), names_of("/data/../a.jsonl")
    (('s3', 'bucket', 'books', 'a.jsonl'), ('a.jsonl',))
    """
    whole = path.replace("://", "/", 1) if streams.is_url(path) else os.path.abspath(streams.local_path(path))
    return tuple(name for name in whole.split("/") if name not in ("", DOCUMENTS))


def name_below(names: Root, root: Root) -> str:
    """What a document file is called below the nearest folder that it shares with the root.

    >>> name_below(("hf", "web", "a.parquet"), ("hf",)), name_below(("hf", "web", "a.parquet"), ("hf", "code"))
    ('web/a.parquet', 'web/a.parquet')
    """
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(names[:-1], root, strict=False))
    return "/".join(names[sum(1 for _ in shared) :])


class Known(NamedTuple):
    """The root that a set's manifest has, and the documents that the set has attributes of, with their sizes."""

    root: Root | None
    sizes: Mapping[str, int | None]


def root_of(known: Known, shards: Sequence[Shard], base: Root) -> Root:
    """The root of a set in a folder of attributes; `base` is what the patterns have in common."""
    recorded, sizes = known
    root = base if recorded is None else recorded
    files = [(names_of(shard.path), shard.size) for shard in shards]
    for names, _ in files:
        if name_below(names, root) in sizes or (recorded is not None and names[: len(root)] == root):
            return root
    if recorded is not None and shards and _some_there(recorded, sizes, url=streams.is_url(shards[0].path)):
        return root
    return _implied(sizes, files) or root


def _some_there(root: Root, names: Iterable[str], *, url: bool) -> bool:
    """Whether a document that a set names lies below this root still, so that none was moved."""
    return any(_there(_path_of(root, url=url), name) for name in itertools.islice(names, _TRIED))


def note_of(folder: str, root: Root) -> str:
    """How the manifest of the set in this folder writes its root."""
    path = "/" + "/".join(root)
    return path if streams.is_url(folder) else os.path.relpath(path, os.path.abspath(streams.local_path(folder)))


def _root_of_note(folder: str, note: str) -> Root:
    return names_of(note if note.startswith("/") else os.path.join(streams.local_path(folder), note))


def known_of(folder: str) -> Known:
    """What is known of the set in this folder; without a manifest, by the names of its files."""
    try:
        manifest = read_manifest(folder)
    except DataError:  # some other program's manifest.json
        manifest = None
    if manifest is None:
        found = [path.removeprefix(streams.join(folder, "")) for path in streams.list_files(folder)]
        return Known(None, {document_of(path, "parquet" if is_native(path) else "dolma1"): None for path in found})
    note = manifest.notes.get("root")
    sizes: dict[str, int | None] = {file.name: file.size for file in manifest.inputs}
    return Known(None if note is None else _root_of_note(folder, note), sizes)


def namesakes(known: Known, shards: Iterable[Shard], root: Root) -> Iterator[tuple[str, Shard]]:
    """Other document files that are there, each with the one of the shards that has the same place.

    A path below the root may also lie below a folder above it. The file that is nearer to the root always counts, the
    other one where it has the size that the set's manifest says, and the shard has not.
    """
    begins = functools.cache(_begins)
    for shard in shards:
        names = names_of(shard.path)
        name = name_below(names, root)
        level, size = len(names) - 1 - name.count("/"), known.sizes.get(name)
        for n in range(2 if streams.is_url(shard.path) else 0, len(root) + 1):
            if n == level or name_below((*root[:n], *name.split("/")), root) != name:
                continue
            if n < level and size in (None, shard.size):
                continue
            folder = _path_of(root[:n], url=streams.is_url(shard.path))
            other = _there(folder, name) if begins(folder, name.partition("/")[0]) else None
            if other is None or os.path.realpath(other) == os.path.realpath(shard.path):
                continue
            if n > level or streams.size(other) == size:
                yield other, shard


def _begins(folder: str, first: str) -> bool:
    """Whether a document file may be called `first`, or lie below a folder of that name."""
    if not streams.can_list(folder):
        return True
    tries = (streams.join(folder, first), streams.join(folder, DOCUMENTS, first))
    return any(streams.exists(path) or streams.list_files(path) for path in tries)


def _path_of(root: Root, *, url: bool) -> str:
    return "://".join((root[0], "/".join(root[1:]))) if url else "/" + "/".join(root)


def _implied(sizes: Mapping[str, int | None], files: Sequence[tuple[Root, int]]) -> Root | None:
    """The one root below which these files have names and sizes of `sizes`, if nothing speaks against it."""
    roots = set()
    for names, size in files:
        starts = (start for start in range(len(names)) if "/".join(names[start:]) in sizes)
        if (start := next(starts, None)) is not None:
            if sizes["/".join(names[start:])] not in (None, size):
                return None
            roots.add(names[:start])
    return roots.pop() if len(roots) == 1 else None
