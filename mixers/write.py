"""Writing a mix: the kept documents of a piece, a row that says where each came from, and what was decided on all.

A record goes through byte for byte unless there is a reason to touch it: its text was edited, it is a further copy
(which gets the id `<id>#2`, `<id>#3`, ...), or it names no id or source: then the id and source that it was judged
under are put in, since the mixed file lies elsewhere and would give it others. What the recipe changes in fields comes
last (`dolma.mixers.reshape`). Rows files are parquet with the columns
`id`, `shard` (name of the input file), `line` (1-based; parquet: row) and `copy` (0 for the first), one row per written
document, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dolma.data import streams
from dolma.data.arrow_json import json_string
from dolma.data.batch import TextBatch
from dolma.data.dataset import Piece, Shard
from dolma.data.documents import DocumentWriter, Intake, concatenate_documents, read_batches
from dolma.data.exchange import Cursor, RunWriter
from dolma.data.formats.table import strip_suffixes
from dolma.data.manifest import OutputFile, file_there, output_file
from dolma.mixers.arrange import Arrangement, PlacedWriter
from dolma.mixers.decisions import DECIDED, DECISIONS, DECISIONS_SCHEMA, DecidedPiece
from dolma.mixers.holdout import GROUPS, IDS, Grouping, HeldId
from dolma.mixers.join import AttributeFile, JoinedRows
from dolma.mixers.judge import Count, Judge, Judged, PieceSpec
from dolma.mixers.mixture import MIXTURE, Mixture
from dolma.mixers.records import with_default, with_field
from dolma.mixers.rows import ROWS_SCHEMA, RowsWriter
from dolma.mixers.sampling import Candidates, Cut, document_keys, times_of
from dolma.mixers.spans import SpanCounts
from dolma.mixers.strata import Cells, Strata
from dolma.mixers.token_counts import NOT_COUNTED, Calibrating, TokenCounting
from dolma.mixers.waterfall import HELD_OUT, SAMPLED_OUT
from dolma.runner.ledger import Ledger
from dolma.runner.progress import advance
from dolma.runner.task import TaskResult

DOCUMENTS, ROWS, DROPPED, HOLDOUT = "documents", "rows", "dropped", "holdout"
DROPPED_BY = "dropped_by"
"""The field of a dropped document that names the rules, as the ledger does."""


class Place(NamedTuple):
    """Of what a task writes: the file set, and below it documents, rows, decisions, dropped and held-out documents."""

    home: str
    documents: str
    rows: str
    decisions: str
    dropped: str
    holdout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a mix lies: three folders below `output`; parts of long shards in the work folder.

    With `dropped` there is a folder of the documents that rules drop, with `holdout` one of those held out. With an
    arrangement documents and their rows go into other files, after they were placed in the work folder.
    """

    output: str
    work: str
    format: str
    dropped: bool = False
    holdout: bool = False
    arrangement: Arrangement | None = None

    def document_path(self, shard: Shard) -> str:
        """Below `output`: the documents of an input shard."""
        return f"{DOCUMENTS}/{strip_suffixes(shard.name)}{self.format}"

    def rows_path(self, shard: Shard) -> str:
        """Below `output`: the provenance of those documents."""
        return f"{ROWS}/{strip_suffixes(shard.name)}.parquet"

    def decisions_path(self, shard: Shard) -> str:
        """Below `output`: what was decided on the documents of an input shard."""
        return f"{DECISIONS}/{strip_suffixes(shard.name)}.parquet"

    def dropped_path(self, shard: Shard) -> str:
        """Below `output`: the documents of an input shard that rules drop."""
        return f"{DROPPED}/{strip_suffixes(shard.name)}{self.format}"

    def holdout_path(self, shard: Shard) -> str:
        """Below `output`: the documents of an input shard that are held out."""
        return f"{HOLDOUT}/{strip_suffixes(shard.name)}{self.format}"

    def place(self, piece: Piece) -> Place:
        """Where a task writes."""
        shard = piece.shard
        if piece.parts == 1:
            paths = (self.document_path, self.rows_path, self.decisions_path, self.dropped_path, self.holdout_path)
            return Place(self.output, *(path(shard) for path in paths))
        part = f"parts/{strip_suffixes(shard.name)}.{piece.part:05d}"
        rows, decisions = f"{part}.rows.parquet", f"{part}.decisions.parquet"
        beside = (f"{part}.{folder}{self.format}" for folder in (DROPPED, HOLDOUT))
        return Place(self.work, f"{part}{self.format}", rows, decisions, *beside)


