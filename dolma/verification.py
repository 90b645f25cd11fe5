"""`dolma verify`: finished outputs against their manifests, manifests against outputs, run folders against recipes.

Of a file set: every file there with its bytes and rows, and no other file; the manifest's keys fit each other and what
the outputs say of themselves. Of a run folder: every file set that `recipe.yaml` names, made by its settings from what
lies beside it, and every checkpoint that the training run kept. With documents: every attribute file has their ids and
was made from them. `deep`: outputs are made again from their inputs in a temporary folder, and compared.

Everything is read; nothing is written. Each problem is one line that begins with the file.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from dolma.config import Recipe, read_recipe
from dolma.data import streams
from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted, read_attributes
from dolma.data.dataset import Dataset, Shard
from dolma.data.discovery import absent_folder
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
    recipe_beside,
    stage_of,
)
from dolma.data.origins import Origins
from dolma.data.takedown import NAME as TAKEDOWN
from dolma.data.takedown import STAGED
from dolma.data.tokens import TokenShardInfo, read_token_manifest
from dolma.errors import ConfigError, DataError, DolmaError, LedgerError
from dolma.graph import Graph, corpus_of, graph_of, reading_of
from dolma.pipeline import made_otherwise, run_node, waits_for
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.standing import HEADER, is_unfinished, own_files
from dolma.stages import PACKAGES, Checks, Node, Running, checks_of, find_stage


@dataclass(slots=True)
class Verification:
    """What was checked: `(folder, files)` per file set, the problems found, and notes on what was compared or not."""

    checked: list[tuple[str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sets(self) -> int:
        return len(self.checked)

    @property
    def files(self) -> int:
        return sum(n_files for _, n_files in self.checked)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, as JSON has them."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def verify(folders: list[str], recipe: Recipe, *, deep: bool = False) -> Verification:
    """Check every file set below the folders (default: the recipe's output and attributes).

    With `deep`, what a run's recipe says is made again and compared: of attributes those of a sample of document files,
    by built-in taggers; of training only what needs no model.

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
    result.problems.extend(_unfinished(folders))
    result.problems.extend(_without_manifest(folders, found))
    result.notes.extend(_without_attributes(found))
    for folder in _run_folders(found, folders):
        result.problems.extend(_run_problems(folder, recipe, deep=deep))
    measured = _measured(recipe, dataset)
    for one in measured:
        result.problems.extend(_check_ids(one, reading_of(recipe)))
    if dataset is not None and not recipe.stages:
        others = set(found) - _sets_of_all(measured)
        elsewhere = set(filter(_has_attributes, others))
        for home in sorted(set(map(os.path.dirname, elsewhere))):
            moved = replace(dataset, attributes=home, further=())
            result.problems.extend(_check_ids(moved, reading_of(recipe), only=elsewhere))
        result.problems.extend(_made_from_others(dataset, others - elsewhere))
    return result


def _measured(recipe: Recipe, corpus: Dataset | None) -> list[Dataset]:
    """Documents and their attributes: the corpus, or of stages with names what each has measured."""
    if corpus is None:
        return []
    if not recipe.stages:
        has_place = corpus.attributes is not None or all(shard.inner for shard in corpus.shards())
        return [corpus] if has_place else []
    graph = graph_of(recipe)
    return [node.dataset for node in graph if node.stage.writes == "attributes" and not waits_for(graph, node)]


def _sets_of_all(datasets: Iterable[Dataset]) -> set[str]:
    """The folders of the attribute sets of these documents."""
    return {
        place.folder
        for dataset in datasets
        for shards in [dataset.shards()]
        for name in dataset.attribute_names(shards)
        for place in dataset.places(name, shards)
    }


def _has_attributes(folder: str) -> bool:
    stage = stage_of(folder)
    return stage in PACKAGES and find_stage(stage).writes == "attributes"


def _made_from_others(corpus: Dataset, folders: Iterable[str]) -> Iterator[str]:
    """The documents of the corpus that these file sets were not made from, unless they were made from each other."""
    sets = {}
    for folder in sorted(folders):
        with suppress(DataError):  # said of the set itself
            sets[folder] = read_manifest(folder)
    written = {out.checksum for manifest in sets.values() if manifest is not None for out in manifest.outputs}
    shards = corpus.shards()
    checksum = functools.cache(streams.checksum)
    for folder, manifest in sets.items():
        if manifest is None or manifest.stage not in PACKAGES or "documents" not in find_stage(manifest.stage).reads:
            continue
        inputs = [file for file in manifest.inputs if file.is_document]
        if inputs and all(file.checksum in written for file in inputs):
            continue
        origins = Origins(manifest)
        for shard in shards:
            if not origins.know(shard, checksum(shard.path)):
                yield f"{shard.path}: is not a file that {folder} was made from, or its bytes have changed"


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
        there = (os.path.split(path) for path in streams.list_files(folder))
        homes = [home for home, name in there if name in NAMES and os.path.basename(home) != STAGED]
        if not homes:
            usual = "a stage writes one when it is finished; an unfinished one goes on when its command is run again"
            raise ConfigError(
                f"{printable(folder)}: no {NAME} at or below it, so there is nothing to check against\n"
                f"  {absent_folder(folder) or usual}"
            )
        found |= set(homes)
    return sorted(found)


def _unfinished(folders: Iterable[str]) -> Iterator[str]:
    """The file sets at or below these folders that a stage, or a take-down, has begun and not finished."""
    files = {path for folder in folders for path in streams.list_files(folder)}
    for folder in sorted({path.partition(f"/{STAGED}/")[0] for path in files if f"/{STAGED}/" in path}):
        yield f"{folder}: a take-down was interrupted here: run it again"
    for folder in sorted(path.removesuffix(f"/{HEADER}") for path in files if path.endswith(f"/{HEADER}")):
        if is_unfinished(folder):
            yield f"{folder}: unfinished: run its command again, or remove the folder"


def _without_manifest(folders: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    """The folders in which a stage has left its recipe beside files of its own, and where there is no manifest."""
    homes = tuple(streams.join(home, "") for home in found)
    paths = sorted({path for folder in folders for path in streams.list_files(folder)})
    for path in paths:
        home = streams.join(path.rpartition("/")[0], "")
        if os.path.basename(path) not in (RECIPE, f"_{RECIPE}") or any(one.startswith(home) for one in homes):
            continue
        below = [other for other in paths if other.startswith(home) and not other.endswith((".yaml", ".yml"))]
        if below and not is_unfinished(home.rstrip("/")):
            yield f"{home.rstrip('/')}: has no manifest: it was lost, or its stage has not finished; run that again"


def _without_attributes(folders: Iterable[str]) -> Iterator[str]:
    """The file sets that were made from attributes which none of them holds. They may be passed on without them."""
    sets = {}
    for folder in folders:
        with suppress(DataError):  # said of the set itself
            sets[folder] = read_manifest(folder)
    written = {out.checksum for manifest in sets.values() if manifest is not None for out in manifest.outputs}
    for folder, manifest in sets.items():
        read = [file for file in manifest.inputs if file.name.startswith("attributes/")] if manifest is not None else []
        gone = sorted({"/".join(file.name.split("/")[:2]) for file in read if file.checksum not in written})
        if gone:
            yield f"{folder}: not compared with {', '.join(gone)}: what it was made from does not lie in these folders"


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
    known, there = {out.path for out in manifest.outputs}, own_files(streams.entries_below(folder))
    return [f"{streams.join(folder, path)}: no run has written it" for path in there if path not in known]


def _run_folders(found: list[str], folders: list[str]) -> list[str]:
    """Where `dolma run` may have written these file sets: the folders above them, as far as they are to be checked."""
    above = {os.path.dirname(folder) for folder in found}
    above |= {os.path.dirname(folder) for folder in above}
    given = [streams.join(folder, "") for folder in folders]
    return sorted(folder for folder in above if streams.join(folder, "").startswith(tuple(given)))


def _run_problems(folder: str, given: Recipe, *, deep: bool) -> Iterator[str]:
    """What of a run folder does not fit its recipe: file sets gone or made otherwise, and files that nothing wrote."""
    path = streams.join(folder, RECIPE)
    if manifest_path(folder) is not None:
        return
    if not streams.exists(path):
        if not streams.is_url(path) and os.path.lexists(streams.local_path(path)):
            yield f"{path}: is no file, but a device, a folder or a link to nothing"
        elif _is_of_a_run(folder):
            yield f"{path}: gone: `dolma run` leaves the recipe there by which it made the file sets below"
        return
    try:
        recipe = msgspec.structs.replace(read_recipe(path), output=folder)
        is_given = given.output is not None and streams.join(given.output, "") == streams.join(folder, "")
        graph = graph_of(given if is_given and (given.given or given.stages) else recipe)
    except ConfigError:
        return  # some other program's recipe.yaml
    here = graph.only([node.name for node in graph if streams.join(node.folder, "").startswith(f"{folder}/")])
    there = {name: manifest_path(name) is not None for node in here for name in _sets_of(node)}
    if not any(there.values()):
        return  # a recipe that lies here and writes elsewhere
    yield from (f"{name}: gone, or not finished: the run's {RECIPE} has it" for name in there if not there[name])
    yield from _beside_sets(folder, here, recipe)
    yield from (f"{name}: is not what the run's {RECIPE} makes: {why}" for name, why in _made_otherwise(here))
    yield from _other_inputs(here, [name for name, is_there in there.items() if is_there])
    if deep:
        yield from _made_again(here)


def _is_of_a_run(folder: str) -> bool:
    """Whether file sets of several kinds lie here as `dolma run` leaves them; single commands write recipes beside."""
    sets = [home for home in file_sets([folder]) if home.count("/") <= folder.count("/") + 2]
    kinds = set()
    for home in sets:
        manifest = manifest_path(home)
        stage = stage_of(home)
        if manifest is not None and stage in PACKAGES and not streams.exists(recipe_beside(manifest)):
            kinds.add(find_stage(stage).writes)
    return len(kinds) > 1


def _made_otherwise(graph: Graph) -> Iterator[tuple[str, str]]:
    """The finished file sets that were made with other settings than these, and a difference."""
    said = dict(made_otherwise(graph))
    for node in graph:
        for name in _sets_of(node):
            try:
                manifest = None if name in said else read_manifest(name)
                why = next(node.unlike(manifest), "") if manifest is not None else ""
            except (DataError, KeyError):
                continue  # said of the set itself
            if why:
                said[name] = why
    yield from said.items()


def _sets_of(node: Node) -> list[str]:
    """The file sets of a stage, as far as they can be told."""
    return [streams.join(node.folder, name).rstrip("/") for name in node.sets()]


def _beside_sets(folder: str, graph: Graph, recipe: Recipe) -> Iterator[str]:
    """The files in a run folder, and in those of its attributes, that are of no file set."""
    homes = [streams.join(node.folder, "") for node in graph]
    homes += [streams.join(other, "") for other in (recipe.attributes, recipe.quarantine) if other]
    homes.append(streams.join(folder, "quarantine/"))
    measured = [node.folder for node in graph if node.stage.writes == "attributes"]
    for path in streams.list_files(folder):
        parent = path.rpartition("/")[0]
        is_hidden = any(part.startswith(".") for part in path.removeprefix(folder).split("/"))
        is_beside = parent in measured or not path.startswith(tuple(homes))
        if is_beside and not is_hidden and path not in (streams.join(folder, RECIPE), streams.join(folder, TAKEDOWN)):
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
        beside = sets_of(graph[other] for other in node.reads if other in graph)
        written = {out.checksum for manifest in beside.values() for out in manifest.outputs}
        names = {os.path.basename(name) for name in beside}
        mixes = sets_of(graph.inputs(node, "documents"))
        tokens = sets_of(graph.inputs(node, "tokens"))
        for name, manifest in sets_of([node]).items():
            documents = {file.checksum for file in manifest.inputs if file.is_document}
            if "documents" in node.stage.reads and not mixes:
                first, expected = measured.setdefault(node.dataset.documents, (name, documents))
                if documents != expected:
                    yield f"{name}: was made from other documents than {first}"
            for file in manifest.inputs if "attributes" in node.stage.reads_of(node.config) else ():
                of, _, below = file.name.partition("/")
                is_beside = (of == "attributes" and below.split("/")[0] in names) or (of == "tokens" and bool(tokens))
                if is_beside and file.checksum not in written:
                    yield f"{name}: was made from another {file.name} than lies beside it"
            mixed = {o.checksum for made in mixes.values() for o in made.outputs if o.path.startswith("documents/")}
            if mixes and len(mixes) == len(node.dataset.documents) and documents != mixed:
                yield f"{name}: was made from other documents than those in {' and '.join(mixes)}"
            shards = {shard.origin for folder in tokens for shard in _shards_of(folder)}
            if node.stage.writes == "checkpoints" and len(tokens) == len(node.tokens) > 0 and documents != shards:
                yield f"{name}: was made from other tokens than those in {' and '.join(tokens)}"


def _shards_of(folder: str) -> list[TokenShardInfo]:
    try:
        return read_token_manifest(folder).shards
    except DataError:
        return []  # said of the set itself


# --- made again ------------------------------------------------------------------------------------------------------


def _made_again(graph: Graph) -> Iterator[str]:
    """What is otherwise when it is made again, from what lies there now."""
    with tempfile.TemporaryDirectory(prefix="dolma-verify-") as home:
        for node in graph:
            if any(_had_a_takedown(name) for name in _sets_of(node)):
                continue  # what was drawn or cut of all documents would be otherwise
            try:
                yield from node.recomputed()
                again = node.elsewhere(streams.join(home, node.name))
                if again is not None:
                    for _ in run_node(again, Running(options=RunOptions())):
                        pass
                    is_measured = node.stage.writes == "attributes"
                    yield from _other_attributes(node, again) if is_measured else _other_set(node.folder, again.folder)
            except (DolmaError, OSError) as error:
                yield f"{node.folder}: cannot be made again: {str(error).splitlines()[0]}"


def _other_set(folder: str, again: str) -> Iterator[str]:
    """The files of a set that have other bytes than those made again, and the keys of its manifest that are others."""
    was, now = read_manifest(folder), read_manifest(again)
    if was is None or now is None:
        return  # said of the set itself
    there = {out.path: out.checksum for out in was.outputs}
    made = {out.path: out.checksum for out in now.outputs}
    for path in sorted(there.keys() | made.keys()):
        if there.get(path) != made.get(path):
            yield f"{streams.join(folder, path)}: {_OTHER if path in there else 'is not there, and is made'}"
    for key in ("config", "inputs", "ledger"):
        if getattr(was, key) != getattr(now, key):
            yield f"{manifest_path(folder)}: its {key} is not what it is when the set is made again"


def _had_a_takedown(folder: str) -> bool:
    try:
        manifest = read_manifest(folder)
    except DataError:
        return False  # said of the set itself
    return manifest is not None and "takedown" in manifest.notes


_OTHER = "is not what is made again"


def _other_attributes(node: Node, again: Node) -> Iterator[str]:
    """The attribute files that have other values than those made again."""
    there = {shard.path: shard for shard in node.dataset.shards()}
    made = again.dataset.shards()
    for name in again.dataset.attribute_names(made):
        was = node.dataset.attribute_files(name, [there[shard.path] for shard in made])
        for (_, path), (_, other) in zip(was, again.dataset.attribute_files(name, made), strict=True):
            if path is not None and other is not None and streams.checksum(path) != streams.checksum(other):
                columns = [read_attributes(found).drop_columns("id") for found in (path, other)]
                if not columns[0].equals(columns[1]):
                    yield f"{path}: {_OTHER}"


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


def _check_ids(dataset: Dataset, reading: Reading, *, only: Container[str] | None = None) -> list[str]:
    """What does not fit between the documents and their attribute sets, or those in these folders alone."""
    shards = dataset.shards()
    checksums = {shard.path: streams.checksum(shard.path) for shard in shards}
    origins = functools.cache(lambda folder: Origins(read_manifest(folder)))
    readings = functools.cache(lambda folder: _as_made(reading, folder))
    problems = []
    for name in dataset.attribute_names(shards):
        for shard, (place, path) in zip(shards, dataset.attribute_files(name, shards), strict=True):
            if only is not None and place.folder not in only:
                continue
            if path is None:
                problems.append(f"{place.path()}: missing for {shard.path}")
                continue
            try:
                _check_shard_ids(shard, path, readings(place.folder))
                origins(place.folder).check(shard, checksums[shard.path], name=name, path=path)
            except DataError as error:
                problems.append(_line(error))
    return problems


def _as_made(reading: Reading, folder: str) -> Reading:
    """How the documents of a set were read, as far as its manifest says."""
    manifest = read_manifest(folder)
    return reading if manifest is None else reading.as_made(manifest.config)


def _check_shard_ids(shard: Shard, path: str, reading: Reading) -> None:
    with AttributeReader(path, []) as reader:
        for batch in read_batches(shard, reading, intake=Intake()):
            rows = reader.take(len(batch))
            check_alignment(batch.ids, rows, documents=shard.path, attributes=path, lines=batch.lines)
        if shard.documents is None:
            check_exhausted(reader, documents=shard.path)
