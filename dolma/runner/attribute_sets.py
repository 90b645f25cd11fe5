"""What holds of every finished set of attributes, whichever stage has made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from dolma.data import streams
from dolma.data.attributes import AttributeReader, attribute_notes, attribute_schema
from dolma.data.dataset import is_native
from dolma.data.manifest import Manifest, OutputFile, differences
from dolma.runner.ledger import Ledger


def count_rows(out: OutputFile, path: str) -> int:
    """The rows of an attribute file."""
    with AttributeReader(path, []) as reader:
        return reader.rows


def contradictions(
    folder: str, manifest: Manifest, ledger: Ledger, *, options: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[str]:
    """What of a manifest and its files does not fit; `options` are those of the manifest, given a file's parameters."""
    if folder.rpartition("/")[2] != manifest.name:
        yield f"it is of the attributes {manifest.name!r}, which its folder is not called: a copy, or renamed"
    n_rows, taken = sum(out.rows for out in manifest.outputs), ledger.total().taken.documents
    if n_rows > taken:
        yield f"its outputs have {n_rows:,} rows, its ledger {taken:,} documents"
    for out in filter(lambda out: is_native(out.path), manifest.outputs):
        path = streams.join(folder, out.path)
        notes = attribute_notes(path)
        parameters = notes.get("parameters", {})
        yield from differences(
            out.path,
            name=(manifest.name, notes.get("tagger")),
            version=(manifest.config["version"], notes.get("version")),
            options=(options(parameters), parameters),
            outputs=(
                manifest.config["outputs"],
                {name: asdict(output) for name, output in attribute_schema(path).items()},
            ),
        )