class MixWriter:
    """What is written of one piece: see `Place`. A context manager; `outputs` and `payload` afterwards."""

    def __init__(self, layout: Layout, spec: PieceSpec, judge: Judge) -> None:
        place = layout.place(spec.piece)
        self.home, self.shard, self.judge = place.home, spec.piece.shard, judge
        self._records: ShardWriter | PlacedWriter
        if layout.arrangement is None:
            self._records = ShardWriter(place)
        else:
            self._records = PlacedWriter(layout.work, layout.arrangement, piece=spec.index)
        self._decisions = RowsWriter(streams.join(self.home, place.decisions), DECISIONS_SCHEMA)
        self._dropped = DocumentWriter(streams.join(self.home, place.dropped)) if layout.dropped else None
        self._holdout = DocumentWriter(streams.join(self.home, place.holdout)) if layout.holdout else None
        self._n_dropped = self._n_held = 0
        self._open = ExitStack()

    def __enter__(self) -> MixWriter:
        with ExitStack() as opening:
            for file in (self._records, self._decisions):
                opening.enter_context(file)
            for beside in filter(None, (self._dropped, self._holdout)):
                opening.enter_context(beside)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, value, trace)

    def write(self, judged: Judged, times: npt.NDArray[np.int64]) -> None:
        """Write each document of the batch as often as `times` says, and what was decided; int64, `(n_docs,)`."""
        batch = judged.batch
        written = np.repeat(np.arange(len(batch)), times)
        copies = _counted(written)
        ids = [_copy_id(batch.ids[i], copy) for i, copy in zip(written.tolist(), copies.tolist(), strict=True)]
        self._decisions.write(judged.decision.rows(batch, times, self.judge.labels))
        if self._dropped is not None:
            self._dropped.write(self._dropped_records(judged))
            self._n_dropped += int((~judged.decision.kept).sum())
        rows, records = _rows(ids, self.shard.name, batch.lines[written], copies), batch.drain()
        held = judged.decision.held_out
        if self._holdout is not None and held is not None:
            self._holdout.write(self._written(judged, records, held.astype(np.int64)))
            self._n_held += int(held.sum())
        self._records.write(self._written(judged, records, times), rows, judged.decision.n_bytes[written])

    def _written(self, judged: Judged, records: list[bytes], times: npt.NDArray[np.int64]) -> Iterator[bytes]:
        batch, reshape = judged.batch, self.judge.reshape
        for i in np.flatnonzero(times).tolist():
            record = self._record(batch, records, i, judged.edited)
            yield reshape.applied(record, judged.copied, batch, i)
            for copy in range(1, int(times[i])):
                named = with_field(record, self.judge.reading.id, _copy_id(batch.ids[i], copy))
                yield reshape.applied(named, judged.copied, batch, i)

    def _dropped_records(self, judged: Judged) -> Iterator[bytes]:
        batch, decision = judged.batch, judged.decision
        assert batch.records is not None
        for i in np.flatnonzero(~decision.kept).tolist():
            rules = tuple(self.judge.labels[rule] for rule in np.flatnonzero(decision.fired[:, i]).tolist())
            yield with_field(self._record(batch, batch.records, i, {}), DROPPED_BY, rules)

    def _record(self, batch: TextBatch, records: list[bytes], i: int, edited: dict[int, bytes]) -> bytes:
        record, records[i] = records[i], b""
        if i in edited:
            record = with_field(record, self.judge.reading.text, json_string(edited.pop(i)))
        if batch.sources[i] == self.shard.source:
            record = with_default(record, self.judge.reading.source, batch.sources[i])
        if batch.ids[i] == f"{self.shard.name}:{batch.lines[i]}":
            record = with_default(record, self.judge.reading.id, batch.ids[i])
        return record

    @property
    def outputs(self) -> list[OutputFile]:
        """All files."""
        files = (
            (self._decisions, self._decisions.rows),
            (self._dropped, self._n_dropped),
            (self._holdout, self._n_held),
        )
        made = [output_file(self.home, file.written, rows=rows) for file, rows in files if file and file.written]
        return [*self._records.outputs, *made]

    @property
    def payload(self) -> Mapping[str, Any]:
        """What later phases need."""
        return self._records.payload


