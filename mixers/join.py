"""Documents of a piece together with their attribute rows, every one checked to be theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from dolma.data.aligned import AlignedRows, RowFile
from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Piece, is_native
from dolma.data.identity import Content
from dolma.errors import DataError
from dolma.mixers.rules import typed


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeFile:
    """One attribute file of a shard and the outputs that are read of it."""

    set: str
    path: str
    outputs: dict[str, Output]
    content: Content | None = None  # what it has to hold whenever it is read

    @property
    def columns(self) -> list[str] | None:
        """What to ask of the reader; None, everything, of a Dolma 1.x file, which may lack what no document has."""
        return list(self.outputs) if is_native(self.path) else None


class JoinedRows(AlignedRows):
    """The attribute rows of a piece's documents, each output in its declared type."""

    def __init__(self, piece: Piece, files: Sequence[AttributeFile]) -> None:
        super().__init__(piece, [RowFile(path=file.path, columns=file.columns, content=file.content) for file in files])
        self.files = files

    def take(self, batch: TextBatch) -> dict[str, dict[str, pa.Array]]:
        """The rows of the batch, by set and output, each an array of `len(batch)` items.

        Raises:
            AlignmentError: a row is missing, or is of another document.
        """
        arrays: dict[str, dict[str, pa.Array]] = {}
        for file, found in zip(self.files, self.tables(batch), strict=True):
            arrays.setdefault(file.set, {}).update(
                {name: column_of(found, name, output, path=file.path) for name, output in file.outputs.items()}
            )
        return arrays


def column_of(found: pa.Table, name: str, output: Output, *, path: str) -> pa.Array:
    """An output of some attribute rows in its declared type; what a Dolma 1.x file does not have is empty or NULL.

    Raises:
        DataError: the column is of another type.
    """
    if name in found.column_names:
        try:
            return typed(found.column(name), output)
        except ValueError as error:
            raise DataError(
                f"the column {name!r} is not {output.kind}: {error}"
                "\n  measure again with one version of the tagger: `dolma tag --overwrite`",
                file=path,
            ) from error
    if output.kind == "spans":  # Dolma 1.x: a key that is absent has no span
        return pa.array([[]] * len(found), output.arrow_type)
    return pa.nulls(len(found), output.arrow_type)
