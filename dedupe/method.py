"""What a method of finding copies is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from dolma.data.aligned import RowFile
from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import Partition, RunFile, RunWriter, Table, prefix_bounds, read_sorted, whole_runs
from dolma.data.manifest import OutputFile
from dolma.dedupers.clusters import first_place
from dolma.dedupers.index import Held, keep_sorted
from dolma.dedupers.notes import BloomNotes, NearNotes
from dolma.runner.ledger import Ledger
from dolma.runner.merging import partitioned
from dolma.runner.progress import advance, begin
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult, Work
from dolma.runner.together import together


class Tables(Protocol):
    """Makes what is written of the rows of a shard's pieces, by number, and of their marks. Can be pickled.

    The tables have a row for each document: `id`, `source`, `characters` (code points) and the method's outputs; and
    `kept_source`, that of the kept document, where documents are compared.
    """

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a method is to look at. `memory` is what a task may hold, in bytes.

    The first `n_references` of the pieces are of references: documents that are compared and never marked. With `held`,
    the pieces of an index come before these. `index` is the folder of the set that is to have one, or "". `measured`
    has the attribute file of each shard, by its name, where a method reads one.
    """

    parts: Sequence[Piece]
    n_references: int = 0
    reading: Reading
    memory: int
    held: Held | None = None
    index: str = ""
    measured: Mapping[str, RowFile] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The number of the first of the pieces."""
        return self.held.first_pieces[-1] if self.held is not None else 0

    @property
    def first_new(self) -> int:
        """The place of the first document that no index holds."""
        return first_place(self.first)

    def files_held(self, table: Table) -> Sequence[RunFile]:
        """The records that the index has of a table, sorted."""
        return self.held.files(table) if self.held is not None else []

    def records_held(self, table: Table) -> Sequence[RunFile]:
        """The same, with paths below the index."""
        return self.held.index.records.get(table.name, []) if self.held is not None else []

    def tasks(self) -> list[Task]:
        """A task for each piece, or for some small ones; its spec is their numbers, and the pieces.

        Those of references have tasks of their own, which come first.
        """
        return [*self._tasks(0, self.n_references), *self._tasks(self.n_references, len(self.parts))]

    def apart(self, results: Sequence[TaskResult]) -> tuple[Sequence[TaskResult], Sequence[TaskResult]]:
        """The results of these tasks: those of references, and all others."""
        n = len(self._tasks(0, self.n_references))
        return results[:n], results[n:]

    def _tasks(self, first: int, end: int) -> list[Task]:
        return together(
            [
                Task(key=piece.key, size=piece.size, spec=(i, piece), file=piece.shard.path, part=piece.words)
                for i, piece in enumerate(self.parts[first:end], self.first + first)
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a method has left: `rows`, part of a file for each piece; `marks`, files of the exchange `table`, by place.

    `counted` are the results whose ledgers count the documents, `without_key` those that can have no copy; all without
    references, of which `references` are the results; `made` has what a method writes beside the attributes. `report`
    is called once with (folder, name, marks) of all shards: it writes there, too; its payload is a `Contamination`.
    `unit`: what is counted, where that is neither documents nor paragraphs.
    `kept` are the records that the index of this set has, by table; `added`, files of the work folder that it takes
    in, beside those that an older index has of their tables.
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
    kept: Mapping[str, Sequence[RunFile]] = field(default_factory=dict)
    added: Sequence[OutputFile] = ()

    @property
    def rewrites(self) -> bool:
        """Whether rows of an older document may change when a new one comes; marks tell by `grown`."""
        return "grown" in self.table.schema.names


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

    @property
    def explained(self) -> Shown:
        """What the settings come to: the title says what is found."""
        ...

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
        begin(piece.shard.path, piece.words)
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


def starts_of_pieces(job: Job, results: Iterable[TaskResult]) -> tuple[int, ...]:
    """The number of documents before each piece."""
    return tuple(itertools.accumulate(documents_of_pieces(job, results)[:-1], initial=0))


def documents_of_pieces(job: Job, results: Iterable[TaskResult]) -> list[int]:
    """The number of documents of each piece, of those that an index holds first."""
    before = job.held.documents if job.held is not None else []
    return [*before, *(n for result in results for n in result.payload["documents"])]


def settings(title: str, rows: Mapping[str, str]) -> Shown:
    """A table of what is said of settings."""
    return Shown(title=title, headers=["setting", "what it comes to"], rows=list(rows.items()))


SCOPES = {
    "all": "copies of all documents count",
    "within-source": "copies of documents of one source count",
    "across-sources": "a document is a duplicate if the kept one is of another source",
}
OF_HASHES = "what has one hash of 128 bits: two of 10^10 unequal ones do with a probability of 1.5e-19"


# --- phases ----------------------------------------------------------------------------------------------------------

PARTITION_BYTES = 64 << 20
"""A task's worth of records; it streams them."""


def files_of(results: Iterable[TaskResult], name: str) -> list[RunFile]:
    """The files that the tasks of a phase have left under this name."""
    files = [msgspec.convert(result.payload[name], RunFile | None) for result in results]
    return [file for file in files if file is not None]


def outputs_of(results: Iterable[TaskResult], table: Table) -> list[OutputFile]:
    """The files of a table that the tasks of a phase have left."""
    return [out for result in results for out in result.outputs if out.path.startswith(f"{table.name}/")]


def ranges_of(files: Iterable[RunFile]) -> list[int]:
    """The bounds of ranges of hashes, so that each has about `PARTITION_BYTES` of the records of these files."""
    return prefix_bounds(1 + sum(file.index for file in files) // PARTITION_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedRecords:
    """Reads partitions of a table in order, and keeps them in the index of the set in `folder`, if that is not ""."""

    table: Table
    work: str
    folder: str
    memory: int

    def __call__(self, name: str, partition: Partition) -> Kept:
        """What is read of a partition; `name` is that of its task."""
        if not self.folder:
            return Kept(self, partition)
        records = read_sorted(self.table, self.work, partition, memory=self.memory)
        file, outputs = keep_sorted(self.table, self.folder, name.partition("-")[0], records)
        there = msgspec.structs.replace(file, path=outputs[0].path)
        return Kept(replace(self, work=self.folder), whole_runs([there]), file, outputs)


@dataclass(frozen=True, slots=True)
class Kept:
    """The records of a partition, and the file of the index that has them, if there is one."""

    of: SortedRecords
    partition: Partition
    file: RunFile | None = None
    outputs: Sequence[OutputFile] = ()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The records in order; may be called several times."""
        return read_sorted(self.of.table, self.of.work, self.partition, memory=self.of.memory)


def by_range(stage: StageRun, job: Job, table: Table, files: Sequence[RunFile]) -> list[Partition]:
    """The records of these files, after those of the table that an index holds, in ranges of `PARTITION_BYTES`."""
    held = job.files_held(table)
    return partitioned(stage, table, files, ranges_of([*held, *files]), memory=job.memory, before=held)


def tasks_of(parts: Iterable[Partition], *others: Iterable[Partition]) -> list[Task]:
    """A task for each partition, and those that go with it; its spec is (its name, the partitions)."""
    tasks = []
    for i, (part, *more) in enumerate(zip(parts, *others, strict=True)):
        name = f"{i:06d}-{part.fingerprint}"
        tasks.append(Task(key=name, size=part.n_bytes, spec=(name, part, *more)))
    return tasks