class ShardWriter:
    """The documents of one piece, and their rows. A context manager; `outputs` afterwards."""

    payload: Mapping[str, Any] = {}

    def __init__(self, place: Place) -> None:
        self._home = place.home
        self._documents = DocumentWriter(streams.join(place.home, place.documents))
        self._rows = RowsWriter(streams.join(place.home, place.rows), ROWS_SCHEMA)

    def __enter__(self) -> ShardWriter:
        with ExitStack() as opening:
            opening.enter_context(self._documents)
            opening.enter_context(self._rows)
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._open.__exit__(kind, value, trace)

    def write(self, records: Iterable[bytes], rows: pa.Table, n_bytes: npt.NDArray[np.int64]) -> None:
        """Append records, each of which has one of the rows."""
        self._documents.write(records)
        self._rows.write(rows)

    @property
    def outputs(self) -> list[OutputFile]:
        """The two files."""
        return [output_file(self._home, file.written, rows=self._rows.rows) for file in (self._documents, self._rows)]


def _copy_id(id: str, copy: int) -> str:
    return id if copy == 0 else f"{id}#{copy + 1}"


def _counted(repeated: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """0, 1, ... within each run of equal numbers."""
    starts = np.flatnonzero(np.diff(repeated, prepend=-1))
    lengths = np.diff(starts, append=len(repeated))
    return (np.arange(len(repeated)) - np.repeat(starts, lengths)).astype(np.int32)


def _rows(ids: Sequence[str], shard: str, lines: npt.NDArray[np.int64], copies: npt.NDArray[np.int32]) -> pa.Table:
    shards = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(ids), np.int32)), pa.array([shard]))
    columns = [pa.array(ids, pa.string()), shards, pa.array(lines, pa.int64()), pa.array(copies, pa.int32())]
    return pa.Table.from_arrays(columns, schema=ROWS_SCHEMA)


