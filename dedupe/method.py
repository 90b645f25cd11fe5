"""What a method of finding copies is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading
from dolma.data.exchange import Partition, RunFile, Table, prefix_bounds
from dolma.dedupers.notes import NearNotes
from dolma.runner.ledger import Ledger
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult


class Tables(Protocol):
    """Makes what is written of the rows of a shard's pieces, by number, and of their marks. Can be pickled.

    The tables have a row for each document: `id`, `source`, `characters` (code points) and the method's outputs; and
    `kept_source`, that of the kept document, where documents are compared.
    """

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a method is to look at. `memory` is what a task may hold, in bytes."""

    parts: Sequence[Piece]
    reading: Reading
    memory: int

    def tasks(self) -> list[Task]:
        """A task for each piece; its spec is (number of the piece, piece)."""
        return [
            Task(key=piece.key, size=piece.size, spec=(i, piece), file=piece.shard.path, part=piece.words)
            for i, piece in enumerate(self.parts)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a method has left: `rows`, a file for each piece; `marks`, files of the exchange `table`, by place.

    `counted` are the results whose ledgers count the documents, `without_key` those that can have no copy.
    """

    rows: Sequence[RunFile]
    marks: Sequence[RunFile]
    table: Table
    tables: Tables
    counted: Sequence[TaskResult]
    without_key: int
    near: NearNotes | None = None


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


@dataclass(slots=True)
class Count:
    """Documents and bytes of text by source."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, batch: TextBatch) -> None:
        """Count the documents of a batch."""
        self.documents.update(batch.sources)
        if len(set(batch.sources)) == 1:
            self.bytes[batch.sources[0]] += len(batch.utf8)
            return
        for source, n_bytes in zip(batch.sources, batch.n_bytes.tolist(), strict=True):
            self.bytes[source] += n_bytes

    def ledger(self, piece: Piece, intake: Intake) -> Ledger:
        """The account of a piece: what was counted is kept, and what could not be read has failed."""
        ledger = Ledger()
        for source, documents in self.documents.items():
            ledger.take(source, documents=documents, bytes=self.bytes[source])
            ledger.keep(source, documents=documents, bytes=self.bytes[source])
        ledger.fail(piece.shard.source, intake)
        return ledger


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
