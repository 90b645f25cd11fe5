"""Repeated windows: runs of some sentences, or paragraphs, one after the other that the corpus has several times.

    hash    piece -> the units of its documents; `keys`, the hashes of their windows, by hash
    group   range of hashes -> `marks`: the windows that there are several times, and in how many documents
    write   shard -> its attribute file: the units that are in such windows

Units are the sentences of a document, whatever lines they are in, or its paragraphs. A window is some of them in a row;
a document of fewer has none. C4 has three sentences: "we discarded all but one of any three-sentence span occurring
more than once in the data set" (Raffel et al. 2020, arXiv:1910.10683, section 2.2). `exact` by paragraphs is windows of
one.

A unit is a duplicate if a window that it is in occurs before in the corpus (or, with `keep: none`, anywhere else), so
the first of several equal units is never one: all before a window's first occurrence is new. Windows are equal if their
128-bit hashes are, which nothing verifies: among 10^12 different ones the chance that any two collide is below 4e-15,
and the price is a span that is no copy. The readable twin is `repeated_windows` in `dolma.dedupers.reference`.

Disk holds about 40 bytes per window and the ids, in the stage's work folder, until the stage ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, DocInt, Output, Spans
from dolma.data.dataset import Piece
from dolma.data.documents import Reading
from dolma.data.exchange import Cursor, Partition, RunFile, RunWriter, Table, read_in_order, read_sorted
from dolma.dedupers import chunks
from dolma.dedupers.chunks import BatchWindows, Chunk, marked_chunks, marks_of
from dolma.dedupers.clusters import first_place, salts
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.keep import Keep
from dolma.dedupers.keys import Gate, evened, words_of
from dolma.dedupers.method import (
    OF_HASHES,
    SCOPES,
    Found,
    Job,
    Numbered,
    PieceReader,
    SortedRecords,
    by_range,
    files_of,
    outputs_of,
    rows_of_pieces,
    settings,
    tasks_of,
)
from dolma.dedupers.paragraphs import Units, split_paragraphs, split_sentences, unit_columns
from dolma.kernels.hashing import hash128_spans
from dolma.runner.compiling import compile_by_calling
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import TaskResult

Ints = npt.NDArray[np.int64]

SCRATCH = 0.005
"""Bytes of keys for each byte of input, at the least."""
SENTENCES = 3
"""Sentences of a window where nothing else is asked for, as in C4."""
PARAGRAPH_OUTPUTS: dict[str, Output] = {
    "spans": Spans("paragraphs, newline included, of which an equal one comes before in the corpus", range="1"),
    "fraction": DocFloat("share of the document's code points in such paragraphs; 0 for an empty text", range="0-1"),
    "n_paragraphs": DocInt("paragraphs that are not blank", unit="paragraphs"),
    "n_duplicates": DocInt("paragraphs of which an equal one comes before in the corpus", unit="paragraphs"),
}
_BYTES_PER_KEY = 256  # of a chunk in memory, while it is sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsOf:
    """The function from a batch to its windows: the picklable form of `by`, `window` and what is equal.

    With `within_source` windows are equal in documents of one source alone.
    """

    by: str
    separator: str
    window: int
    gate: Gate
    normalize: tuple[str, ...]
    within_source: bool

    def __call__(self, batch: TextBatch) -> BatchWindows:
        """The units of the batch, and the windows that take part."""
        units = self._units(batch)
        utf8, starts, ends = evened(batch.utf8, units.starts, units.ends, self.normalize)
        document, at = units.document, self.gate(utf8, starts, ends, window=self.window)
        if self.window == 1:
            hashes = hash128_spans(utf8, starts[at], ends[at])
        else:
            more = self.window - 1
            at[:-more] &= document[:-more] == document[more:]
            at[-more:] = False
            of_units, begins = hash128_spans(utf8, starts, ends), 16 * np.flatnonzero(at)
            hashes = hash128_spans(of_units.view(np.uint8).ravel(), begins, begins + 16 * self.window)
        if self.within_source and len(batch):
            hashes ^= salts(batch)[document[at]]
        return BatchWindows(units=units, at=at, hashes=hashes)

    def _units(self, batch: TextBatch) -> Units:
        if self.by == "sentences":
            return split_sentences(batch)
        return split_paragraphs(batch.utf8, batch.offsets, self.separator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Runs of units that are repeated. With `of_exact` the settings, outputs and scores are those of `exact`."""

    windows: WindowsOf
    min_documents: int
    keep: Keep
    of_exact: bool

    @classmethod
    def of(cls, config: DedupeConfig) -> Windows:
        """The method with these settings."""
        window = config.window or (SENTENCES if config.by == "sentences" else 1)
        return cls(
            windows=WindowsOf(
                by=config.by,
                separator=config.separator or "\n",
                window=window,
                gate=Gate.of(config),
                normalize=words_of(config),
                within_source=config.scope == "within-source",
            ),
            min_documents=config.min_documents or 1,
            keep=Keep.of(config),
            of_exact=config.method == "exact",
        )

    @property
    def version(self) -> int:
        return 2 if self.of_exact else 1

    @property
    def outputs(self) -> Mapping[str, Output]:
        if self.of_exact:
            return PARAGRAPH_OUTPUTS
        unit, repeated = self.windows.by, "in windows that are repeated"
        end = "separator included" if unit == "paragraphs" else "with the white space after them"
        return {
            "spans": Spans(
                f"{unit}, {end}, {repeated}; the score is in how many documents, the most of those windows",
                range=">= 1",
            ),
            "fraction": DocFloat(
                f"share of the document's code points in such {unit}; 0 for an empty text", range="0-1"
            ),
            f"n_{unit}": DocInt(f"{unit} that are not blank", unit=unit),
            "n_duplicates": DocInt(f"{unit} {repeated}", unit=unit),
        }

    @property
    def parameters(self) -> dict[str, Any]:
        windows = self.windows
        scope = "within-source" if windows.within_source else "all"
        shared = {
            "by": windows.by,
            "normalize": list(windows.normalize),
            **asdict(windows.gate),
            **self.keep.parameters,
        }
        if self.of_exact:
            return {"method": "exact", **shared, "scope": scope}
        own = {"separator": windows.separator, "window": windows.window, "min_documents": self.min_documents}
        return {"method": "windows", **shared, "scope": scope, **own}

    @property
    def reads(self) -> Sequence[str]:
        return []

    @property
    def explained(self) -> Shown:
        windows, unit = self.windows, self.windows.by
        what = unit if windows.window == 1 else f"runs of {windows.window} {unit}"
        if unit == "paragraphs" and windows.separator != "\n":
            what += f", each up to {windows.separator!r},"
        rows = {
            "normalized by": ", ".join(windows.normalize) or "nothing",
            "left out": windows.gate.described,
            "scope": SCOPES["within-source" if windows.within_source else "all"],
            "counts": f"what occurs twice and is in documents: {self.min_documents:,} or more",
            "marked": "each occurrence but the first" if self.keep.name == "first" else "each occurrence",
            "equal": OF_HASHES,
        }
        return settings(f"{what} that are repeated", rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, self.windows)
        work, memory = stage.work_folder, job.memory
        hashing = HashWindows(work=work, windows=self.windows, reading=job.reading, memory=memory)
        hashed = stage.run("hash", job.tasks(), hashing, scratch=SCRATCH, reads=True)
        references, counted = job.apart(hashed)
        parts = by_range(stage, job, chunks.KEYS, files_of(hashed, "keys"))
        table, keep_first = self._marks, self.keep.name == "first"
        grouping = GroupWindows(
            work=work,
            table=table,
            min_documents=self.min_documents,
            keep_first=keep_first,
            first_new=job.first_new,
            index=job.index,
            memory=memory,
        )
        grouped = stage.run("group", tasks_of(parts), grouping, uses_up=(chunks.KEYS.name,), reads_back=True)
        return Found(
            rows=rows_of_pieces(counted),
            marks=files_of(grouped, "marks"),
            table=table,
            tables=MarkedUnits(
                work=work,
                table=table,
                unit=self.windows.by,
                window=self.windows.window,
                keep_first=keep_first,
                scored=not self.of_exact,
                memory=memory // 4,
            ),
            counted=counted,
            without_key=0,
            references=references,
            made=grouped if job.index else [],
            kept={chunks.KEYS.name: files_of(grouped, "kept")},
            added=[] if self.of_exact else outputs_of(counted, chunks.ROWS),
        )

    @property
    def _marks(self) -> Table:
        """Of exact copies the first stays, and nothing is said of how many there are: new ones change no old row."""
        return chunks.MARKS if self.of_exact else chunks.GROWING


