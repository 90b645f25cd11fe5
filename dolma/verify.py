"""`dolma verify`: finished outputs against their manifests: files, checksums, rows, ids, token bounds.

Everything is read; nothing is written. Each problem is one line that begins with the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from dolma.config import Recipe
from dolma.data import streams
from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted
from dolma.data.dataset import Dataset, Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.manifest import NAME, Manifest, OutputFile, read_manifest
from dolma.errors import ConfigError, DataError
from dolma.pipeline import dataset_of, reading_of


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
    found = file_sets(folders or _folders_of(recipe, dataset))
    result = Verification()
    for folder in found:
        manifest = read_manifest(folder)
        assert manifest is not None
        result.checked.append((folder, len(manifest.outputs)))
        result.problems.extend(_check_files(folder, manifest))
        if manifest.stage == "tokenize":
            result.problems.extend(_check_tokens(folder))
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
                f"{folder}: no {NAME} at or below it, so there is nothing to check against\n"
                "  a stage writes one when it is finished; an unfinished one goes on when its command is run again"
            )
        found |= set(homes)
    return sorted(found)


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
    problems = []
    for name in dataset.attribute_names(shards):
        for shard in shards:
            path = dataset.find_attribute(name, shard)
            if path is None:
                problems.append(f"{dataset.attribute_path(name, shard)}: missing for {shard.path}")
                continue
            try:
                _check_shard_ids(shard, path, reading)
            except DataError as error:
                problems.append(str(error).split("\n")[0])
    return problems


def _check_shard_ids(shard: Shard, path: str, reading: Reading) -> None:
    with AttributeReader(path, []) as reader:
        for batch in read_batches(shard, reading, intake=Intake()):
            rows = reader.take(len(batch))
            check_alignment(batch.ids, rows, documents=shard.path, attributes=path, lines=batch.lines)
        check_exhausted(reader, documents=shard.path)
