"""What holds of every finished set of attributes, whichever stage has made it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dolma.data import streams
from dolma.data.dataset import Place, Shard, is_native
from dolma.data.manifest import FileSet, Manifest, OutputFile, differences
from dolma.data.places import document_of
from dolma.errors import OutputExistsError
from dolma.printable import counted, printable
from dolma.runner.ledger import Ledger
from dolma.runner.standing import finished


def count_rows(out: OutputFile, path: str) -> int:
    """The rows of an attribute file."""
    from dolma.data.attributes import AttributeReader

    with AttributeReader(path, []) as reader:
        return reader.rows


def refuse_losing(sets: Iterable[FileSet], documents: Iterable[tuple[Shard, Place]]) -> None:
    """Return when no set has rows of document files that are there and are not among these.

    Raises:
        OutputExistsError: one has, which would be removed.
    """
    documents = list(documents)
    for file_set in sets:
        manifest = finished(file_set.folder)
        if manifest is None or manifest.stage != file_set.stage:
            continue
        mine = [(shard, place) for shard, place in documents if place.folder == file_set.folder]
        given = {place.name for _, place in mine}
        format = manifest.config.get("attributes_format", "parquet")
        others = [name for out in manifest.outputs if (name := document_of(out.path, format)) not in given]
        left = [path for name in others if (path := mine[0][1].document(name, mine[0][0])) is not None]
        if left:
            more = f" and of {counted(len(left) - 1, 'more file')}" if len(left) > 1 else ""
            raise OutputExistsError(
                f"{printable(file_set.folder)} has rows of {printable(left[0])}{more} too, which `--overwrite` would "
                "remove\n  give all of its documents, or give the new set a name of its own; or remove that folder"
            )


def contradictions(
    folder: str, manifest: Manifest, ledger: Ledger, *, options: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[str]:
    """What of a manifest and its files does not fit; `options` are those of the manifest, given a file's parameters."""
    from dolma.data.attributes import attribute_notes, attribute_schema

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
                {name: output.declared for name, output in attribute_schema(path).items()},
            ),
        )
