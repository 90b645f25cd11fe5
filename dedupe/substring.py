"""Repeated text: stretches of at least so many tokens or bytes that other documents have, too, byte for byte.

    seeds     piece -> a row per document; `seeds`, the hash by which equal windows meet (`dolma.kernels.substrings`)
    repeats   range of seeds -> `repeats`: those that occur more than once
    windows   piece again -> `windows`: the 128-bit hash of each window whose seed does
    group     range of hashes -> `marks`: the windows that are repeated
    write     shard -> its attribute file: windows that touch are one span

A stretch is repeated if and only if each window of it is, so the answer is exact, but for two unequal windows with one
hash. Which windows there are follows from a document alone, so the answer depends on nothing else.

Disk holds 16 bytes for each seed, about 0.3 bytes for each byte of text where windows are of 50 tokens, and up to 64
bytes for each window whose seed is repeated, in the stage's work folder, until the stage ends.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, Output, Spans, spans_column
from dolma.data.documents import Reading
from dolma.data.exchange import Cursor, Partition, RunFile, RunWriter, Table, joined, read_in_order, read_sorted
from dolma.dedupers import clusters
from dolma.dedupers.clusters import ROWS, first_place
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.method import (
    OF_HASHES,
    SCOPES,
    Found,
    Job,
    Numbered,
    PieceReader,
    files_of,
    ranges_of,
    rows_of_pieces,
    settings,
    tasks_of,
)
from dolma.kernels import substrings
from dolma.kernels.hashing import hash128_spans
from dolma.kernels.positions import positions_of
from dolma.kernels.substrings import Seeds, Tokens
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import TaskResult

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

OUTPUTS: dict[str, Output] = {
    "spans": Spans("repeated text", range="1"),
    "fraction": DocFloat("share of the document's code points in such spans; 0 for an empty text", range="0-1"),
}
TOKENS = 50
SEEDS = Table(name="seeds", schema=pa.schema([("seed", pa.uint64()), ("place", pa.uint64())]), key=("seed",))
REPEATS = Table(name="repeats", schema=pa.schema([("place", pa.uint64())]), key=("place",))
_SPAN = [
    ("place", pa.uint64()),  # of the document
    ("stretch", pa.uint64()),  # of its whole characters: the first code point, times 2^32, and how many there are
    ("head", pa.uint32()),  # code points before the first whole word or line, and behind the last one
    ("tail", pa.uint32()),
]
WINDOWS = Table(
    name="windows", schema=pa.schema([("high", pa.uint64()), ("low", pa.uint64()), *_SPAN]), key=("high", "low")
)
MARKS = Table(name="marks", schema=pa.schema(_SPAN), key=("place", "stretch"))
SPANS = Table(
    name="spans",
    schema=pa.schema([("place", pa.uint64()), ("first", pa.int64()), ("last", pa.int64())]),
    key=("place",),
)
SCRATCH = 0.1
"""Bytes of seeds for each byte of input, at the least."""
_PART_BYTES = 1 << 18  # of text that is looked at together: what fits a processor's cache
_WINDOWS_AT_ONCE = 1 << 15


# --- what is compared ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some documents of a batch, their tokens, if windows are of tokens, and the seeds of their windows.

    `document` is the number of the first one in the batch.
    """

    document: int
    utf8: npt.NDArray[np.uint8]
    offsets: Ints
    tokens: Tokens | None
    seeds: Seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The function from a batch to its windows, of `size` tokens or bytes. `snap`: "", "words" or "lines".

    `within_documents`: windows of one document are compared, too.
    """

    unit: str
    size: int
    snap: str = ""
    within_source: bool = False
    within_documents: bool = False

    def parts(self, batch: TextBatch) -> Iterator[Part]:
        """The documents of the batch, some at a time, with their seeds."""
        first, salts = 0, clusters.salts(batch)[:, 0] if self.within_source and len(batch) else None
        while first < len(batch):
            begin = batch.offsets[first]
            end = max(first + 1, int(np.searchsorted(batch.offsets, begin + _PART_BYTES, side="right")) - 1)
            utf8, offsets = batch.utf8[begin : batch.offsets[end]], batch.offsets[first : end + 1] - begin
            tokens = substrings.tokens(utf8, offsets) if self.unit == "tokens" else None
            units, index = (utf8, offsets) if tokens is None else (tokens.hashes, tokens.index)
            seeds = substrings.seeds(units, index, size=self.size, apart=self.within_documents)
            if salts is not None:
                seeds = replace(seeds, hashes=seeds.hashes ^ np.repeat(salts[first:end], np.diff(seeds.index)))
            yield Part(document=first, utf8=utf8, offsets=offsets, tokens=tokens, seeds=seeds)
            first = end

    def of(self, batch: TextBatch, part: Part, chosen: Ints, places: Words) -> Iterator[pa.RecordBatch]:
        """The `WINDOWS` of these seeds of a part, some at a time; `places` are those of the batch's documents."""
        first, counts = part.seeds.first[chosen], part.seeds.counts[chosen]
        units = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        salts = clusters.salts(batch) if self.within_source else None
        lie = _Positions(part, self.snap) if len(units) else None
        for at in range(0, len(units), _WINDOWS_AT_ONCE):
            some = units[at : at + _WINDOWS_AT_ONCE]
            starts, ends = some, some + self.size
            if part.tokens is not None:
                starts, ends = part.tokens.starts[some], part.tokens.ends[some + self.size - 1]
            document = np.searchsorted(part.offsets, starts, side="right") - 1
            hashes = hash128_spans(part.utf8, starts, ends)
            if salts is not None:
                hashes ^= salts[part.document + document]
            assert lie is not None
            columns = [hashes[:, 0], hashes[:, 1], places[part.document + document], *lie(starts, ends, document)]
            yield _batch(WINDOWS, columns)