# --- phases ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashWindows:
    """Reads pieces and leaves their units and distinct windows. Called with the pieces and their numbers."""

    work: str
    windows: WindowsOf
    reading: Reading
    memory: int

    def __call__(self, pieces: Numbered) -> TaskResult:
        reader, name = PieceReader(self.reading), f"{pieces[0][0]:06d}"
        with RunWriter(chunks.ROWS, self.work, name) as rows, RunWriter(chunks.KEYS, self.work, name) as keys:
            for number, piece in pieces:
                place = first_place(number)
                for chunk in self._chunks(reader, number, piece):
                    place = chunk.write(rows, keys, place=place)
                rows.end_part()
        return reader.result(rows, keys=keys)

    def _chunks(self, reader: PieceReader, number: int, piece: Piece) -> Iterator[Chunk]:
        chunk = Chunk()
        for _, batch in reader.batches(number, piece):
            chunk.add(batch, self.windows(batch))
            if chunk.size >= self.memory // _BYTES_PER_KEY:
                yield chunk
                chunk = Chunk()
        if chunk.size:
            yield chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWindows:
    """Finds the windows of a range of hashes that occur more than once. Called with (name of the marks, range)."""

    work: str
    table: Table
    min_documents: int
    keep_first: bool
    first_new: int
    memory: int
    index: str = ""

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        sorting = SortedRecords(table=chunks.KEYS, work=self.work, folder=self.index, memory=self.memory // 2)
        keys = sorting(name, partition)
        with RunWriter(self.table, self.work, name, memory=self.memory // 4) as marks:
            for found in marks_of(
                keys.read(),
                min_documents=self.min_documents,
                keep_first=self.keep_first,
                first_new=self.first_new,
            ):
                marks.add(found.select(self.table.schema.names))
        return TaskResult(
            outputs=[*marks.outputs, *keys.outputs],
            payload={"marks": msgspec.to_builtins(marks.file), "kept": msgspec.to_builtins(keys.file)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedUnits:
    """Reads rows of pieces with what is said of their units. Called with (their files by piece, their marks)."""

    work: str
    table: Table
    unit: str
    window: int
    keep_first: bool
    scored: bool
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        cursor = Cursor(self.table, read_sorted(self.table, self.work, marks, memory=self.memory))
        for piece, file in rows.items():
            blocks = read_in_order(chunks.ROWS, self.work, file)
            for chunk in marked_chunks(blocks, cursor, piece=piece, window=self.window, keep_first=self.keep_first):
                columns = {name: chunk.rows[name] for name in ("id", "source", "characters")}
                scores = chunk.documents.astype(np.float64) if self.scored else np.ones(len(chunk.documents))
                found = unit_columns(
                    self.unit,
                    *(chunk.document, chunk.first, chunk.last, scores),
                    counts=chunk.counts,
                    characters=chunk.rows["characters"].to_numpy(),
                )
                yield pa.table(columns | found)
