"""Where documents may be: files of documents, finished file sets, quarantines and files of ids, of a recipe or folders.

Nothing outside of these is looked at or written. What a link leads to outside of them is named as not reached.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dolma.config import MixConfig, Recipe
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.discovery import absent_folder, fixed_prefix
from dolma.data.documents import Reading
from dolma.data.manifest import NAMES, Manifest, OutputFile, read_manifest, stage_of
from dolma.data.shards import Shard
from dolma.data.takedown import STAGED
from dolma.data.tokens import NAME as TOKENS
from dolma.errors import ConfigError
from dolma.graph import Graph, corpus_of, graph_of, reading_of
from dolma.printable import printable
from dolma.removal.receipt import Unreached
from dolma.runner.standing import JOURNAL, WORK
from dolma.stages import kind_written

DOCUMENTS, MIXED = "documents", {"documents": "mixed documents", "dropped": "dropped", "holdout": "held-out documents"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """A file of documents: a source, or with `out` an output of the file set in `home`."""

    shard: Shard
    kind: str
    home: str = ""
    out: OutputFile | None = None
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSetThere:
    """A finished file set."""

    folder: str
    manifest: Manifest

    @property
    def writes(self) -> str:
        """What its stage writes; the name of a stage that is none of a recipe, unless it writes token shards."""
        if any(out.path == TOKENS for out in self.manifest.outputs):
            return "tokens"
        return kind_written(self.manifest.stage) or self.manifest.stage

    def path(self, out: OutputFile) -> str:
        """Where an output lies."""
        return streams.join(self.folder, out.path)


@dataclass(slots=True, kw_only=True)
class Places:
    """All of it. `home` is the folder of the run, or the first one given; `dataset` what rules are about."""

    home: str
    reading: Reading
    documents: list[DocumentFile] = field(default_factory=list)
    sets: list[FileSetThere] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    id_files: list[str] = field(default_factory=list)
    unreached: list[Unreached] = field(default_factory=list)
    dataset: Dataset | None = None

    @property
    def folders(self) -> list[str]:
        """The folders of the file sets."""
        return [one.folder for one in self.sets]

    def of(self, *kinds: str) -> Iterator[FileSetThere]:
        """The file sets whose stages write one of these."""
        return (one for one in self.sets if one.writes in kinds)


def home_of(recipe: Recipe, folders: Sequence[str]) -> str:
    """The folder of the run, or the first one that was given: of the journal, and of the list where there is none yet.

    Raises:
        ConfigError: there is none.
    """
    home = recipe.output or next(iter(folders), None)
    if home is None:
        raise ConfigError(
            "nothing says where to look\n  give a recipe with an `output`, `-c RECIPE`, or folders: "
            "`dolma takedown runs/a --ids FILE`"
        )
    _refuse_remote([home, *folders])
    return home


def _refuse_remote(folders: Iterable[str]) -> None:
    for folder in folders:
        if streams.is_url(folder):
            raise ConfigError(
                f"{printable(folder)} is not on a disk of this machine, so nothing there can be taken down at once\n"
                "  copy it to a disk, take down there, and copy it back"
            )


def places_of(recipe: Recipe, folders: Sequence[str], *, read_only: Sequence[str] = ()) -> Places:
    """Where documents of a recipe, and of folders beside it, may be.

    Raises:
        ConfigError: there is nothing to look at; a folder is remote, or has a stage that is not finished; documents are
            of a file set that is not among these.
    """
    graph = graph_of(recipe) if recipe.given or recipe.stages else Graph({})
    datasets, home = _datasets(recipe, graph), home_of(recipe, folders)
    found = Places(home=home, reading=reading_of(recipe), dataset=_of_rules(recipe, graph))
    homes = _homes([home, *folders], datasets)
    _refuse_remote(homes)
    for folder in folders:
        if not os.path.isdir(folder):
            raise ConfigError(
                f"{printable(folder)}: {absent_folder(folder) or 'is no folder'}"
                "\n  give the folder of a run or of documents"
            )
    found.sets = list(_sets(homes, found.unreached))
    _refuse_unfinished(homes)
    _add_documents(found, datasets, read_only)
    quarantine = found.reading.quarantine or recipe.quarantine
    quarantines = [quarantine] if quarantine else [streams.join(one, "quarantine") for one in (home, *folders)]
    found.quarantined = sorted({path for one in quarantines for path in streams.list_files(one) if _is_kept(path)})
    configs = [node.config for node in graph]
    ids = [config.holdout.ids for config in configs if isinstance(config, MixConfig) and config.holdout is not None]
    for path in dict.fromkeys(path for path in ids if path is not None and os.path.isfile(path)):
        real = streams.real_path(path)
        if any(streams.real_path(one.path(out)) == real for one in found.sets for out in one.manifest.outputs):
            continue  # of a mix that is among these
        if _is_read_only(path, read_only):
            found.unreached.append(Unreached(path=path, why="marked as read-only"))
        else:
            found.id_files.append(path)
    paths = [*(file.shard.path for file in found.documents if file.out is None), *filter(None, ids)]
    for pattern in read_only:
        if not any(_is_read_only(path, [pattern]) for path in paths):
            raise ConfigError(
                f"no file of documents matches '{printable(pattern)}', so that all of them would be written to"
                "\n  give a pattern of files that were named, or a folder of them",
                path="--read-only",
            )
    return found


def _is_kept(path: str) -> bool:
    """Whether a file of a quarantine holds records."""
    return path.endswith(".jsonl") and not path.endswith(".reasons.jsonl")


def _datasets(recipe: Recipe, graph: Graph) -> list[Dataset]:
    """The documents that no stage of the recipe writes."""
    own = [node.dataset for node in graph if "documents" in node.stage.reads and not graph.inputs(node, "documents")]
    if not own and recipe.documents:
        own = [corpus_of(recipe)]
    patterns = {one.documents: replace(one, limited=None) for one in own if one.documents}
    return list(patterns.values())


def _of_rules(recipe: Recipe, graph: Graph) -> Dataset | None:
    """The documents that a rule is about: those of the first stage that reads attributes, else of the corpus."""
    with_attributes = (node.dataset for node in graph if "attributes" in node.stage.reads)
    found = next(with_attributes, corpus_of(recipe) if recipe.documents else None)
    return None if found is None else replace(found, limited=None)


def _homes(folders: Iterable[str], datasets: Iterable[Dataset]) -> list[str]:
    """The folders below which file sets are looked for."""
    found = dict.fromkeys(folder.rstrip("/") or "/" for folder in folders)
    for dataset in datasets:
        shards = dataset.shards()
        for shard in shards if dataset.has_homes(shards) else ():
            found.setdefault(os.path.dirname(dataset.attribute_folder("x", shard)))
        found |= dict.fromkeys(dataset.further)
    return list(found)


def _sets(homes: Iterable[str], unreached: list[Unreached]) -> Iterator[FileSetThere]:
    """The finished file sets at or below these folders."""
    seen: set[str] = set()
    for home in homes:
        for path in streams.list_files(home):
            folder, _, name = path.rpartition("/")
            if name not in NAMES or folder.endswith(f"/{STAGED}") or (real := streams.real_path(folder)) in seen:
                continue
            if not any(streams.is_below(folder, one) for one in homes):
                unreached.append(Unreached(path=folder, why="a link leads there, out of the folders that were named"))
                continue
            seen.add(real)
            manifest = read_manifest(folder)
            assert manifest is not None
            yield FileSetThere(folder=folder, manifest=manifest)


def _refuse_unfinished(homes: Iterable[str]) -> None:
    for home in homes:
        for path in streams.list_files(home):
            if f"/{JOURNAL}/" in path or f"/{WORK}/" in path:
                folder = path.partition(f"/{JOURNAL}/")[0].partition(f"/{WORK}/")[0]
                raise ConfigError(
                    f"{printable(folder)} has a stage that is not finished, and whose files may hold documents\n"
                    "  run its command again; or give it up, and remove `.journal`, `.work` and `.lock` there"
                )


# --- documents -------------------------------------------------------------------------------------------------------


def _add_documents(found: Places, datasets: Sequence[Dataset], read_only: Sequence[str]) -> None:
    mine = {streams.real_path(one.path(out)): (one, out) for one in found.sets for out in one.manifest.outputs}
    seen: set[str] = set()
    known: dict[str, frozenset[str]] = {}
    for dataset in datasets:
        roots = [streams.real_path(fixed_prefix(pattern) or ".") for pattern in dataset.documents]
        for shard in dataset.shards():
            real = streams.real_path(shard.path)
            if real in seen or real in mine:
                continue
            seen.add(real)
            _refuse_of_others(shard, known)
            why = _why_not(shard, roots, read_only)
            if why:
                found.unreached.append(Unreached(path=shard.path, why=why))
            found.documents.append(DocumentFile(shard=shard, kind=DOCUMENTS, writable=not why))
    for one in found.of("documents"):
        for out in one.manifest.outputs:
            first, _, inner = out.path.partition("/")
            if inner and first in MIXED:
                path = one.path(out)
                shard = Shard(path=path, name=inner, root=one.folder, inner=inner, size=out.bytes)
                found.documents.append(DocumentFile(shard=shard, kind=MIXED[first], home=one.folder, out=out))


def _why_not(shard: Shard, roots: Sequence[str], read_only: Sequence[str]) -> str:
    """Why a file of documents is not written to; "" where it is."""
    if streams.is_url(shard.path):
        return "not on a disk of this machine"
    if _is_read_only(shard.path, read_only):
        return "marked as read-only"
    if not any(streams.is_below(shard.path, root) for root in roots):
        return "a link leads there, out of the folders that were named"
    return ""


def _is_read_only(path: str, patterns: Iterable[str]) -> bool:
    whole = path if streams.is_url(path) else os.path.abspath(streams.local_path(path))
    return any(
        fnmatch.fnmatchcase(whole, pattern if streams.is_url(pattern) else os.path.abspath(pattern))
        or (os.path.exists(pattern) and streams.is_below(path, pattern))
        for pattern in patterns
    )


def _refuse_of_others(shard: Shard, known: dict[str, frozenset[str]]) -> None:
    """Return when the file is no output of a finished file set; `known` are the outputs of those by folder."""
    folder, below = os.path.split(os.path.abspath(streams.local_path(shard.path)))
    while not streams.is_url(shard.path) and os.path.dirname(folder) != folder:
        if folder not in known:
            manifest = read_manifest(folder) if stage_of(folder) is not None else None
            known[folder] = frozenset(() if manifest is None else (out.path for out in manifest.outputs))
        if below in known[folder]:
            raise ConfigError(
                f"{printable(shard.path)} is a file of the finished output in {printable(folder)}, "
                "which was not named\n  name that folder, too, or take down with its own recipe"
            )
        folder, name = os.path.split(folder)
        below = f"{name}/{below}"
