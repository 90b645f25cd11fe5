"""Sets of which each output is of one input: what such a set has of each, and how it grows.

The manifest keeps an account of each input (`notes.ledgers`, without what is empty), so that one can be measured again
and the others stay. Sets of earlier versions have one account of all, under "": they grow, but are made again as a
whole when an input changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dolma.data.manifest import FileSet, InputFile, Manifest, OutputFile, manifest_of
from dolma.data.places import document_of
from dolma.runner.ledger import Ledger, merged
from dolma.runner.task import TaskResult

_REST = ""


class Part(NamedTuple):
    """What a set has of one input; `ledger` None: the set has one account of all."""

    input: InputFile
    output: OutputFile
    ledger: dict[str, Any] | None


def parts_of(manifest: Manifest | None) -> dict[str, Part]:
    """The parts of a finished set by input; empty where outputs cannot be told apart by their inputs.

    Sets beside documents once had names that were shorter or longer ends of the same paths, all by the same folders.
    """
    if manifest is None:
        return {}
    ledgers = manifest.notes.get("ledgers", {})
    outputs = {_name(manifest, out): out for out in manifest.outputs}
    inputs = sorted(manifest.inputs, key=lambda file: file.name)
    if len(inputs) != len(outputs):
        return {}
    parts = {}
    for name, file in zip(sorted(outputs), inputs, strict=True):
        if not (f"/{file.name}".endswith(f"/{name}") or f"/{name}".endswith(f"/{file.name}")):
            return {}
        known_as = InputFile(name=name, size=file.size, checksum=file.checksum)
        parts[name] = Part(known_as, outputs[name], ledgers.get(name))
    return parts


def _name(made_by: Manifest | FileSet, out: OutputFile) -> str:
    return document_of(out.path, made_by.config.get("attributes_format", "parquet"))


def same_settings(manifest: Manifest | None, file_set: FileSet) -> bool:
    """Whether the set was made by these settings, from whichever inputs."""
    if manifest is None:
        return False
    made = msgspec.structs.replace(file_set, inputs=manifest.inputs)
    return manifest.fingerprint == made.fingerprint


def grown(file_set: FileSet, was: Manifest | None, results: Iterable[TaskResult], notes: Mapping[str, Any]) -> Manifest:
    """The manifest of the set with these results, of one input each, added to what it was."""
    parts = parts_of(was) if same_settings(was, file_set) else {}
    inputs = {name: part.input for name, part in parts.items()} | {file.name: file for file in file_set.inputs}
    outputs = {name: part.output for name, part in parts.items()}
    ledgers = {name: part.ledger for name, part in parts.items() if part.ledger is not None}
    if parts and was is not None and not ledgers:
        ledgers[_REST] = was.ledger
    elif was is not None and _REST in was.notes.get("ledgers", {}):
        ledgers[_REST] = was.notes["ledgers"][_REST]
    for result in results:
        for out in result.outputs:
            if out.set == file_set.folder:
                name = _name(file_set, out)
                outputs[name] = out
                if name not in parts or parts[name].ledger is not None:
                    ledgers[name] = _sparse(result.ledger)
    return manifest_of(
        msgspec.structs.replace(file_set, inputs=[inputs[name] for name in sorted(inputs)]),
        outputs=list(outputs.values()),
        ledger=msgspec.to_builtins(_sum(ledgers.values())),
        notes={**notes, "ledgers": ledgers},
    )


def without(manifest: Manifest, file_set: FileSet, paths: Sequence[str]) -> Manifest:
    """The manifest of the set as it is when these outputs are gone."""
    kept = {name: part for name, part in parts_of(manifest).items() if part.output.path not in paths}
    ledgers = {name: part.ledger for name, part in kept.items()}
    return manifest_of(
        msgspec.structs.replace(file_set, inputs=[part.input for part in kept.values()]),
        outputs=[part.output for part in kept.values()],
        ledger=msgspec.to_builtins(_sum(ledgers.values())),
        notes={**manifest.notes, "ledgers": ledgers},
    )


def with_ledgers(
    manifest: Manifest, inputs: Iterable[InputFile], change: Callable[[Ledger, InputFile], None]
) -> Manifest:
    """The manifest after `change` of its account for each of these inputs, in the accounts of its parts as well."""
    ledgers = dict(manifest.notes.get("ledgers") or {"": manifest.ledger})
    parts = parts_of(manifest) if "ledgers" in manifest.notes else {}
    for file in inputs:
        name = next((name for name, part in parts.items() if part.input.checksum == file.checksum), _REST)
        of = name if name in ledgers else _REST
        ledger = msgspec.convert(ledgers[of], Ledger)
        change(ledger, file)
        ledgers[of] = _sparse(ledger)
    notes = {**manifest.notes, "ledgers": ledgers} if "ledgers" in manifest.notes else manifest.notes
    return msgspec.structs.replace(manifest, notes=notes, ledger=msgspec.to_builtins(_sum(ledgers.values())))


def account_of(manifest: Manifest, names: Iterable[str]) -> Ledger:
    """The account of these inputs of a set; of the whole set where it has but one."""
    ledgers = manifest.notes.get("ledgers")
    if ledgers is None:
        return msgspec.convert(manifest.ledger, Ledger)
    return _sum(ledgers[name] for name in (_REST, *names) if name in ledgers)


def _sum(ledgers: Iterable[dict[str, Any] | None]) -> Ledger:
    return merged([msgspec.convert(ledger, Ledger) for ledger in ledgers if ledger is not None])


def _sparse(ledger: Ledger) -> dict[str, Any]:
    whole = {key: value for key, value in msgspec.to_builtins(ledger).items() if value}
    if "accounts" in whole:
        whole["accounts"] = {source: _not_empty(account) for source, account in whole["accounts"].items()}
    return whole


def _not_empty(value: Any) -> Any:
    return {key: _not_empty(item) for key, item in value.items() if item} if isinstance(value, dict) else value
