"""Writing a mix: the kept documents of a piece, and beside them a row that says where each came from.

A record goes through byte for byte unless there is a reason to touch it: its text was edited, it is a further copy
(which gets the id `<id>#2`, `<id>#3`, ...), or it names no id or source: then the id and source that it was judged
under are put in, since the mixed file lies elsewhere and would give it others. Rows files are parquet with the columns
`id`, `shard` (name of the input file), `line` (1-based; parquet: row) and `copy` (0 for the first), one row per written
document, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Piece, Shard
from dolma.data.documents import DocumentWriter, Intake, Reading, concatenate_documents, read_batches
from dolma.data.exchange import Cursor, RunFile, RunWriter, Table, read_sorted, whole_runs
from dolma.data.formats.table import strip_suffixes
from dolma.data.manifest import OutputFile, output_file
from dolma.mixers.join import JoinedRows
from dolma.mixers.judge import Count, Judge, Judged, PieceSpec
from dolma.mixers.records import json_string, with_default, with_field
from dolma.mixers.sampling import Candidates, Cut, document_keys
from dolma.mixers.spans import SpanCounts
from dolma.mixers.waterfall import SAMPLED_OUT
from dolma.runner.ledger import Ledger
from dolma.runner.progress import advance
from dolma.runner.task import TaskResult

DOCUMENTS, ROWS = "documents", "rows"
ROWS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("line", pa.int64()),
        ("copy", pa.int32()),
    ]
)
_ROWS_PER_GROUP = 1 << 17
DECISIONS = Table(
    name="decisions",
    schema=pa.schema([("line", pa.uint64()), ("source", pa.int32()), ("bytes", pa.int64()), ("key", pa.uint64())]),
    key=("line",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a mix lies: `documents/` and `rows/` below `output`; parts of long shards in the work folder."""

    output: str
    work: str
    format: str

    def document_path(self, shard: Shard) -> str:
        """Below `output`: the documents of an input shard."""
        return f"{DOCUMENTS}/{strip_suffixes(shard.name)}{self.format}"

    def rows_path(self, shard: Shard) -> str:
        """Below `output`: the provenance of those documents."""
        return f"{ROWS}/{strip_suffixes(shard.name)}.parquet"

    def place(self, piece: Piece) -> tuple[str, str, str]:
        """Of what a task writes: the file set, and documents and rows below it."""
        if piece.parts == 1:
            return self.output, self.document_path(piece.shard), self.rows_path(piece.shard)
        part = f"parts/{strip_suffixes(piece.shard.name)}.{piece.part:05d}"
        return self.work, f"{part}{self.format}", f"{part}.rows.parquet"


class MixWriter:
    """The documents and rows files of one piece. A context manager; `outputs` afterwards."""

    def __init__(self, layout: Layout, piece: Piece, reading: Reading) -> None:
        self.home, documents_path, rows_path = layout.place(piece)
        self.shard, self.source, self.reading = piece.shard, piece.shard.source, reading
        self._documents = DocumentWriter(streams.join(self.home, documents_path))
        self._rows = RowsWriter(streams.join(self.home, rows_path))

    def __enter__(self) -> MixWriter:
        self._documents.__enter__()
        try:
            self._rows.__enter__()
        except BaseException as error:
            self._documents.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._rows.__exit__(kind, value, trace)
        finally:
            self._documents.__exit__(kind, value, trace)

    def write(self, batch: TextBatch, times: npt.NDArray[np.int64], edited: dict[int, bytes]) -> None:
        """Write each document of the batch as often as `times` says; int64, shape `(n_docs,)`."""
        written = np.repeat(np.arange(len(batch)), times)
        copies = _counted(written)
        ids = [_copy_id(batch.ids[i], copy) for i, copy in zip(written.tolist(), copies.tolist(), strict=True)]
        self._documents.write(self._records(batch, times, edited))
        self._rows.write(ids, self.shard.name, batch.lines[written], copies)

    def _records(self, batch: TextBatch, times: npt.NDArray[np.int64], edited: dict[int, bytes]) -> Iterator[bytes]:
        records = batch.drain()
        for i in np.flatnonzero(times).tolist():
            record = self._record(batch, records, i, edited)
            yield record
            for copy in range(1, int(times[i])):
                yield with_field(record, self.reading.id, _copy_id(batch.ids[i], copy))

    def _record(self, batch: TextBatch, records: list[bytes], i: int, edited: dict[int, bytes]) -> bytes:
        record, records[i] = records[i], b""
        if i in edited:
            record = with_field(record, self.reading.text, json_string(edited.pop(i)))
        if batch.sources[i] == self.source:
            record = with_default(record, self.reading.source, batch.sources[i])
        if batch.ids[i] == f"{self.shard.name}:{batch.lines[i]}":
            record = with_default(record, self.reading.id, batch.ids[i])
        return record

    @property
    def outputs(self) -> list[OutputFile]:
        """The two files."""
        written = (self._documents.written, self._rows.written)
        return [output_file(self.home, one, rows=self._rows.rows) for one in written if one is not None]


