"""How a file set stands on disk before its stage begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from dolma.data import manifest as manifests
from dolma.data import streams
from dolma.data.manifest import FileSet, Manifest
from dolma.errors import DataError, OutputExistsError
from dolma.printable import printable
from dolma.runner.separate import Part, parts_of, same_settings

JOURNAL = ".journal"
WORK = ".work"
HEADER = f"{JOURNAL}/run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What lies in a set's folder.

    `kind` is "complete" (made by this very configuration, all files there), "partial" (so, but some files are gone),
    "altered" (so, but a file has another size), "other" (made by another configuration), "bare" (no manifest);
    "growing" (of a separate set: it has some of the inputs). `strays` are files, relative to the folder, that neither
    the manifest nor another set inside the folder accounts for. `stale` are outputs to be removed before others are
    made, and `because` says in words why. `left` are the inputs, by name, that a separate set has no output of.
    """

    kind: Literal["complete", "partial", "altered", "other", "bare", "growing"]
    manifest: Manifest | None
    strays: list[str]
    stale: list[str]
    left: list[str]
    because: str = ""

    @property
    def must_go(self) -> bool:
        """Whether something that is finished has to be replaced."""
        return self.kind in ("altered", "other") or bool(self.stale)


def finished(folder: str) -> Manifest | None:
    """The manifest of what a stage has finished in an output folder; None where none has.

    Raises:
        OutputExistsError: the folder is a file, or holds some other program's `manifest.json`.
    """
    try:
        is_file = streams.exists(folder)
        manifest = None if is_file else manifests.read_manifest(folder)
    except DataError as error:
        raise OutputExistsError(
            f"{printable(folder)} cannot be an output folder: {error}"
            "\n  give another output folder, or move what is there"
        ) from error
    if is_file:
        raise OutputExistsError(
            f"{printable(folder)} is a file, expected an output folder\n"
            "  give another output folder, or move the file away"
        )
    return manifest


def is_unfinished(folder: str) -> bool:
    """Whether a stage has begun to write its output into this folder and has not finished it."""
    return manifests.manifest_path(folder) is None and streams.exists(streams.join(folder, HEADER))


def standing(file_set: FileSet) -> Standing:
    """How this set stands now.

    Raises:
        OutputExistsError: as `finished`.
    """
    folder = file_set.folder
    manifest = finished(folder)
    there = streams.entries_below(folder)
    files, left = set(own_files(there)), [file.name for file in file_set.inputs]
    if manifest is None:
        return Standing(kind="bare", manifest=None, strays=sorted(files), stale=[], left=left)
    strays, stale = sorted(files - {out.path for out in manifest.outputs}), [out.path for out in manifest.outputs]
    parts = parts_of(manifest) if file_set.separate and same_settings(manifest, file_set) else {}
    if parts:
        return _separate(file_set, manifest, parts, strays, there)
    if manifest.fingerprint != file_set.fingerprint:
        because = difference(manifest, file_set)
        return Standing(kind="other", manifest=manifest, strays=strays, stale=stale, left=left, because=because)
    kind, because = _intact(manifest, there)
    stale = stale if kind == "altered" else []
    left = [] if kind == "complete" else left
    return Standing(kind=kind, manifest=manifest, strays=strays, stale=stale, left=left, because=because)


def _separate(
    file_set: FileSet,
    manifest: Manifest,
    parts: Mapping[str, Part],
    strays: list[str],
    there: Mapping[str, streams.Entry],
) -> Standing:
    changed, altered, gone = [], [], []
    for file in file_set.inputs:
        if (part := parts.get(file.name)) is None:
            gone.append(file.name)
        elif part.input != file:
            changed.append(file.name)
        elif (entry := there.get(part.output.path)) is None:
            gone.append(file.name)
        elif entry.size != part.output.bytes:
            altered.append(file.name)
    names, because = [*changed, *altered], ""
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = "input" if changed else "the file of"
        because = f"{what} {names[0]!r}{more} {'are' if more else 'is'} changed"
    if any(parts[name].ledger is None for name in names):
        kind, stale, left = "other", [out.path for out in manifest.outputs], [file.name for file in file_set.inputs]
    else:
        left = sorted([*names, *gone])
        kind, stale = "growing" if left else "complete", [parts[name].output.path for name in names]
    return Standing(kind=kind, manifest=manifest, strays=strays, stale=stale, left=left, because=because)  # type: ignore[arg-type]


