"""`dolma verify`: finished outputs against their manifests, manifests against outputs, run folders against recipes.

Of a file set: every file there with its bytes and rows, and no other file; the manifest's keys fit each other and what
the outputs say of themselves. Of a run folder: every file set that `recipe.yaml` names, and every checkpoint that the
training run kept. With documents: every attribute file has their ids and was made from them.

Everything is read; nothing is written. Each problem is one line that begins with the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from dolma.config import Recipe, read_recipe
from dolma.contradictions import contradictions
from dolma.data import streams
from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted
from dolma.data.dataset import Dataset, Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.manifest import NAME, RECIPE, Manifest, OutputFile, read_manifest
from dolma.data.shards import Origins
from dolma.errors import ConfigError, DataError
from dolma.pipeline import FOLDERS, dataset_of, made_otherwise, reading_of
from dolma.printable import printable
from dolma.runner.standing import own_files


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
    dataset = dataset_of(recipe) if recipe.documents else None
    folders = folders or _folders_of(recipe, dataset)
    found = file_sets(folders)
    result = Verification()
    for folder in found:
        n_files, problems = _check_set(folder)
        result.checked.append((folder, n_files))
        result.problems.extend(problems)
    for folder in _run_folders(found, folders):
        result.problems.extend(_missing_sets(folder))
    if dataset is not None:
        result.problems.extend(_check_ids(dataset, reading_of(recipe)))
    return result


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
        homes = [path.rpartition("/")[0] for path in streams.list_files(folder) if os.path.basename(path) == NAME]
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
    problems = [*_check_files(folder, manifest), *_strays(folder, manifest)]
    if manifest.stage == "tokenize":
        problems += _check_tokens(folder)
    if not problems:  # what is damaged says nothing about the manifest
        problems = [f"{streams.join(folder, NAME)}: {said}" for said in contradictions(folder, manifest)]
    return len(manifest.outputs), problems


def _line(error: DataError) -> str:
    return str(error).split("\n")[0]


def _strays(folder: str, manifest: Manifest) -> list[str]:
    if manifest.stage == "train":  # other programs' logs may lie there
        return [
            f"{streams.join(folder, name)}: gone"
            for name in manifest.notes.get("checkpoints", [])
            if not streams.exists(streams.join(folder, name, NAME))
        ]
    known = {out.path for out in manifest.outputs}
    return [f"{streams.join(folder, path)}: no run has written it" for path in own_files(folder) if path not in known]


def _run_folders(found: list[str], folders: list[str]) -> list[str]:
    """Where `dolma run` may have written these file sets: the folders above them, as far as they are to be checked."""
    above = {os.path.dirname(folder) for folder in found}
    above |= {os.path.dirname(folder) for folder in above}
    given = [streams.join(folder, "") for folder in folders]
    return sorted(folder for folder in above if streams.join(folder, "").startswith(tuple(given)))


def _missing_sets(folder: str) -> list[str]:
    """The file sets of a run folder that its recipe names and that are not there."""
    path = streams.join(folder, RECIPE)
    if streams.exists(streams.join(folder, NAME)):
        return []
    if not streams.exists(path):
        is_special = not streams.is_url(path) and os.path.lexists(streams.local_path(path))
        return [f"{path}: is no file, but a device, a folder or a link to nothing"] if is_special else []
    try:
        recipe = read_recipe(path)
        expected = _expected_sets(recipe)
    except ConfigError:
        return []  # some other program's recipe.yaml
    there = {name: streams.exists(streams.join(folder, name, NAME)) for name in expected}
    if not any(there.values()):
        return []  # a recipe that lies here and writes elsewhere
    gone = [
        f"{streams.join(folder, name)}: gone, or not finished: the run's {RECIPE} has it"
        for name, is_there in there.items()
        if not is_there
    ]
    found = [name for name, is_there in there.items() if is_there]
    return [*gone, *_beside_sets(folder), *_other_settings(recipe, folder), *_other_inputs(folder, found)]


def _beside_sets(folder: str) -> Iterator[str]:
    """The files in a run folder, and in that of its attributes, that are of no file set."""
    for path in streams.list_files(folder):
        below = path.removeprefix(streams.join(folder, ""))
        parent, _, name = below.rpartition("/")
        if parent in ("", FOLDERS["tag"]) and below != RECIPE and not name.startswith("."):
            yield f"{path}: no run has written it"


def _other_settings(recipe: Recipe, folder: str) -> Iterator[str]:
    """The file sets that were made with other settings than the recipe has; taggers, which are code, are not asked."""
    here = msgspec.structs.replace(recipe, output=folder)
    for name, why in made_otherwise(here):
        yield f"{streams.join(folder, name)}: is not what the run's {RECIPE} makes: {why}"


def _other_inputs(folder: str, names: list[str]) -> Iterator[str]:
    """The file sets of a run that were made from something else than lies beside them."""
    try:
        sets = {name: manifest for name in names if (manifest := read_manifest(streams.join(folder, name)))}
    except DataError:
        return  # said of the set itself
    read = {
        name: {file.checksum for file in manifest.inputs if not file.name.startswith("attributes/")}
        for name, manifest in sets.items()
        if manifest.stage in ("tag", "dedupe", "mix")
    }
    first = next(iter(read), "")
    for name, checksums in read.items():
        if checksums != read[first]:
            yield f"{streams.join(folder, name)}: was made from other documents than {streams.join(folder, first)}"
    mixed, tokens = sets.get(FOLDERS["mix"]), sets.get(FOLDERS["tokenize"])
    if mixed is None:
        return
    written = {out.checksum for name, manifest in sets.items() if name in read for out in manifest.outputs}
    for file in mixed.inputs:
        if (
            file.name.startswith("attributes/")
            and file.checksum not in written
            and file.name.split("/")[1] in {os.path.basename(name) for name in sets}
        ):
            yield f"{streams.join(folder, FOLDERS['mix'])}: was made from another {file.name} than lies beside it"
    documents = {out.checksum for out in mixed.outputs if out.path.startswith("documents/")}
    if tokens is not None and {file.checksum for file in tokens.inputs} != documents:
        made_from = streams.join(folder, FOLDERS["mix"])
        yield f"{streams.join(folder, FOLDERS['tokenize'])}: was made from other documents than those in {made_from}"


def _expected_sets(recipe: Recipe) -> list[str]:
    names = [config.name for config in recipe.dedupes]
    for spec in recipe.tag.taggers if recipe.tag else []:
        name, use = (spec, spec) if isinstance(spec, str) else (spec.name or spec.use, spec.use)
        if name != use or use.isidentifier():  # else the tagger itself says what it is called
            names.append(name)
    attributes = [] if recipe.attributes is not None else [f"{FOLDERS['tag']}/{name}" for name in names]
    others = [stage for stage in ("mix", "tokenize", "train", "stat") if getattr(recipe, stage) is not None]
    return [*attributes, *(FOLDERS[stage] for stage in others)]


# --- files -----------------------------------------------------------------------------------------------------------


def _check_files(folder: str, manifest: Manifest) -> list[str]:
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
            problems.extend(_check_rows(path, out, manifest))
    return problems


def _check_rows(path: str, out: OutputFile, manifest: Manifest) -> list[str]:
    if not out.rows or manifest.stage not in ("tag", "dedupe", "mix"):
        return []
    try:
        n_rows = _rows_of(path, attributes=manifest.stage != "mix" or out.path.startswith("rows/"))
    except DataError as error:
        return [str(error)]
    return [] if n_rows == out.rows else [f"{path}: {n_rows:,} rows, its manifest says {out.rows:,}"]


def _rows_of(path: str, *, attributes: bool) -> int:
    if attributes:
        with AttributeReader(path, []) as reader:
            return reader.rows
    return format_of(path).count(path)


def _check_tokens(folder: str) -> list[str]:
    from dolma.tokens.verify import verify_tokens

    return verify_tokens(folder)


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