def _copy_id(id: str, copy: int) -> str:
    return id if copy == 0 else f"{id}#{copy + 1}"


def _counted(repeated: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """0, 1, ... within each run of equal numbers."""
    starts = np.flatnonzero(np.diff(repeated, prepend=-1))
    lengths = np.diff(starts, append=len(repeated))
    return (np.arange(len(repeated)) - np.repeat(starts, lengths)).astype(np.int32)


class RowsWriter:
    """Writes one rows file. A context manager."""

    def __init__(self, path: str) -> None:
        self.path, self.rows = path, 0
        self.written: streams.Written | None = None
        self._raw = streams.RawOutput(path)
        self._held: list[pa.Table] = []

    def __enter__(self) -> RowsWriter:
        with ExitStack() as opening:
            opening.enter_context(self._raw)
            self._writer = pq.ParquetWriter(self._raw, ROWS_SCHEMA, compression="zstd", compression_level=1)
            opening.pop_all()
        return self

    def write(
        self, ids: Sequence[str], shard: str, lines: npt.NDArray[np.int64], copies: npt.NDArray[np.int32]
    ) -> None:
        """Append one row per written document."""
        shards = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(ids), np.int32)), pa.array([shard]))
        columns = [pa.array(ids, pa.string()), shards, pa.array(lines, pa.int64()), pa.array(copies, pa.int32())]
        self.write_table(pa.Table.from_arrays(columns, schema=ROWS_SCHEMA))

    def write_table(self, table: pa.Table) -> None:
        """Append rows."""
        self.rows += len(table)
        self._held.append(table)
        if sum(map(len, self._held)) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._held), row_group_size=_ROWS_PER_GROUP)
        self._held = []

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._raw.abandoned = True
            self._writer.close()
            self._raw.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._raw)
            if any(map(len, self._held)):
                self._flush()
            self._writer.close()
        self.written = self._raw.written


