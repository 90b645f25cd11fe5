"""`dolma verify`: finished outputs against their manifests, manifests against outputs, run folders against recipes.

Of a file set: every file there with its bytes and rows, and no other file; the manifest's keys fit each other and what
the outputs say of themselves. Of a run folder: every file set that `recipe.yaml` names, and every checkpoint that the
training run kept. With documents: every attribute file has their ids and was made from them.

Everything is read; nothing is written. Each problem is one line that begins with the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from dolma.config import Recipe, read_recipe
from dolma.data import streams
from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted
from dolma.data.dataset import Dataset, Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import (
    FORMAT_VERSION,
    NAME,
    NAMES,
    RECIPE,
    FileSet,
    Manifest,
    OutputFile,
    manifest_path,
    read_manifest,
)
from dolma.data.shards import Origins
from dolma.errors import ConfigError, DataError, LedgerError
from dolma.graph import Graph, corpus_of, graph_of, reading_of
from dolma.pipeline import made_otherwise, waits_for
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.standing import own_files
from dolma.stages import Checks, Node, checks_of


@dataclass(slots=True)
class Verification:
    """What was checked: `(folder, files)` per file set, and the problems found."""

    checked: list[tuple[str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def sets(self) -> int:
        return len(self.checked)

    @property
    def files(self) -> int:
        return sum(n_files for _, n_files in self.checked)


def verify(folders: list[str], recipe: Recipe) -> Verification:
    """Check every file set below the folders (default: the recipe's output and attributes).

    Raises:
        ConfigError: there is nothing to check.
    """
    dataset = corpus_of(recipe) if recipe.documents else None
    folders = folders or _folders_of(recipe, dataset)
    found = file_sets(folders)
    result = Verification()
    for folder in found:
        n_files, problems = _check_set(folder)
        result.checked.append((folder, n_files))
        result.problems.extend(problems)
    for folder in _run_folders(found, folders):
        result.problems.extend(_missing_sets(folder))
    for one in _measured(recipe, dataset):
        result.problems.extend(_check_ids(one, reading_of(recipe)))
    return result


def _measured(recipe: Recipe, corpus: Dataset | None) -> list[Dataset]:
    """Documents and their attributes: the corpus, or of stages with names what each has measured."""
    if corpus is None or not recipe.stages:
        return [] if corpus is None else [corpus]
    graph = graph_of(recipe)
    return [node.dataset for node in graph if node.stage.writes == "attributes" and not waits_for(graph, node)]


def _folders_of(recipe: Recipe, dataset: Dataset | None) -> list[str]:
    folders = [folder for folder in (recipe.output, recipe.attributes) if folder is not None]
    if not folders and dataset is not None:
        folders = sorted({streams.join(shard.root or ".", "attributes") for shard in dataset.shards()})
    if not folders:
        raise ConfigError("nothing to verify\n  name a folder: `dolma verify runs/quickstart`")
    return folders


def file_sets(folders: list[str]) -> list[str]:
    """Every folder with a manifest of ours at or below these, sorted.

    Raises:
        ConfigError: a folder has none.
    """
    found = set()
    for folder in folders:
        homes = [path.rpartition("/")[0] for path in streams.list_files(folder) if os.path.basename(path) in NAMES]
        if not homes:
            raise ConfigError(
                f"{printable(folder)}: no {NAME} at or below it, so there is nothing to check against\n"
                "  a stage writes one when it is finished; an unfinished one goes on when its command is run again"
            )
        found |= set(homes)
    return sorted(found)


def _check_set(folder: str) -> tuple[int, list[str]]:
    """How many files the set has, and what is wrong with them."""
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        return 0, [_line(error)]
    assert manifest is not None
    checks = checks_of(manifest.stage)
    problems = _check_files(folder, manifest, checks or Checks())
    if checks is None or not checks.strangers:
        problems += _strays(folder, manifest)
    if checks is not None:
        problems += checks.problems_of(folder, manifest)
    if not problems:  # what is damaged says nothing about the manifest
        problems = [f"{manifest_path(folder)}: {said}" for said in _contradictions(folder, manifest, checks)]
    return len(manifest.outputs), problems


def _contradictions(folder: str, manifest: Manifest, checks: Checks | None) -> Iterator[str]:
    """Where the keys of a manifest contradict each other, or what its outputs say of themselves.

    A manifest's own checksum finds what was edited. This finds what was written, or sealed again, so that it does not
    fit.
    """
    if manifest.format_version != FORMAT_VERSION:
        yield f"its format has version {manifest.format_version}, expected {FORMAT_VERSION}"
        return
    made_by = FileSet(
        folder=folder, stage=manifest.stage, name=manifest.name, config=manifest.config, inputs=manifest.inputs
    )
    if made_by.fingerprint != manifest.fingerprint:
        yield "its fingerprint is not that of its stage, name, config and inputs"
    if checks is None:
        yield f"there is no stage {manifest.stage!r}"
        return
    try:
        ledger = msgspec.convert(manifest.ledger, Ledger)
        ledger.check(manifest.stage)
        yield from checks.contradictions_of(folder, manifest, ledger)
    except (msgspec.ValidationError, LedgerError) as error:
        yield "its ledger is none: " + str(error).replace("\n", " ")
    except KeyError as error:
        yield f"its config has no key {error}"
    except DataError as error:
        yield _line(error)


def _line(error: DataError) -> str:
    return str(error).split("\n")[0]


def _strays(folder: str, manifest: Manifest) -> list[str]:
    known = {out.path for out in manifest.outputs}
    return [f"{streams.join(folder, path)}: no run has written it" for path in own_files(folder) if path not in known]


def _run_folders(found: list[str], folders: list[str]) -> list[str]:
    """Where `dolma run` may have written these file sets: the folders above them, as far as they are to be checked."""
    above = {os.path.dirname(folder) for folder in found}
    above |= {os.path.dirname(folder) for folder in above}
    given = [streams.join(folder, "") for folder in folders]
    return sorted(folder for folder in above if streams.join(folder, "").startswith(tuple(given)))


def _missing_sets(folder: str) -> list[str]:
    """What of a run folder does not fit its recipe: file sets gone or made otherwise, and files that nothing wrote."""
    path = streams.join(folder, RECIPE)
    if manifest_path(folder) is not None:
        return []
    if not streams.exists(path):
        is_special = not streams.is_url(path) and os.path.lexists(streams.local_path(path))
        return [f"{path}: is no file, but a device, a folder or a link to nothing"] if is_special else []
    try:
        graph = graph_of(msgspec.structs.replace(read_recipe(path), output=folder))
    except ConfigError:
        return []  # some other program's recipe.yaml
    here = graph.only([node.name for node in graph if streams.join(node.folder, "").startswith(f"{folder}/")])
    there = {name: manifest_path(name) is not None for node in here for name in _sets_of(node)}
    if not any(there.values()):
        return []  # a recipe that lies here and writes elsewhere
    gone = [f"{name}: gone, or not finished: the run's {RECIPE} has it" for name in there if not there[name]]
    otherwise = [f"{name}: is not what the run's {RECIPE} makes: {why}" for name, why in made_otherwise(here)]
    found = [name for name, is_there in there.items() if is_there]
    return [*gone, *_beside_sets(folder, here), *otherwise, *_other_inputs(here, found)]


def _sets_of(node: Node) -> list[str]:
    """The file sets of a stage, as far as they can be told."""
    return [streams.join(node.folder, name).rstrip("/") for name in node.sets()]


def _beside_sets(folder: str, graph: Graph) -> Iterator[str]:
    """The files in a run folder, and in those of its attributes, that are of no file set."""
    homes = [folder, *(node.folder for node in graph if node.stage.writes == "attributes")]
    for path in streams.list_files(folder):
        parent, _, name = path.rpartition("/")
        if parent in homes and path != streams.join(folder, RECIPE) and not name.startswith("."):
            yield f"{path}: no run has written it"


def _other_inputs(graph: Graph, found: list[str]) -> Iterator[str]:
    """The file sets of a run that were made from something else than lies beside them."""
    try:
        sets = {name: manifest for name in found if (manifest := read_manifest(name))}
    except DataError:
        return  # said of the set itself

    def sets_of(nodes: Iterable[Node]) -> dict[str, Manifest]:
        return {name: sets[name] for node in nodes for name in _sets_of(node) if name in sets}

    measured: dict[tuple[str, ...], tuple[str, set[str]]] = {}
    for node in graph:
        mixes = sets_of(graph.inputs(node, "documents"))
        attributes = sets_of(graph.inputs(node, "attributes"))
        written = {out.checksum for manifest in attributes.values() for out in manifest.outputs}
        names = {os.path.basename(name) for name in attributes}
        for name, manifest in sets_of([node]).items():
            documents = {
                file.checksum for file in manifest.inputs if not file.name.startswith(("attributes/", "tokens/"))
            }
            if node.stage.writes in ("attributes", "documents"):
                first, expected = measured.setdefault(node.dataset.documents, (name, documents))
                if documents != expected:
                    yield f"{name}: was made from other documents than {first}"
            for file in manifest.inputs if node.stage.writes == "documents" else ():
                of, _, below = file.name.partition("/")
                if of == "attributes" and below.split("/")[0] in names and file.checksum not in written:
                    yield f"{name}: was made from another {file.name} than lies beside it"
            mixed = {o.checksum for made in mixes.values() for o in made.outputs if o.path.startswith("documents/")}
            if mixes and len(mixes) == len(node.dataset.documents) and documents != mixed:
                yield f"{name}: was made from other documents than those in {' and '.join(mixes)}"


# --- files -----------------------------------------------------------------------------------------------------------


def _check_files(folder: str, manifest: Manifest, checks: Checks) -> list[str]:
    problems = []
    for out in manifest.outputs:
        path = streams.join(folder, out.path)
        size = streams.size(path)
        if size is None:
            problems.append(f"{path}: gone")
        elif size != out.bytes:
            problems.append(f"{path}: {size:,} bytes, {out.bytes:,} were written")
        elif streams.checksum(path) != out.checksum:
            problems.append(f"{path}: its bytes have changed (xxh3 differs from the manifest)")
        else:
            problems.extend(_check_rows(path, out, checks))
    return problems


def _check_rows(path: str, out: OutputFile, checks: Checks) -> list[str]:
    try:
        n_rows = checks.rows_of(out, path) if out.rows else None
    except DataError as error:
        return [str(error)]
    return [] if n_rows in (None, out.rows) else [f"{path}: {n_rows:,} rows, its manifest says {out.rows:,}"]


def _check_ids(dataset: Dataset, reading: Reading) -> list[str]:
    shards = dataset.shards()
    checksums = {shard.path: streams.checksum(shard.path) for shard in shards}
    origins: dict[str, Origins] = {}
    problems = []
    for name in dataset.attribute_names(shards):
        for shard, place in zip(shards, dataset.places(name, shards), strict=True):
            path = place.found()
            if path is None:
                problems.append(f"{place.path()}: missing for {shard.path}")
                continue
            try:
                _check_shard_ids(shard, path, reading)
                if place.folder not in origins:
                    manifest = read_manifest(place.folder)
                    origins[place.folder] = Origins(manifest.inputs if manifest is not None else [])
            except DataError as error:
                problems.append(_line(error))
                continue
            if not origins[place.folder].know(shard, checksums[shard.path]):
                problems.append(f"{shard.path}: is not the file that {path} was made from: its bytes have changed")
    return problems


def _check_shard_ids(shard: Shard, path: str, reading: Reading) -> None:
    with AttributeReader(path, []) as reader:
        for batch in read_batches(shard, reading, intake=Intake()):
            rows = reader.take(len(batch))
            check_alignment(batch.ids, rows, documents=shard.path, attributes=path, lines=batch.lines)
        check_exhausted(reader, documents=shard.path)