class _Positions:
    """Where byte spans of a part lie in code points, and how far it is to whole words or lines."""

    def __init__(self, part: Part, snap: str) -> None:
        self._leads = np.append(part.utf8 & 0xC0 != 0x80, True)
        self._others = np.flatnonzero(~self._leads)
        self._offsets = part.offsets
        self._starts, self._ends = _borders(part, snap)

    def __call__(self, starts: Ints, ends: Ints, document: Ints) -> list[Ints]:
        """Columns `stretch`, `head` and `tail`."""
        first = self._before(starts)
        last = np.maximum(self._before(ends) - ~self._leads[ends], first)
        head = tail = np.zeros(len(starts), np.int64)
        if self._starts is not None and self._ends is not None:
            head = self._before(self._starts[np.searchsorted(self._starts, starts)]) - first
            tail = last - self._before(self._ends[np.searchsorted(self._ends, ends, side="right") - 1])
        return [(first - self._before(self._offsets[document]) << 32) + last - first, head, tail]

    def _before(self, at: Ints) -> Ints:
        """Code points that begin before each of these bytes."""
        return at - np.searchsorted(self._others, at)


def _borders(part: Part, snap: str) -> tuple[Ints | None, Ints | None]:
    """The bytes at which spans may begin and end, of the whole buffer both; none where they may anywhere."""
    if not snap:
        return None, None
    edges = np.array([0, len(part.utf8)])
    if snap == "words":
        tokens = part.tokens or substrings.tokens(part.utf8, part.offsets)
        return np.append(tokens.starts, edges[1:]), np.append(edges[:1], tokens.ends)
    lines = np.unique(np.concatenate([part.offsets, positions_of(part.utf8, b"\n") + 1]))
    return lines, lines


