"""Documents that are near in meaning: whose vectors, an attribute, have a cosine of at least a threshold.

    vectors   piece -> a row per document; its vector, with what is known of it
    sample    the vectors of a piece -> some of them; where there are several cells
    centres   all of these -> the centres of the cells, by k-means
    assign    the vectors of a piece -> the same, by cell: that of the nearest centre
    compare   some cells -> `marks`: what is said of each document that is in a cluster
    write     shard -> its attribute file

Within a cell each pair is compared. Documents of two cells are not: with a single cell, as up to 65,536 documents have
it, none is missed, and with more a pair is missed whose border lies between the two. Equal vectors are compared once.

All that grows with the corpus lies in the work folder: 4 bytes for each number of a vector, twice at most. A cell that
is larger than memory is read from a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.aligned import AlignedRows, RowFile, check_contiguous
from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, Output
from dolma.data.documents import Reading
from dolma.data.exchange import (
    END_OF_KEYS,
    Partition,
    RunFile,
    RunWriter,
    Table,
    read_in_order,
    read_sorted,
)
from dolma.dedupers import clusters
from dolma.dedupers.clusters import MARKS, ROWS, MarkedRows
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.keep import Keep
from dolma.dedupers.keys import Gate
from dolma.dedupers.method import (
    SCOPES,
    Found,
    Job,
    Numbered,
    PieceReader,
    by_range,
    documents_of_pieces,
    files_of,
    rows_of_pieces,
    settings,
    starts_of_pieces,
    tasks_of,
)
from dolma.dedupers.minhash import first_with_text
from dolma.dedupers.notes import NearNotes
from dolma.dedupers.verdict import COUNTS, Spill, Verdict
from dolma.errors import ConfigError, DataError
from dolma.kernels import vectors
from dolma.kernels.hashing import hash128_documents
from dolma.printable import counted, printable
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.report import Table as Shown
from dolma.runner.seeds import draws
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

OUTPUTS: dict[str, Output] = {
    **clusters.OUTPUTS,
    "similarity": DocFloat(
        "cosine of the vector and that of the kept document; null for that one, and where none is", range="[-1, 1]"
    ),
}
_OF_DOCUMENT = [
    ("place", pa.uint64()),
    ("id", pa.string()),
    ("source", pa.string()),
    ("rank", pa.float64()),
    ("tier", pa.uint32()),
    ("vector", pa.large_binary()),  # float32
]
VECTORS = Table(name="vectors", schema=pa.schema(_OF_DOCUMENT))
SAMPLE = Table(name="sample", schema=pa.schema([("draw", pa.uint64()), ("vector", pa.large_binary())]), key=("draw",))
CENTRES = Table(name="centres", schema=pa.schema([("vector", pa.large_binary())]))
CELLS = Table(name="cells", schema=pa.schema([("cell", pa.uint64()), *_OF_DOCUMENT]), key=("cell", "place"))
THRESHOLD, SEED = 0.95, 1
DOCUMENTS_PER_CELL, MOST_CELLS = 1 << 16, 512
"""Cells where their number is not given: so many documents in each, on average, and at most so many cells."""
SAMPLED, ROUNDS = 32, 10
"""Vectors for each cell that k-means looks at, and how often it moves the centres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantic:
    """Documents with vectors that are alike; `by` is the output that has them, as SET.OUTPUT."""

    by: str
    threshold: float
    cells: int | None
    seed: int
    link: str
    gate: Gate
    keep: Keep
    scope: str = "all"
    version = 1

    @classmethod
    def of(cls, config: DedupeConfig) -> Semantic:
        """The method with these settings."""
        return cls(
            by=config.by,
            threshold=THRESHOLD if config.threshold is None else config.threshold,
            cells=config.cells,
            seed=SEED if config.seed is None else config.seed,
            link=config.link or "components",
            gate=Gate.of(config),
            keep=Keep.of(config),
            scope=config.scope or "all",
        )

    @property
    def outputs(self) -> Mapping[str, Output]:
        return OUTPUTS

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "method": "semantic",
            "by": self.by,
            "threshold": self.threshold,
            "cells": self.cells,
            "seed": self.seed,
            "link": self.link,
            **asdict(self.gate),
            **self.keep.parameters,
            "scope": self.scope,
        }

    @property
    def reads(self) -> Sequence[str]:
        return [".".join(self.keep.field)] if self.keep.field else []

    @property
    def explained(self) -> Shown:
        cells = counted(self.cells, "cell") if self.cells is not None else _cells_by_size()
        rows = {
            "vectors": f"those of `{self.by}`, of any length: their cosines are compared",
            "compared": f"each pair within one of {cells}; no pair of two cells",
            "left out": self.gate.described,
            "scope": SCOPES[self.scope],
            "duplicates": "all of a cluster" if self.link == "components" else "what reaches it with the kept one",
            "kept": self.keep.described,
        }
        return settings(f"documents with a cosine of at least {self.threshold}", rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, self._warm_up)
        work, memory = stage.work_folder, job.memory
        reading = ReadVectors(
            work=work,
            by=self.by,
            files=job.measured,
            gate=self.gate,
            keep=self.keep,
            reading=job.reading,
            n_references=job.n_references,
            memory=memory,
        )
        read = stage.run("vectors", job.tasks(), reading, reads=True)
        check_contiguous(job.parts, [taken for result in read for taken in result.payload["taken"]])
        documents, starts = documents_of_pieces(job, read), starts_of_pieces(job, read)
        files = files_of(read, VECTORS.name)
        n_cells = self.cells if self.cells is not None else _cells_for(sum(documents))
        centres = self._centres(stage, files, starts, n_cells=n_cells, n=sum(file.rows for file in files), job=job)
        assigning = AssignCells(work=work, centres=centres, within_source=self.scope == "within-source", memory=memory)
        assigned = stage.run("assign", _tasks_of_files(files), assigning, uses_up=(VECTORS.name, CENTRES.name))
        parts = by_range(stage, job, CELLS, files_of(assigned, CELLS.name))
        verdict = Verdict(
            threshold=self.threshold, link=self.link, keep=self.keep, across_sources=self.scope == "across-sources"
        )
        comparing = CompareCells(work=work, verdict=verdict, memory=memory)
        compared = stage.run("compare", tasks_of(parts), comparing, uses_up=(CELLS.name,))
        references, read_here = job.apart(read)
        return Found(
            rows=rows_of_pieces(read_here),
            marks=files_of(compared, "marks"),
            table=MARKS,
            tables=MarkedRows(work=work, starts=starts, memory=memory // 4),
            counted=read_here,
            without_key=sum(result.payload["without_key"] for result in read_here),
            near=NearNotes(**{name: sum(result.payload[name] for result in compared) for name in COUNTS}),
            references=references,
        )

    def _warm_up(self, batch: TextBatch) -> None:
        self.gate(batch.utf8, batch.offsets[:-1], batch.offsets[1:])
        some = np.eye(3, dtype=np.float32)
        squares = vectors.squares(some)
        vectors.near(some, squares, np.arange(3), threshold=0.5)
        vectors.cosines(some, squares, np.arange(3), np.arange(3))
        vectors.centres(some, squares, n=2, rounds=1)

    def _centres(
        self, stage: StageRun, files: Sequence[RunFile], starts: tuple[int, ...], *, n_cells: int, n: int, job: Job
    ) -> RunFile | None:
        """The centres of the cells; None where there is one cell."""
        if n_cells <= 1 or n <= 1:
            return None
        sampling = SampleVectors(
            work=stage.work_folder,
            starts=starts,
            seed=self.seed,
            share=min(1.0, SAMPLED * n_cells / n),
            memory=job.memory,
        )
        sampled = stage.run("sample", _tasks_of_files(files), sampling)
        (whole,) = partitioned(stage, SAMPLE, files_of(sampled, SAMPLE.name), [0, END_OF_KEYS], memory=job.memory)
        task = Task(key=f"all-{whole.fingerprint}", size=whole.n_bytes, spec=whole)
        finding = FindCentres(work=stage.work_folder, n_cells=n_cells, memory=job.memory)
        (found,) = stage.run("centres", [task], finding, uses_up=(SAMPLE.name,))
        return msgspec.convert(found.payload[CENTRES.name], RunFile)


def _cells_for(n: int) -> int:
    return min(MOST_CELLS, -(-n // DOCUMENTS_PER_CELL))


def _cells_by_size() -> str:
    return f"as many cells as {DOCUMENTS_PER_CELL:,} documents in each take, {MOST_CELLS} at most"


def _tasks_of_files(files: Sequence[RunFile]) -> list[Task]:
    return [Task(key=file.path, size=file.index, spec=(f"{i:06d}", file)) for i, file in enumerate(files)]


# --- vectors ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadVectors:
    """Reads pieces and their vectors, and leaves their rows and these. Called with the pieces and their numbers.

    `files` has the attribute file of each shard, by the shard's name.
    """

    work: str
    by: str
    files: Mapping[str, RowFile]
    gate: Gate
    keep: Keep
    reading: Reading
    n_references: int
    memory: int

    def __call__(self, pieces: Numbered) -> TaskResult:
        name, taken = f"{pieces[0][0]:06d}", []
        reference = pieces[0][0] < self.n_references
        reader = PieceReader(self.reading, records=bool(self.keep.field))
        with RunWriter(ROWS, self.work, name) as rows, RunWriter(VECTORS, self.work, name) as found:
            for number, piece in pieces:
                with AlignedRows(piece, [self.files[piece.shard.name]]) as aligned:
                    for place, batch in reader.batches(number, piece):
                        (table,) = aligned.tables(batch)
                        rows.add(clusters.rows_of(batch))
                        column = table.column(self.by.partition(".")[2]).combine_chunks()
                        at = np.flatnonzero(self.gate(batch.utf8, batch.offsets[:-1], batch.offsets[1:]))
                        columns = [
                            pa.array(clusters.places(place, len(batch))[at]),
                            pa.array([batch.ids[i] for i in at.tolist()], pa.string()),
                            pa.array([batch.sources[i] for i in at.tolist()], pa.string()),
                            pa.array(self.keep.ranks(batch)[at]),
                            pa.array(self.keep.tiers(batch, reference=reference)[at]),
                            packed(self._vectors(column, batch, at)),
                        ]
                        found.add(pa.RecordBatch.from_arrays(columns, schema=VECTORS.schema))
                        reader.leave_out(len(batch) - len(at))
                    aligned.finish()
                    taken.append({"first_row": aligned.first_row, "rows": aligned.rows})
                rows.end_part()
        result = reader.result(rows, vectors=found)
        result.payload["taken"] = taken
        return result

    def _vectors(self, column: pa.FixedSizeListArray, batch: TextBatch, at: Ints) -> Floats:
        """The vectors of these documents, none of which may be odd."""
        chosen = column.take(pa.array(at))
        missing = chosen.is_null().to_numpy(zero_copy_only=False)
        if missing.any():
            raise self._odd("null", batch, int(at[missing.argmax()]))
        values = chosen.flatten()
        numbers = values.fill_null(np.nan).to_numpy(zero_copy_only=False).reshape(len(at), chosen.type.list_size)
        finite = np.isfinite(numbers).all(axis=1)
        if not finite.all():
            raise self._odd("a vector with numbers that are null, NaN or infinite", batch, int(at[finite.argmin()]))
        zero = ~numbers.any(axis=1)
        if zero.any():
            raise self._odd("a vector of zeros, which has no direction", batch, int(at[zero.argmax()]))
        return numbers

    def _odd(self, what: str, batch: TextBatch, i: int) -> DataError:
        return DataError(
            f"`{self.by}` of the document {printable(batch.ids[i])!r} is {what}, expected some numbers to compare\n"
            "  measure the documents again (`error` of the set may say why), or drop this one by a mix before",
            file=batch.path,
            line=int(batch.lines[i]),
        )


def packed(numbers: Floats) -> pa.LargeBinaryArray:
    """Vectors, float32 of shape `(n, size)`, as bytes."""
    flat = np.ascontiguousarray(numbers)
    offsets = np.arange(len(flat) + 1) * (flat.shape[1] * flat.itemsize)
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(flat), [None, pa.py_buffer(offsets), pa.py_buffer(flat)]
    )


def unpacked(column: pa.LargeBinaryArray) -> Floats:
    """The vectors that these bytes are; float32, shape `(n, size)`."""
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    values = column.buffers()[2]
    numbers = np.frombuffer(b"" if values is None else values, np.float32)[offsets[0] // 4 : offsets[-1] // 4]
    return numbers.reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)


# --- cells -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleVectors:
    """Leaves a share of vectors, by draws of their corpus positions. Called with (name, file of vectors)."""

    work: str
    starts: tuple[int, ...]
    seed: int
    share: float
    memory: int

    def __call__(self, spec: tuple[str, RunFile]) -> TaskResult:
        name, file = spec
        starts = np.array(self.starts, np.int64)
        with RunWriter(SAMPLE, self.work, name, memory=self.memory) as sample:
            for batch in read_in_order(VECTORS, self.work, file):
                positions = clusters.positions(batch["place"].to_numpy(), starts)
                draw = draws(self.seed, "cells", "", positions)
                chosen = pa.array(np.flatnonzero(draw < self.share * 2.0**64))
                columns = [pa.array(draw).take(chosen), batch["vector"].take(chosen)]
                sample.add(pa.RecordBatch.from_arrays(columns, schema=SAMPLE.schema))
        return TaskResult(outputs=sample.outputs, payload={SAMPLE.name: msgspec.to_builtins(sample.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCentres:
    """Finds the centres of cells by k-means. Called with the sample."""

    work: str
    n_cells: int
    memory: int

    def __call__(self, sample: Partition) -> TaskResult:
        if (needed := 4 * sample.n_bytes) > self.memory:
            raise ConfigError(
                f"to find the centres of {self.n_cells:,} cells takes {needed:,} bytes, more than `--max-memory` "
                f"{self.memory:,}\n  give fewer `--cells`, or more `--max-memory`"
            )
        batches = list(read_sorted(SAMPLE, self.work, sample, memory=self.memory // 4))
        numbers = np.concatenate([unpacked(batch["vector"]) for batch in batches if len(batch)])
        n = min(self.n_cells, len(numbers))
        found = vectors.centres(numbers, vectors.squares(numbers), n=n, rounds=ROUNDS)
        with RunWriter(CENTRES, self.work, "all") as out:
            out.add(pa.RecordBatch.from_arrays([packed(found)], schema=CENTRES.schema))
        return TaskResult(outputs=out.outputs, payload={CENTRES.name: msgspec.to_builtins(out.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignCells:
    """Sorts vectors by their cells. Called with (name, file of vectors); without `centres` there is one cell."""

    work: str
    centres: RunFile | None
    within_source: bool
    memory: int

    def __call__(self, spec: tuple[str, RunFile]) -> TaskResult:
        name, file = spec
        centres = None if self.centres is None else self._read(self.centres)
        with RunWriter(CELLS, self.work, name, memory=self.memory) as cells:
            for batch in read_in_order(VECTORS, self.work, file):
                numbers = unpacked(batch["vector"])
                nearest = np.zeros(len(batch), np.int64)
                if centres is not None and len(batch):
                    nearest = vectors.nearest(numbers, vectors.squares(numbers), centres)
                # Spread over all keys, as partitions are ranges of these.
                cell = nearest.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                if self.within_source:
                    cell ^= clusters.salts_of(batch["source"].to_pylist())[:, 0]
                cells.add(pa.RecordBatch.from_arrays([pa.array(cell), *batch.columns], schema=CELLS.schema))
        return TaskResult(outputs=cells.outputs, payload={CELLS.name: msgspec.to_builtins(cells.file)})

    def _read(self, file: RunFile) -> Floats:
        return np.concatenate([unpacked(batch["vector"]) for batch in read_in_order(CENTRES, self.work, file)])


# --- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCells:
    """Compares the documents of each cell. Called with (name, cells)."""

    work: str
    verdict: Verdict
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        count = dict.fromkeys(COUNTS, 0)
        batches = read_sorted(CELLS, self.work, partition, memory=self.memory // 4)
        with RunWriter(MARKS, self.work, name, memory=self.memory // 8) as marks:
            for cell in Cell.of_batches(batches, limit=self.memory // 4):
                with cell:
                    marks.add(self._marks(cell, count))
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file), **count})

    def _marks(self, cell: Cell, count: dict[str, int]) -> pa.RecordBatch:
        numbers = cell.numbers()
        squares = vectors.squares(numbers)
        first = _first_of_equal(numbers)
        unlike = np.flatnonzero(first == np.arange(len(first)))
        found = vectors.near(numbers, squares, unlike, threshold=self.verdict.threshold)
        count["compared"] += len(unlike) * (len(unlike) - 1) // 2
        count["alike"] += found.alike
        leaders = unlike[found.leaders][np.searchsorted(unlike, first)]

        def similarity(left: Ints, right: Ints) -> npt.NDArray[np.float64]:
            return vectors.cosines(numbers, squares, left, right)

        return self.verdict.marks(leaders, cell, similarity, count)


def _first_of_equal(numbers: Floats) -> Ints:
    """The first vector with the same bytes, for each."""
    offsets = np.arange(len(numbers) + 1) * numbers[:1].nbytes
    hashes = hash128_documents(numbers.reshape(-1).view(np.uint8), offsets)
    return first_with_text(hashes[:, 1].view(np.int64), hashes[:, 0])


class Cell:
    """The documents of a cell, in corpus order. A context manager: leaving it drops them.

    Vectors lie in a temporary file where they take more than `limit` bytes.
    """

    def __init__(self, limit: int) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._numbers = Spill(np.float32, limit)

    @classmethod
    def of_batches(cls, batches: Iterable[pa.RecordBatch], *, limit: int) -> Iterator[Cell]:
        """The cells of `CELLS`, which come sorted."""
        last, cell = None, cls(limit)
        for batch in batches:
            key = batch["cell"].to_numpy()
            starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
            for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(key)], strict=False):
                if last is not None and key[start] != last:
                    yield cell
                    cell = cls(limit)
                last = key[start]
                cell._add(batch.slice(start, end - start))
        if last is not None:
            yield cell

    def _add(self, batch: pa.RecordBatch) -> None:
        self._numbers.add(unpacked(batch["vector"]).reshape(-1))
        self._batches.append(batch.drop_columns(["vector", "cell"]))

    def __enter__(self) -> Cell:
        records = pa.Table.from_batches(self._batches).combine_chunks()
        self.places, self.ranks, self.tiers = (records[name].to_numpy() for name in ("place", "rank", "tier"))
        self.ids, self.sources = (records[name].combine_chunks() for name in ("id", "source"))
        return self

    def __exit__(self, *_: object) -> None:
        self._numbers.close()

    def numbers(self) -> Floats:
        """The vector of each document; float32, shape `(n, size)`."""
        return self._numbers.array().reshape(len(self.places), -1)
