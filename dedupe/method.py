"""What a method of finding copies is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import Partition, RunFile, RunWriter, Table, prefix_bounds
from dolma.dedupers.clusters import first_place
from dolma.dedupers.notes import BloomNotes, NearNotes
from dolma.runner.ledger import Ledger
from dolma.runner.progress import advance
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult, Work, grouped


class Tables(Protocol):
    """Makes what is written of the rows of a shard's pieces, by number, and of their marks. Can be pickled.

    The tables have a row for each document: `id`, `source`, `characters` (code points) and the method's outputs; and
    `kept_source`, that of the kept document, where documents are compared.
    """

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a method is to look at. `memory` is what a task may hold, in bytes.

    The first `n_references` of the pieces are of references: documents that are compared and never marked.
    """

    parts: Sequence[Piece]
    n_references: int = 0
    reading: Reading
    memory: int

    def tasks(self) -> list[Task]:
        """A task for each piece, or for some small ones; its spec is their numbers, and the pieces.

        Those of references have tasks of their own, which come first.
        """
        tasks = []
        for group in (*self._groups(0, self.n_references), *self._groups(self.n_references, len(self.parts))):
            numbered = tuple((i, self.parts[i]) for i in group)
            first, size = numbered[0][1], sum(piece.size for _, piece in numbered)
            tasks.append(Task(key=first.key, size=size, spec=numbered, file=first.shard.path, part=first.words))
        return tasks

    def apart(self, results: Sequence[TaskResult]) -> tuple[Sequence[TaskResult], Sequence[TaskResult]]:
        """The results of these tasks: those of references, and all others."""
        n = len(self._groups(0, self.n_references))
        return results[:n], results[n:]

    def _groups(self, first: int, end: int) -> list[list[int]]:
        return [[first + i for i in group] for group in grouped([piece.size for piece in self.parts[first:end]])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a method has left: `rows`, part of a file for each piece; `marks`, files of the exchange `table`, by place.

    `counted` are the results whose ledgers count the documents, `without_key` those that can have no copy; all without
    references, of which `references` are the results; `made` has what a method writes beside the attributes. `report`
    is called once with (folder, name, marks) of all shards: it writes there, too; its payload is a `Contamination`.
    `unit`: what is counted, where that is neither documents nor paragraphs.
    """

    rows: Sequence[RunFile]
    marks: Sequence[RunFile]
    table: Table
    tables: Tables
    counted: Sequence[TaskResult]
    without_key: int
    near: NearNotes | None = None
    references: Sequence[TaskResult] = ()
    made: Sequence[TaskResult] = ()
    bloom: BloomNotes | None = None
    report: Work | None = None
    unit: str = ""


class Method(Protocol):
    """A way to find copies. `parameters` (JSON) decide the answer; `reads` names fields beside text, id and source."""

    @property
    def outputs(self) -> Mapping[str, Output]: ...

    @property
    def parameters(self) -> dict[str, Any]: ...

    @property
    def reads(self) -> Sequence[str]: ...

    @property
    def version(self) -> int: ...

    def find(self, stage: StageRun, job: Job) -> Found:
        """Run the phases of the method."""
        ...


Numbered = tuple[tuple[int, Piece], ...]
"""Pieces with their numbers."""


class PieceReader:
    """Reads the pieces of a task, one by one, and counts documents and bytes of text by source."""

    def __init__(self, reading: Reading, *, records: bool = False) -> None:
        self._reading, self._records = reading, records
        self._ledger = Ledger()
        self._documents: list[int] = []
        self._without_key = 0

    def batches(self, number: int, piece: Piece) -> Iterator[tuple[int, TextBatch]]:
        """The documents of a piece, and the place of the first one of each batch."""
        intake, n = Intake(), 0
        for batch in read_batches(piece, self._reading, intake=intake, records=self._records):
            yield first_place(number) + n, batch
            n += len(batch)
            self._ledger.pass_on(batch)
            advance(documents=len(batch), bytes=len(batch.utf8))
        self._ledger.fail(piece.shard.source, intake)
        self._documents.append(n)

    def leave_out(self, n: int) -> None:
        """Count documents that can have no copy."""
        self._without_key += n

    def result(self, rows: RunWriter, **others: RunWriter) -> TaskResult:
        """What the task answers; of `rows`, each piece has a part."""
        return TaskResult(
            outputs=[out for writer in (rows, *others.values()) for out in writer.outputs],
            ledger=self._ledger,
            payload={
                "rows": msgspec.to_builtins(rows.parts),
                "documents": self._documents,
                "without_key": self._without_key,
                **{name: msgspec.to_builtins(writer.file) for name, writer in others.items()},
            },
        )


def rows_of_pieces(results: Iterable[TaskResult]) -> list[RunFile]:
    """Where the rows of each piece are."""
    return [msgspec.convert(part, RunFile) for result in results for part in result.payload["rows"]]


def starts_of_pieces(results: Iterable[TaskResult]) -> tuple[int, ...]:
    """The number of documents before each piece."""
    counts = [n for result in results for n in result.payload["documents"]]
    return tuple(itertools.accumulate(counts[:-1], initial=0))


# --- phases ----------------------------------------------------------------------------------------------------------

PARTITION_BYTES = 64 << 20
"""A task's worth of records; it streams them."""


def files_of(results: Iterable[TaskResult], name: str) -> list[RunFile]:
    """The files that the tasks of a phase have left under this name."""
    return [msgspec.convert(result.payload[name], RunFile) for result in results]


def ranges_of(files: Iterable[RunFile]) -> list[int]:
    """The bounds of ranges of hashes, so that each has about `PARTITION_BYTES` of the records of these files."""
    return prefix_bounds(1 + sum(file.index for file in files) // PARTITION_BYTES)


def tasks_of(parts: Iterable[Partition], *others: Iterable[Partition]) -> list[Task]:
    """A task for each partition, and those that go with it; its spec is (its name, the partitions)."""
    tasks = []
    for i, (part, *more) in enumerate(zip(parts, *others, strict=True)):
        name = f"{i:06d}-{part.fingerprint}"
        tasks.append(Task(key=name, size=part.n_bytes, spec=(name, part, *more)))
    return tasks