# --- the works -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MixPiece:
    """Judges and writes in one pass, when no source is sampled. Called with the piece."""

    judge: Judge
    layout: Layout

    def __call__(self, spec: PieceSpec) -> TaskResult:
        count = Count.of(self.judge)
        with MixWriter(self.layout, spec, self.judge) as writer:
            for judged in self.judge.judge(spec, count, records=True):
                writer.write(judged, judged.decision.kept.astype(np.int64))
                del judged
        ledger = count.ledger(spec.piece, keep=True)
        return TaskResult(outputs=writer.outputs, ledger=ledger, payload={**count.payload(), **writer.payload})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidePiece:
    """Judges without writing: leaves what was decided on each document, and the key by which it is drawn."""

    judge: Judge
    layout: Layout
    seed: int
    memory: int
    counting: TokenCounting | None
    grouping: Grouping | None
    strata: Strata | None

    def __call__(self, spec: PieceSpec) -> TaskResult:
        count, calibrating, cells = Count.of(self.judge), Calibrating(), Cells(self.strata)
        with ExitStack() as opened:
            out, groups = (
                opened.enter_context(
                    RunWriter(table, self.layout.work, f"{spec.index:06d}", memory=self.memory // part)
                )
                for table, part in ((DECIDED, 2), (GROUPS, 8))
            )
            for judged in self.judge.judge(spec, count, records=False):
                out.add(self._decided(judged, spec.piece, cells, calibrating, groups))
                del judged
        payload = {
            **count.payload(),
            "cells": list(cells.names),
            "amounts": msgspec.to_builtins(calibrating.of(len(cells.names))),
            "decided": msgspec.to_builtins(out.file),
            "groups": msgspec.to_builtins(groups.file),
        }
        return TaskResult(
            outputs=[*out.outputs, *groups.outputs], ledger=count.ledger(spec.piece, keep=False), payload=payload
        )

    def _decided(
        self, judged: Judged, piece: Piece, cells: Cells, calibrating: Calibrating, groups: RunWriter
    ) -> pa.RecordBatch:
        batch, decision = judged.batch, judged.decision
        draws = document_keys(batch.ids, batch.sources, batch.lines.tolist(), shard=piece.shard.name, seed=self.seed)
        codes = cells.codes(batch, judged.arrays, decision.kept)
        n_tokens = np.full(len(batch), NOT_COUNTED, dtype=np.int64)
        if self.counting is not None:
            n_tokens = self.counting.count(
                batch,
                judged.edited,
                kept=decision.kept,
                arrays=judged.arrays,
                draws=draws,
                reading=self.judge.reading,
            )
        calibrating.add(codes, decision.kept, decision.n_bytes, n_tokens)
        marks = None if self.grouping is None else self.grouping.marks(batch, judged.arrays)
        if marks is not None and marks.edges is not None:
            groups.add(marks.edges)
        return replace(decision, draws=draws, n_tokens=n_tokens, marks=marks).records(batch.lines, codes)


class Written:
    """What is written of each source, in tokens, and of each quota. JSON-able in `payload`."""

    def __init__(self, n_quotas: int) -> None:
        self.tokens = Counter[str]()
        self.of_quotas = np.zeros((3, n_quotas), dtype=np.int64)

    def add(self, found: Candidates, times: npt.NDArray[np.int64]) -> None:
        """Count documents, each written as often as `times` says."""
        for sums, amounts in zip(
            self.of_quotas, (np.ones_like(found.n_bytes), found.n_bytes, found.n_tokens), strict=True
        ):
            np.add.at(sums, found.wanted, times * amounts)

    @property
    def payload(self) -> dict[str, Any]:
        """The tokens of each source; and documents, bytes and tokens of each quota."""
        return {"tokens": dict(self.tokens), "quotas": self.of_quotas.T.tolist()}


def count_sampled(
    ledger: Ledger, written: Written, found: Candidates, times: npt.NDArray[np.int64], names: Sequence[str]
) -> None:
    """Enter kept documents as written, repeated or sampled out."""
    written.add(found, times)
    for i in np.unique(found.sources).tolist():
        mine, name = found.sources == i, names[i]
        chosen, n_bytes = mine & (times > 0), found.n_bytes
        written.tokens[name] += int((times * found.n_tokens)[chosen].sum())
        out = mine & (times == 0)
        ledger.keep(name, documents=int(chosen.sum()), bytes=int(n_bytes[chosen].sum()))
        more = times[chosen] - 1
        if more.any():
            ledger.repeat(name, documents=int(more.sum()), bytes=int((more * n_bytes[chosen]).sum()))
        if out.any():
            ledger.drop(name, SAMPLED_OUT, documents=int(out.sum()), bytes=int(n_bytes[out].sum()))


def count_held(ledger: Ledger, found: Candidates, names: Sequence[str]) -> None:
    """Enter documents as held out."""
    for i in np.unique(found.sources).tolist():
        mine = found.sources == i
        ledger.drop(names[i], HELD_OUT, documents=int(mine.sum()), bytes=int(found.n_bytes[mine].sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePiece:
    """Writes what was decided, as often as the cuts say. Called with (piece, what was decided on it)."""

    judge: Judge
    layout: Layout
    cuts: tuple[Cut, ...]
    sources: tuple[str, ...]
    memory: int

    def __call__(self, spec: tuple[PieceSpec, DecidedPiece]) -> TaskResult:
        piece_spec, decided = spec
        ledger, written = Ledger(), Written(len(self.cuts))
        with MixWriter(self.layout, piece_spec, self.judge) as writer:
            self._write(piece_spec, decided, ledger, written, writer)
        return TaskResult(outputs=writer.outputs, ledger=ledger, payload={**written.payload, **writer.payload})

    def _write(
        self, spec: PieceSpec, decided: DecidedPiece, ledger: Ledger, written: Written, writer: MixWriter
    ) -> None:
        # Bad records were counted, and put into quarantine, in the first pass.
        policy = "fail" if self.judge.reading.on_error == "fail" else "skip"
        reading = msgspec.structs.replace(self.judge.reading, on_error=policy, quarantine=None)
        counts = SpanCounts.of(len(self.judge.edits.edits))
        cursor = Cursor(DECIDED, decided.read(self.layout.work, memory=self.memory // 2))
        with JoinedRows(spec.piece, _files_to_write(spec, self.judge)) as rows:
            for batch in read_batches(spec.piece, reading, intake=Intake(), records=True):
                records = cursor.before(int(batch.lines[-1]) + 1)
                found = decided.candidates(records)
                times = times_of(found, self.cuts)
                count_sampled(ledger, written, found, times, self.sources)
                count_held(ledger, decided.held(records), self.sources)
                held = decided.held_out(records)
                of_batch = np.zeros(len(batch), dtype=np.int64)
                of_batch[np.searchsorted(batch.lines, found.lines)] = times
                arrays = rows.take(batch)
                edited, _ = self.judge.edits.apply(batch, arrays, chosen=held | (of_batch > 0), counts=counts)
                advance(documents=len(batch), bytes=len(batch.utf8))
                judged = Judged(
                    batch=batch,
                    decision=replace(decided.decision(records), held_out=held),
                    edited=edited,
                    copied=self.judge.reshape.values(arrays),
                    arrays=arrays,
                )
                del batch, edited, arrays
                writer.write(judged, of_batch)
                del judged


def _files_to_write(spec: PieceSpec, judge: Judge) -> list[AttributeFile]:
    sets = {name for name, _ in judge.edits.columns} | judge.reshape.sets
    return [file for file in spec.files if file.set in sets]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMixture:
    """Writes what was asked of each source and what it gave, beside the documents. Called with the mixture."""

    output: str

    def __call__(self, mixture: Mixture) -> TaskResult:
        content = msgspec.json.format(msgspec.json.encode(mixture)) + b"\n"
        streams.write_bytes(streams.join(self.output, MIXTURE), content)
        return TaskResult(outputs=[file_there(self.output, MIXTURE)])


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteIds:
    """Writes the ids of the documents that are held out. Called with the paths of all decisions, below the output."""

    output: str

    def __call__(self, paths: tuple[str, ...]) -> TaskResult:
        with streams.open_output(streams.join(self.output, IDS)) as out:
            for path in paths:
                with streams.local_copy(streams.join(self.output, path)) as local, pq.ParquetFile(local) as file:
                    for batch in file.iter_batches(columns=["id", "held_out"]):
                        held = batch.filter(batch["held_out"])["id"].to_pylist()
                        out.write(b"".join(msgspec.json.encode(HeldId(id)) + b"\n" for id in held))
        return TaskResult(outputs=[file_there(self.output, IDS)])


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinParts:
    """Makes one file each of what was written of a long shard's parts. Called with its pieces."""

    layout: Layout

    def __call__(self, parts: tuple[Piece, ...]) -> TaskResult:
        work, output, shard = self.layout.work, self.layout.output, parts[0].shard
        places = [self.layout.place(piece) for piece in parts]
        decisions = _joined(work, [place.decisions for place in places], output, self.layout.decisions_path(shard))
        joined = [decisions]
        if self.layout.arrangement is None:
            rows = _joined(work, [place.rows for place in places], output, self.layout.rows_path(shard))
            documents = concatenate_documents(
                [streams.join(work, place.documents) for place in places],
                streams.join(output, self.layout.document_path(shard)),
            )
            joined += [output_file(output, documents, rows=rows.rows), rows]
        if self.layout.dropped:
            dropped = concatenate_documents(
                [streams.join(work, place.dropped) for place in places],
                streams.join(output, self.layout.dropped_path(shard)),
            )
            joined.append(output_file(output, dropped, rows=self._count(decisions, "kept", is_=False)))
        if self.layout.holdout:
            held = concatenate_documents(
                [streams.join(work, place.holdout) for place in places],
                streams.join(output, self.layout.holdout_path(shard)),
            )
            joined.append(output_file(output, held, rows=self._count(decisions, "held_out", is_=True)))
        return TaskResult(outputs=joined)

    def _count(self, decisions: OutputFile, column: str, *, is_: bool) -> int:
        with streams.local_copy(streams.join(decisions.set, decisions.path)) as path:
            found = pq.read_table(path, columns=[column])
        return int(pc.sum(pc.equal(found[column], is_)).as_py() or 0)


def _joined(work: str, parts: Sequence[str], output: str, path: str) -> OutputFile:
    """One file of rows that were written in parts."""
    with ExitStack() as opened:
        files = [
            pq.ParquetFile(opened.enter_context(streams.local_copy(streams.join(work, part))), memory_map=False)
            for part in parts
        ]
        with RowsWriter(streams.join(output, path), files[0].schema_arrow) as rows:
            for file in files:
                with file:
                    for group in range(file.num_row_groups):
                        rows.write(file.read_row_group(group, use_threads=False))
    return output_file(output, rows.written, rows=rows.rows)