# --- the works -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPiece:
    """Judges and writes in one pass, when no source is sampled. Called with the piece."""

    judge: Judge
    layout: Layout

    def __call__(self, spec: PieceSpec) -> TaskResult:
        count = Count.of(self.judge)
        with MixWriter(self.layout, spec.piece, self.judge.reading) as writer:
            for judged in self.judge.judge(spec, count, records=True):
                writer.write(judged.batch, judged.kept.astype(np.int64), judged.edited)
                del judged
        ledger = count.ledger(spec.piece, keep=True)
        return TaskResult(outputs=writer.outputs, ledger=ledger, payload=count.payload())


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidePiece:
    """Judges without writing: leaves line, source, bytes and sampling key of each kept document."""

    judge: Judge
    layout: Layout
    seed: int
    memory: int

    def __call__(self, spec: PieceSpec) -> TaskResult:
        count = Count.of(self.judge)
        sources: dict[str, int] = {}
        with RunWriter(DECISIONS, self.layout.work, f"{spec.index:06d}", memory=self.memory // 2) as out:
            for judged in self.judge.judge(spec, count, records=False):
                out.add(self._decisions(judged, spec.piece, sources))
                del judged
        payload = {**count.payload(), "sources": list(sources), "decisions": msgspec.to_builtins(out.file)}
        return TaskResult(outputs=out.outputs, ledger=count.ledger(spec.piece, keep=False), payload=payload)

    def _decisions(self, judged: Judged, piece: Piece, sources: dict[str, int]) -> pa.RecordBatch:
        batch, kept = judged.batch, np.flatnonzero(judged.kept)
        names, lines = [batch.sources[i] for i in kept.tolist()], batch.lines[kept]
        keys = document_keys(
            [batch.ids[i] for i in kept.tolist()], names, lines.tolist(), shard=piece.shard.name, seed=self.seed
        )
        codes = np.array([sources.setdefault(name, len(sources)) for name in names], dtype=np.int32)
        columns = (lines.astype(np.uint64), codes, judged.n_bytes[kept], keys)
        return pa.RecordBatch.from_arrays(list(map(pa.array, columns)), schema=DECISIONS.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Where the decisions on a piece lie; `codes[i]` is the number that its `i`-th source has."""

    shard: str
    file: RunFile
    codes: tuple[int, ...]

    def read(self, work: str, *, memory: int) -> Iterator[pa.RecordBatch]:
        """The decisions, by line."""
        return read_sorted(DECISIONS, work, whole_runs([self.file]), memory=memory)

    def candidates(self, records: pa.RecordBatch) -> Candidates:
        """The documents that some decisions are about."""
        return Candidates(
            shard=self.shard,
            lines=records["line"].to_numpy().astype(np.int64),
            sources=np.array([*self.codes, 0], dtype=np.int32)[records["source"].to_numpy()],
            n_bytes=records["bytes"].to_numpy(),
            keys=records["key"].to_numpy(),
        )


def times_of(found: Candidates, cuts: Sequence[Cut]) -> npt.NDArray[np.int64]:
    """How often each kept document of a piece is written; int64, shape `(n_docs,)`."""
    times = np.zeros(len(found.keys), dtype=np.int64)
    for i, cut in enumerate(cuts):
        mine = found.sources == i
        times[mine] = cut.times(found.keys[mine], found.lines[mine], shard=found.shard)
    return times


def count_sampled(ledger: Ledger, found: Candidates, times: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    """Enter kept documents as written, repeated or sampled out."""
    for i in np.unique(found.sources).tolist():
        mine, name = found.sources == i, names[i]
        chosen, n_bytes = mine & (times > 0), found.n_bytes
        out = mine & (times == 0)
        ledger.keep(name, documents=int(chosen.sum()), bytes=int(n_bytes[chosen].sum()))
        more = times[chosen] - 1
        if more.any():
            ledger.repeat(name, documents=int(more.sum()), bytes=int((more * n_bytes[chosen]).sum()))
        if out.any():
            ledger.drop(name, SAMPLED_OUT, documents=int(out.sum()), bytes=int(n_bytes[out].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePiece:
    """Writes what was decided, as often as the cuts say. Called with (piece, its decisions)."""

    judge: Judge
    layout: Layout
    cuts: tuple[Cut, ...]
    sources: tuple[str, ...]
    memory: int

    def __call__(self, spec: tuple[PieceSpec, Decisions]) -> TaskResult:
        piece_spec, decisions = spec
        ledger = Ledger()
        with MixWriter(self.layout, piece_spec.piece, self.judge.reading) as writer:
            for batch, times, edited in self._batches(piece_spec, decisions, ledger):
                advance(documents=len(batch), bytes=len(batch.utf8))
                writer.write(batch, times, edited)
                del batch, edited
        return TaskResult(outputs=writer.outputs, ledger=ledger)

    def _batches(
        self, spec: PieceSpec, decisions: Decisions, ledger: Ledger
    ) -> Iterator[tuple[TextBatch, npt.NDArray[np.int64], dict[int, bytes]]]:
        # Bad records were counted, and put into quarantine, in the first pass.
        policy = "fail" if self.judge.reading.on_error == "fail" else "skip"
        reading = msgspec.structs.replace(self.judge.reading, on_error=policy, quarantine=None)
        counts = SpanCounts.of(len(self.judge.edits.edits))
        decided = Cursor(DECISIONS, decisions.read(self.layout.work, memory=self.memory // 2))
        with JoinedRows(spec.piece, _span_files(spec, self.judge)) as rows:
            for batch in read_batches(spec.piece, reading, intake=Intake(), records=True):
                found = decisions.candidates(decided.before(int(batch.lines[-1]) + 1))
                times = times_of(found, self.cuts)
                count_sampled(ledger, found, times, self.sources)
                of_batch = np.zeros(len(batch), dtype=np.int64)
                of_batch[np.searchsorted(batch.lines, found.lines)] = times
                edited: dict[int, bytes] = {}
                if self.judge.edits.edits:
                    edited = self.judge.edits.apply(batch, rows.take(batch), chosen=of_batch > 0, counts=counts)
                yield batch, of_batch, edited
                del batch, edited


def _span_files(spec: PieceSpec, judge: Judge) -> list[Any]:
    sets = {name for name, _ in judge.edits.columns}
    return [file for file in spec.files if file.set in sets]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinParts:
    """Makes one documents file and one rows file of the parts of a long shard. Called with its pieces."""

    layout: Layout

    def __call__(self, parts: tuple[Piece, ...]) -> TaskResult:
        work, output, shard = self.layout.work, self.layout.output, parts[0].shard
        places = [self.layout.place(piece) for piece in parts]
        with RowsWriter(streams.join(output, self.layout.rows_path(shard))) as rows:
            for _, _, path in places:
                with streams.local_copy(streams.join(work, path)) as local:
                    rows.write_table(pq.read_table(local, use_threads=False).cast(ROWS_SCHEMA))
        documents = concatenate_documents(
            [streams.join(work, path) for _, path, _ in places], streams.join(output, self.layout.document_path(shard))
        )
        return TaskResult(outputs=[output_file(output, one, rows=rows.rows) for one in (documents, rows.written)])