def why_again(file_set: FileSet, *, sizes: Mapping[str, int]) -> str:
    """Why a stage would make again what it had finished here, in words; "" where it would not, or nothing is there.

    Reads no input: `file_set.inputs` is not looked at; `sizes` are those of the documents, by name.
    """
    manifest = manifests.read_manifest(file_set.folder)
    if manifest is None:
        return ""
    inputs = manifest.inputs
    if file_set.separate:
        inputs = [part.input for name, part in parts_of(manifest).items() if name in sizes]
    found = standing(msgspec.structs.replace(file_set, inputs=inputs))
    if found.must_go:
        return found.because
    was = {file.name: file.size for file in inputs if not file.name.startswith("attributes/")}
    names = was.keys() if file_set.separate else was.keys() | sizes.keys()
    changed = sorted(name for name in names if was.get(name) != sizes.get(name))
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"input {changed[0]!r}{more} changed" if changed else ""


def _intact(
    manifest: Manifest, there: Mapping[str, streams.Entry]
) -> tuple[Literal["complete", "partial", "altered"], str]:
    for out in manifest.outputs:
        if (entry := there.get(out.path)) is not None and entry.size != out.bytes:
            return "altered", f"{out.path} has {entry.size:,} bytes, its manifest says {out.bytes:,}"
    gone = [out.path for out in manifest.outputs if out.path not in there]
    return ("partial", f"{gone[0]} is gone") if gone else ("complete", "")


def own_files(below: Iterable[str]) -> list[str]:
    """The visible files, of all that are below a folder, that belong to no other file set inside it; sorted.

    Paths are from the folder. Its own manifest and recipe are not among them.
    """
    below = sorted(below)
    inner = {
        path.removesuffix(f"/{mark}")
        for path in below
        for mark in (*manifests.NAMES, HEADER)
        if path.endswith(f"/{mark}")
    }
    return [
        path
        for path in below
        if path not in (*manifests.NAMES, manifests.RECIPE, f"_{manifests.RECIPE}")
        and not any(part.startswith(".") for part in path.split("/"))
        and not any(path.startswith(f"{set_folder}/") for set_folder in inner)
    ]


def difference(manifest: Manifest, file_set: FileSet) -> str:
    """In words, what makes this manifest's run another one than this set's.

    At most three differences are spelled out.
    """
    said = []
    if (manifest.stage, manifest.name) != (file_set.stage, file_set.name):
        said.append(f"made by {manifest.stage} {manifest.name!r}, not {file_set.stage} {file_set.name!r}")
    said += _changes(manifest.config, msgspec.to_builtins(file_set.config))
    was, now = ({file.name: file for file in files} for files in (manifest.inputs, file_set.inputs))
    for verb, names in (
        ("new", sorted(now.keys() - was.keys())),
        ("gone", sorted(was.keys() - now.keys())),
        ("changed", sorted(name for name in now.keys() & was.keys() if now[name] != was[name])),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            said.append(f"input {names[0]!r}{more} {'are' if more else 'is'} {verb}")
    if not said:
        said.append(f"written in format {manifest.format_version} by dolma {manifest.code_version}")
    return _listed(said)


def difference_of_settings(was: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """In words, what of these settings differs, as `difference`; "" where nothing does, or nothing is known of them."""
    return _listed([] if was is None else _changes(was, msgspec.to_builtins(now)))


def _listed(said: Sequence[str]) -> str:
    return "; ".join(said[:3]) + (f"; and {len(said) - 3} more differences" if len(said) > 3 else "")


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _flat(was), _flat(now)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, _ABSENT) != new.get(key, _ABSENT))
    return [f"{key} {_change(old, new, key)}" for key in keys]


_ABSENT = object()


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(config, Mapping) and (config or not prefix):
        return {
            path: leaf
            for key, value in config.items()
            for path, leaf in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: config}


def _change(old: dict[str, Any], new: dict[str, Any], key: str) -> str:
    """What changed at a key; of two lists, the items that only one of them has."""
    was, now = old.get(key, _ABSENT), new.get(key, _ABSENT)
    if isinstance(was, list) and isinstance(now, list):
        gone, added = ([item for item in one if item not in other] for one, other in ((was, now), (now, was)))
        if gone or added:
            parts = [f"{verb} {_shown(items)}" for verb, items in (("lacks", gone), ("has", added)) if items]
            return f"now {' and '.join(parts)}"
    return f"was {_shown(was)}, now {_shown(now)}"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = msgspec.json.encode(value, order="deterministic").decode()
    return text if len(text) <= 60 else text[:57] + "..."
