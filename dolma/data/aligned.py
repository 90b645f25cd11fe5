"""Attribute rows of the documents of a piece, every one checked to be theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pyarrow as pa

from dolma.data.attributes import AttributeReader, check_alignment, check_exhausted, read_attributes, same_document
from dolma.data.batch import TextBatch
from dolma.data.identity import Content
from dolma.data.shards import Piece
from dolma.errors import AlignmentError


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """One attribute file of a shard, and the columns that are read of it beside `id` (None: all)."""

    path: str
    columns: Sequence[str] | None = ()
    content: Content | None = None  # what it has to hold whenever it is read


class AlignedRows:
    """Takes the attribute rows of a piece's documents, batch by batch. A context manager.

    Rows belong to documents, not to lines: where lines before a later piece were blank or left out, its first row
    is found by the ids of its first documents. `first_row` is where the piece began, -1 while nothing was taken, or
    without files; `rows` is how many were taken. Whether the pieces of a shard leave no row out is for
    `check_contiguous`.
    """

    def __init__(self, piece: Piece, files: Sequence[RowFile]) -> None:
        self.piece = piece
        self.first_row, self.rows = -1, 0
        self._files = files
        self._readers: list[AttributeReader] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def tables(self, batch: TextBatch) -> list[pa.Table]:
        """The rows of the batch, a table of `len(batch)` rows for each file.

        Raises:
            AlignmentError: a row is missing, or is of another document.
        """
        if self.first_row < 0 and self._files:
            self._begin(batch)
        tables = []
        for file, reader in zip(self._files, self._readers, strict=True):
            found = reader.take(len(batch))
            check_alignment(batch.ids, found, documents=self.piece.shard.path, attributes=file.path, lines=batch.lines)
            tables.append(found)
        self.rows += len(batch)
        return tables

    def _begin(self, batch: TextBatch | None) -> None:
        self.first_row = self._first_row(batch)
        for file in self._files:
            reader = AttributeReader(file.path, file.columns, skip=self.first_row, content=file.content)
            self._readers.append(self._stack.enter_context(reader))

    def _first_row(self, batch: TextBatch | None) -> int:
        line = self.piece.first_line - 1
        if self.piece.part == 0 or batch is None:
            return 0 if self.piece.part == 0 else line
        first = self._files[0]
        ids = read_attributes(first.path, [], content=first.content).column("id").to_pylist()
        wanted = [*zip(batch.ids, batch.lines.tolist(), strict=True)]
        starts = (at for at in range(min(line, len(ids)), -1, -1) if _are_those(wanted, ids[at : at + len(wanted)]))
        return next(starts, line)

    def finish(self) -> None:
        """Check that no row is left when the documents end.

        Raises:
            AlignmentError: there are more rows than documents.
        """
        if self.piece.part < self.piece.parts - 1 or self.piece.shard.documents is not None:
            return
        if self.first_row < 0 and self._files:
            if self.piece.parts > 1:
                return
            self._begin(None)
        for reader in self._readers:
            check_exhausted(reader, documents=self.piece.shard.path)


def _are_those(wanted: Sequence[tuple[str, int]], ids: Sequence[str]) -> bool:
    pairs = zip(wanted, ids, strict=False)
    return len(ids) == len(wanted) and all(same_document(id, there, line=line) for (id, line), there in pairs)


def check_contiguous(pieces: Sequence[Piece], rows: Sequence[Mapping[str, int]]) -> None:
    """Check that the pieces of each shard took its rows without a gap; `rows` has `first_row` and `rows` of each.

    Raises:
        AlignmentError: rows between two pieces belong to no document.
    """
    ends: dict[str, int] = {}
    for piece, taken in zip(pieces, rows, strict=True):
        if taken["first_row"] < 0:
            continue
        end = ends.get(piece.shard.name, 0)
        if taken["first_row"] != end:
            raise AlignmentError(
                f"its attributes have rows {end} to {taken['first_row']} for which it has no document\n"
                "  the attributes are of other documents, or of another version of them: run their stage again",
                file=piece.shard.path,
                line=piece.first_line,
            )
        ends[piece.shard.name] = end + taken["rows"]