def _batch(table: Table, columns: Sequence[npt.NDArray[Any]]) -> pa.RecordBatch:
    kinds = [field.type.to_pandas_dtype() for field in table.schema]
    arrays = [pa.array(column.astype(kind, copy=False)) for column, kind in zip(columns, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


# --- the method ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Substring:
    """Text that is repeated. `keep`: "first", or "none", where each occurrence is marked."""

    windows: Windows
    keep: str
    version = 1
    reads: Sequence[str] = ()

    @classmethod
    def of(cls, config: DedupeConfig) -> Substring:
        """The method with these settings."""
        size = config.min_bytes or config.min_tokens or TOKENS
        windows = Windows(
            unit="tokens" if config.min_bytes is None else "bytes",
            size=size,
            snap=config.snap or "",
            within_source=config.scope == "within-source",
            within_documents=bool(config.within_documents),
        )
        return cls(windows=windows, keep=config.keep)

    @property
    def outputs(self) -> Mapping[str, Output]:
        return OUTPUTS

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "method": "substring",
            f"min_{self.windows.unit}": self.windows.size,
            "snap": self.windows.snap,
            "keep": self.keep,
            "within_documents": self.windows.within_documents,
            "scope": "within-source" if self.windows.within_source else "all",
        }

    @property
    def explained(self) -> Shown:
        windows = self.windows
        others = "" if windows.within_documents else " of another document"
        rows = {
            "found": f"each stretch of at least {windows.size:,} {windows.unit}, exactly, and no shorter one",
            "spans": f"hold whole {windows.snap or 'characters'}",
            "scope": SCOPES["within-source" if windows.within_source else "all"],
            "marked": f"each occurrence{'' if self.keep == 'none' else ' but the first'}; it has an equal one{others}",
            "equal": OF_HASHES,
            "disk": f"about 64 bytes for each {windows.size:,} {windows.unit}, and up to 64 for each that is repeated",
        }
        return settings(f"text of at least {windows.size:,} {windows.unit} that is repeated", rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, functools.partial(_warm_up, self.windows))
        work, memory, windows = stage.work_folder, job.memory, self.windows
        seeding = SeedPieces(work=work, windows=windows, reading=job.reading, memory=memory)
        seeded = stage.run("seeds", job.tasks(), seeding, scratch=SCRATCH, reads=True)
        taken = stage.run(
            "windows",
            self._tasks(stage, job, files_of(seeded, "seeds")),
            TakeWindows(work=work, windows=windows, reading=job.reading, memory=memory),
            uses_up=(REPEATS.name,),
        )
        files = files_of(taken, "windows")
        parts = partitioned(stage, WINDOWS, files, ranges_of(files), memory=memory)
        grouping = GroupWindows(
            work=work, every=self.keep == "none", within_documents=windows.within_documents, memory=memory
        )
        grouped = stage.run("group", tasks_of(parts), grouping, uses_up=(WINDOWS.name,))
        references, counted = job.apart(seeded)
        return Found(
            rows=rows_of_pieces(counted),
            marks=files_of(grouped, "marks"),
            table=MARKS,
            tables=RepeatedText(work=work, memory=memory // 4),
            counted=counted,
            without_key=sum(result.payload["without_key"] for result in counted),
            references=references,
            unit="characters",
        )

    def _tasks(self, stage: StageRun, job: Job, seeds: Sequence[RunFile]) -> list[Any]:
        """The tasks that read pieces again: their spec is the pieces, and what is repeated of their seeds."""
        work, memory = stage.work_folder, job.memory
        parts = partitioned(stage, SEEDS, seeds, ranges_of(seeds), memory=memory)
        found = stage.run("repeats", tasks_of(parts), FindRepeats(work=work, memory=memory), uses_up=(SEEDS.name,))
        reading = job.tasks()
        bounds = [first_place(number) for number in (*(task.spec[0][0] for task in reading), len(job.parts))]
        repeats = partitioned(stage, REPEATS, files_of(found, "repeats"), bounds, memory=memory)
        return [
            replace(task, spec=(task.spec, part)) for task, part in zip(reading, repeats, strict=True) if part.n_bytes
        ]


def _warm_up(windows: Windows, batch: TextBatch) -> None:
    windows, places = replace(windows, size=1), clusters.places(0, len(batch))
    for part in windows.parts(batch):
        for _ in windows.of(batch, part, np.arange(len(part.seeds.hashes)), places):
            pass


# --- phases ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPieces:
    """Reads pieces and leaves their rows and seeds. Called with the pieces and their numbers.

    The place of a seed is its number in its piece.
    """

    work: str
    windows: Windows
    reading: Reading
    memory: int

    def __call__(self, pieces: Numbered) -> TaskResult:
        reader, name = PieceReader(self.reading), f"{pieces[0][0]:06d}"
        with (
            RunWriter(ROWS, self.work, name) as rows,
            RunWriter(SEEDS, self.work, name, memory=self.memory) as seeds,
        ):
            for number, piece in pieces:
                place = first_place(number)
                for _, batch in reader.batches(number, piece):
                    for part in self.windows.parts(batch):
                        n = len(part.seeds.hashes)
                        seeds.add(_batch(SEEDS, [part.seeds.hashes, clusters.places(place, n)]))
                        place += n
                        reader.leave_out(int(np.count_nonzero(np.diff(part.seeds.index) == 0)))
                    rows.add(clusters.rows_of(batch))
                rows.end_part()
        return reader.result(rows, seeds=seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRepeats:
    """Finds the seeds that occur more than once. Called with (name, range of seeds)."""

    work: str
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        seeds = read_sorted(SEEDS, self.work, partition, memory=self.memory // 2)
        with RunWriter(REPEATS, self.work, name, memory=self.memory // 4) as repeats:
            for places in repeated(seeds):
                repeats.add(_batch(REPEATS, [places]))
        return TaskResult(outputs=repeats.outputs, payload={"repeats": msgspec.to_builtins(repeats.file)})


def repeated(seeds: Iterable[pa.RecordBatch]) -> Iterator[Words]:
    """The places of the seeds that occur more than once; `SEEDS` come sorted, one seed maybe in many batches."""
    last, last_place, is_told = None, np.zeros(0, np.uint64), True
    for batch in seeds:
        if not len(batch):
            continue
        seed, place = batch["seed"].to_numpy(), batch["place"].to_numpy()
        follows = np.append(seed[:1] == last, seed[1:] == seed[:-1])
        shares = follows | np.append(follows[1:], False)
        if follows[0] and not is_told:
            yield last_place
        yield place[shares]
        last, last_place, is_told = seed[-1], place[-1:], bool(shares[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeWindows:
    """Reads pieces again. Called with (the pieces and their numbers, the places of their seeds that are repeated)."""

    work: str
    windows: Windows
    reading: Reading
    memory: int

    def __call__(self, spec: tuple[Numbered, Partition]) -> TaskResult:
        pieces, partition = spec
        repeats = Cursor(REPEATS, read_sorted(REPEATS, self.work, partition, memory=self.memory // 4))
        reader = PieceReader(self.reading)
        with RunWriter(WINDOWS, self.work, f"{pieces[0][0]:06d}", memory=self.memory // 2) as out:
            for number, piece in pieces:
                place = first_place(number)
                for first, batch in reader.batches(number, piece):
                    places = clusters.places(first, len(batch))
                    for part in self.windows.parts(batch):
                        n = len(part.seeds.hashes)
                        chosen = repeats.before(place + n)["place"].to_numpy() - np.uint64(place)
                        for windows in self.windows.of(batch, part, chosen.astype(np.int64), places):
                            out.add(windows)
                        place += n
        return TaskResult(outputs=out.outputs, payload={"windows": msgspec.to_builtins(out.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWindows:
    """Finds the windows that are repeated. Called with (name of the marks, range of hashes)."""

    work: str
    every: bool
    within_documents: bool
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        windows = read_sorted(WINDOWS, self.work, partition, memory=self.memory // 2)
        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for found in marks_of(windows, every=self.every, within_documents=self.within_documents):
                marks.add(found)
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file)})


def marks_of(windows: Iterable[pa.RecordBatch], *, every: bool, within_documents: bool) -> Iterator[pa.RecordBatch]:
    """The `MARKS` of windows that are repeated: all but those of the first document, or occurrence; or `every` one.

    `WINDOWS` come sorted, equal ones in corpus order. Of a window that goes on in the next batch no more is held than
    its first document has of it.
    """
    held, is_shared = pa.RecordBatch.from_pylist([], schema=WINDOWS.schema), False
    for batch in windows:
        if not len(batch):
            continue
        records = joined([held, batch]) if len(held) else batch
        high, low = WINDOWS.keys(records)
        starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
        sizes = np.diff(np.append(starts, len(records)))
        owner = np.arange(len(records)) if within_documents else records["place"].to_numpy()
        others = owner != np.repeat(owner[starts], sizes)
        shared = np.logical_or.reduceat(others, starts)
        told = int(is_shared)
        shared[0] |= is_shared
        marked = np.repeat(shared, sizes) & (others | every)
        marked[:told] = False
        is_shared = bool(shared[-1])
        last = slice(starts[-1], starts[-1] + 1 if is_shared or not every else len(records))
        yield records.select(MARKS.schema.names).filter(pa.array(marked))
        held = records.take(pa.array(np.arange(len(records))[last]))


# --- write -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """Reads the rows of some pieces with what is repeated of them. Called with (their files by piece, their marks)."""

    work: str
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        cursor = Cursor(SPANS, spans_of_marks(read_sorted(MARKS, self.work, marks, memory=self.memory)))
        for piece, file in rows.items():
            first = first_place(piece)
            for batch in read_in_order(ROWS, self.work, file):
                found = cursor.before(first + len(batch))
                columns = {name: batch[name] for name in batch.schema.names}
                yield pa.table(columns | _columns(found, first, batch["characters"].to_numpy()))
                first += len(batch)


def _columns(spans: pa.RecordBatch, place: int, characters: Ints) -> Columns:
    document = (spans["place"].to_numpy() - np.uint64(place)).astype(np.int64)
    first, last = spans["first"].to_numpy(), spans["last"].to_numpy()
    inside = np.bincount(document, weights=last - first, minlength=len(characters))
    counts = np.bincount(document, minlength=len(characters))
    return {
        "spans": spans_column(counts, first, last, np.ones(len(first))),
        "fraction": pa.array(inside / np.maximum(characters, 1)),
        "n_characters": pa.array(characters),
        "n_duplicates": pa.array(inside.astype(np.int64)),
    }


def spans_of_marks(marks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The `SPANS` of windows, which come by document and start: those that touch are one, which is then snapped."""
    held = pa.RecordBatch.from_pylist([], schema=MARKS.schema)
    for batch in marks:
        records = joined([held, batch])
        if len(records):
            spans, held = _spans(records)
            yield spans
    if len(held):
        yield _spans(held, whole=True)[0]


def _spans(records: pa.RecordBatch, *, whole: bool = False) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The spans of these marks, and a mark for the last one, which may go on and is left out unless `whole`."""
    place = records["place"].to_numpy()
    stretch, head, tail = (records[name].to_numpy().astype(np.int64) for name in MARKS.schema.names[1:])
    start = stretch >> 32
    end = start + (stretch & 0xFFFFFFFF)
    begins = np.append(True, (place[1:] != place[:-1]) | (start[1:] > end[:-1]))
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(records)) - 1
    last = len(firsts) if whole else len(firsts) - 1
    since = start[firsts[-1:]]
    goes_on = [place[-1:], (since << 32) + end[-1:] - since, head[firsts[-1:]], tail[-1:]]
    firsts, lasts = firsts[:last], lasts[:last]
    found = [place[firsts], start[firsts] + head[firsts], end[lasts] - tail[lasts]]
    spans = _batch(SPANS, found)
    return spans.filter(pa.array(found[2] > found[1])), _batch(MARKS, goes_on)
