"""Exact copies: which documents, or which of their paragraphs, the corpus already had.

    hash    piece -> a row per document; `keys`, the hash of what is compared, by hash
    group   range of hashes -> `marks`: what is said of those that are equal to others
    write   shard -> its attribute file

Documents are compared by their text or a field of theirs. Of paragraphs, the first copy in corpus order (shard name,
then line) is kept. Disk holds about 50 bytes per key and the ids, in the stage's work folder, until the stage ends.

Measured on one core of a 2-core cloud machine, 218 MB of mixed text in zst (2026-11-23): by text 1.3 to 1.5 times the
least work there is (decompress and decode), by paragraphs 2.3 to 2.7 times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import DedupeConfig
from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Output, Spans, spans_column
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import Cursor, Partition, RunFile, RunWriter, Table, prefix_bounds, read_in_order, read_sorted
from dolma.data.fields import field_names
from dolma.dedupers import chunks, clusters
from dolma.dedupers.chunks import Chunk, MarkedChunk, marked_chunks, marks_of
from dolma.dedupers.clusters import MARKS, ROWS, MarkedRows, first_place
from dolma.dedupers.keep import Keep
from dolma.dedupers.keys import Gate, KeyOf, Keys, key_of
from dolma.dedupers.method import Count, Found, Job, Tables
from dolma.errors import DataError
from dolma.runner.compiling import compile_by_calling
from dolma.runner.merging import partitioned
from dolma.runner.progress import advance
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult, Work

SCRATCH = 0.005
"""Bytes of keys for each byte of input, at the least."""
PARAGRAPH_OUTPUTS: dict[str, Output] = {
    "spans": Spans("paragraphs, newline included, of which an equal one comes before in the corpus", range="1"),
    "fraction": DocFloat("share of the document's code points in such paragraphs; 0 for an empty text", range="0-1"),
    "n_paragraphs": DocInt("paragraphs that are not blank", unit="paragraphs"),
    "n_duplicates": DocInt("paragraphs of which an equal one comes before in the corpus", unit="paragraphs"),
}
KEYS = Table(
    name="keys",
    schema=pa.schema(
        [
            ("high", pa.uint64()),
            ("low", pa.uint64()),
            ("place", pa.uint64()),
            ("rank", pa.float64()),
            ("id", pa.string()),
            ("source", pa.string()),
        ]
    ),
    key=("high", "low"),
)
_BYTES_PER_KEY = 256  # of a chunk in memory, while it is sorted
_PARTITION_BYTES = 64 << 20  # a task's worth of keys; it streams them
_FIELDS_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Equal texts, fields or paragraphs."""

    by: str
    key: KeyOf
    keep: Keep
    version = 2

    @classmethod
    def of(cls, config: DedupeConfig) -> Exact:
        """The method with these settings.

        Raises:
            ConfigError: `config.by` is no key.
        """
        gate = Gate(skip_empty=config.skip_empty, min_length=config.min_length, min_words=config.min_words)
        return cls(by=config.by, key=key_of(config.by, gate), keep=Keep(config.keep))

    @property
    def outputs(self) -> Mapping[str, Output]:
        return PARAGRAPH_OUTPUTS if self.key.mode == "paragraphs" else clusters.OUTPUTS

    @property
    def parameters(self) -> dict[str, Any]:
        by = ".".join(self.key.field) or self.key.mode
        return {"method": "exact", "by": by, **asdict(self.key.gate), "keep": self.keep.name}

    @property
    def reads(self) -> Sequence[str]:
        return [".".join(field) for field in (self.key.field, self.keep.field) if field]

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, self.key)
        work, memory = stage.work_folder, job.memory
        hashing: Work
        grouping: Work
        if self.key.mode == "paragraphs":
            hashing = HashParagraphs(work=work, key=self.key, reading=job.reading, memory=memory)
            grouping, keys, marks = GroupParagraphs(work=work, memory=memory), chunks.KEYS, chunks.MARKS
        else:
            hashing = HashDocuments(work=work, key=self.key, keep=self.keep, reading=job.reading, memory=memory)
            grouping, keys, marks = GroupDocuments(work=work, keep=self.keep, memory=memory), KEYS, MARKS
        hashed = stage.run("hash", job.tasks(), hashing, scratch=SCRATCH)
        self._check_field(job, hashed)
        files = [_file(result, "keys") for result in hashed]
        n_partitions = 1 + sum(file.index for file in files) // _PARTITION_BYTES
        parts = partitioned(stage, keys, files, prefix_bounds(n_partitions), memory=memory)
        names = [f"{i:06d}-{part.fingerprint}" for i, part in enumerate(parts)]
        tasks = [Task(key=name, size=part.n_bytes, spec=(name, part)) for name, part in zip(names, parts, strict=True)]
        grouped = stage.run("group", tasks, grouping, uses_up=(keys.name,))
        starts = np.cumsum([0, *(result.payload["documents"] for result in hashed)])[:-1]
        tables: Tables = MarkedRows(work=work, starts=tuple(starts.tolist()), memory=memory // 4)
        if self.key.mode == "paragraphs":
            tables = MarkedParagraphs(work=work, memory=memory // 4)
        return Found(
            rows=[_file(result, "rows") for result in hashed],
            marks=[_file(result, "marks") for result in grouped],
            table=marks,
            tables=tables,
            counted=hashed,
            without_key=sum(result.payload["without_key"] for result in hashed),
        )

    def _check_field(self, job: Job, hashed: Sequence[TaskResult]) -> None:
        n_documents = sum(result.payload["documents"] for result in hashed)
        n_without = sum(result.payload["without_key"] for result in hashed)
        if n_documents == 0 or n_without < n_documents:
            return
        fields = sorted({name for result in hashed for name in result.payload["fields"]})
        raise DataError(
            f"no record of the corpus has a value at {self.by!r}\n"
            f"  fields that are there: {', '.join(fields) or 'none'}\n"
            "  set `by` to one of them, to 'text' or to 'paragraphs'",
            file=job.parts[0].shard.path,
        )


class _Hashed:
    """What one hash task counted."""

    def __init__(self) -> None:
        self.documents = self.without = 0
        self.fields: set[str] = set()
        self._count = Count()

    def add(self, batch: TextBatch, keys: Keys) -> None:
        self.documents += len(batch)
        self.without += keys.without
        self._count.add(batch)
        if batch.records is not None and keys.without == len(batch) and len(self.fields) < _FIELDS_LISTED:
            self.fields.update(field_names(batch.records[:20]))
        advance(documents=len(batch), bytes=len(batch.utf8))

    def result(self, piece: Piece, intake: Intake, rows: RunWriter, keys: RunWriter) -> TaskResult:
        return TaskResult(
            outputs=[*rows.outputs, *keys.outputs],
            ledger=self._count.ledger(piece, intake),
            payload={
                "rows": msgspec.to_builtins(rows.file),
                "keys": msgspec.to_builtins(keys.file),
                "documents": self.documents,
                "without_key": self.without,
                "fields": sorted(self.fields),
            },
        )


def _file(result: TaskResult, name: str) -> RunFile:
    return msgspec.convert(result.payload[name], RunFile)


# --- documents -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashDocuments:
    """Reads a piece and leaves its rows and keys. Called with (number of the piece, piece)."""

    work: str
    key: KeyOf
    keep: Keep
    reading: Reading
    memory: int

    def __call__(self, spec: tuple[int, Piece]) -> TaskResult:
        number, piece = spec
        intake, hashed, name = Intake(), _Hashed(), f"{number:06d}"
        with_records = self.key.mode == "field" or bool(self.keep.field)
        with RunWriter(ROWS, self.work, name) as rows, RunWriter(KEYS, self.work, name, memory=self.memory) as keys:
            for batch in read_batches(piece, self.reading, intake=intake, records=with_records):
                found = self.key(batch)
                rows.add(clusters.rows_of(batch))
                at = np.flatnonzero(found.counts)
                keys.add(
                    pa.RecordBatch.from_arrays(
                        [
                            pa.array(found.hashes[:, 0]),
                            pa.array(found.hashes[:, 1]),
                            pa.array(clusters.places(number, hashed.documents, len(batch))[at]),
                            pa.array(self.keep.ranks(batch)[at]),
                            pa.array([batch.ids[i] for i in at.tolist()], pa.string()),
                            pa.array([batch.sources[i] for i in at.tolist()], pa.string()),
                        ],
                        schema=KEYS.schema,
                    )
                )
                hashed.add(batch, found)
        return hashed.result(piece, intake, rows, keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDocuments:
    """Finds the keys of a range of hashes that several documents have. Called with (name of the marks, range)."""

    work: str
    keep: Keep
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec

        def read() -> Iterator[pa.RecordBatch]:
            return read_sorted(KEYS, self.work, partition, memory=self.memory // 2)

        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for found in cluster_marks(read, self.keep):
                marks.add(found)
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file)})


def cluster_marks(read: Callable[[], Iterator[pa.RecordBatch]], keep: Keep) -> Iterator[pa.RecordBatch]:
    """The `MARKS` of the documents whose key others have, too.

    `read` gives the `KEYS`, sorted, equal ones in corpus order. It is called twice, so that one key of all documents
    takes no more memory than others.
    """
    shared = list(_shared_keys(read(), keep))
    numbers = np.array([one.number for one in shared], np.int64)
    for number, records in _numbered(read()):
        at = np.searchsorted(numbers, number)
        at[at == len(numbers)] = 0
        rows = np.flatnonzero(numbers[at] == number) if len(numbers) else np.zeros(0, np.int64)
        if not len(rows):
            continue
        of = [shared[i] for i in at[rows].tolist()]
        place = records["place"].to_numpy()[rows]
        duplicate = [here != one.kept for here, one in zip(place.tolist(), of, strict=True)]
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(place),
                pa.array(duplicate),
                pa.array([one.first for one in of], pa.uint64()),
                pa.array([one.size for one in of], pa.int64()),
                pa.array(
                    [one.kept_id if is_copy else None for is_copy, one in zip(duplicate, of, strict=True)], pa.string()
                ),
                pa.array(
                    [one.kept_source if is_copy else None for is_copy, one in zip(duplicate, of, strict=True)],
                    pa.string(),
                ),
                pa.nulls(len(rows), pa.float64()),
            ],
            schema=MARKS.schema,
        )


@dataclass(slots=True)
class _Key:
    """A key: its number among all, the place of its first document, how many have it, and which of them is kept."""

    number: int
    first: int
    size: int
    rank: float
    kept: int | None
    kept_id: str | None
    kept_source: str | None


def _numbered(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
    """The batches, with the number of each record's key among all keys."""
    n, last = -1, None
    for records in batches:
        high, low = KEYS.keys(records)
        if not len(high):
            continue
        changes = np.append((high[0], low[0]) != last, (high[1:] != high[:-1]) | (low[1:] != low[:-1]))
        number = n + np.cumsum(changes)
        n, last = int(number[-1]), (high[-1], low[-1])
        yield number, records


def _shared_keys(batches: Iterable[pa.RecordBatch], keep: Keep) -> Iterator[_Key]:
    """The keys that several documents have."""
    last: _Key | None = None
    for number, records in _numbered(batches):
        starts = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
        ends = np.append(starts[1:], len(number))
        place, ranks, ids = records["place"].to_numpy(), records["rank"].to_numpy(), records["id"]
        goes_on = last is not None and last.number == number[0]
        alone = ends - starts == 1
        alone[-1] = False
        if goes_on:
            alone[0] = False
        if not goes_on and last is not None and last.size > 1:
            yield last
        for start, end in zip(starts[~alone].tolist(), ends[~alone].tolist(), strict=True):
            best = keep.best(ranks[start:end])
            kept = None if best is None else start + best
            found = _Key(
                number=int(number[start]),
                first=int(place[start]),
                size=end - start,
                rank=0.0 if kept is None else float(ranks[kept]),
                kept=None if kept is None else int(place[kept]),
                kept_id=None if kept is None else ids[kept].as_py(),
                kept_source=None if kept is None else records["source"][kept].as_py(),
            )
            if goes_on and start == 0 and last is not None:
                found.first, found.size = last.first, found.size + last.size
                if keep.best([last.rank, found.rank]) == 0:
                    found.rank, found.kept = last.rank, last.kept
                    found.kept_id, found.kept_source = last.kept_id, last.kept_source
            if end < len(number):
                if found.size > 1:
                    yield found
            else:
                last = found
    if last is not None and last.size > 1:
        yield last


# --- paragraphs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashParagraphs:
    """Reads a piece and leaves its rows and distinct keys. Called with (number of the piece, piece)."""

    work: str
    key: KeyOf
    reading: Reading
    memory: int

    def __call__(self, spec: tuple[int, Piece]) -> TaskResult:
        number, piece = spec
        intake, hashed = Intake(), _Hashed()
        name, place = f"{number:06d}", first_place(number)
        with RunWriter(chunks.ROWS, self.work, name) as rows, RunWriter(chunks.KEYS, self.work, name) as keys:
            for chunk in self._chunks(piece, intake, hashed):
                place = chunk.write(rows, keys, place=place)
        return hashed.result(piece, intake, rows, keys)

    def _chunks(self, piece: Piece, intake: Intake, hashed: _Hashed) -> Iterator[Chunk]:
        chunk = Chunk()
        for batch in read_batches(piece, self.reading, intake=intake):
            keys = self.key(batch)
            hashed.add(batch, keys)
            chunk.add(batch, keys)
            if chunk.size >= self.memory // _BYTES_PER_KEY:
                yield chunk
                chunk = Chunk()
        if chunk.size:
            yield chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupParagraphs:
    """Finds the keys of a range of hashes that occur more than once. Called with (name of the marks, range)."""

    work: str
    memory: int

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        keys = read_sorted(chunks.KEYS, self.work, partition, memory=self.memory // 2)
        with RunWriter(chunks.MARKS, self.work, name, memory=self.memory // 4) as marks:
            for found in marks_of(keys):
                marks.add(found)
        return TaskResult(outputs=marks.outputs, payload={"marks": msgspec.to_builtins(marks.file)})


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedParagraphs:
    """Reads rows of pieces with what is said of their paragraphs. Called with (their files by piece, their marks)."""

    work: str
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        cursor = Cursor(chunks.MARKS, read_sorted(chunks.MARKS, self.work, marks, memory=self.memory))
        for piece, file in rows.items():
            for chunk in marked_chunks(read_in_order(chunks.ROWS, self.work, file), cursor, piece=piece):
                columns = {name: chunk.rows[name] for name in ("id", "source", "characters")}
                yield pa.table(columns | paragraph_columns(chunk))


def paragraph_columns(marked: MarkedChunk) -> Columns:
    """The `PARAGRAPH_OUTPUTS` of a chunk."""
    n_docs = len(marked.rows)
    document = marked.document[marked.duplicate]
    first, last = marked.first[marked.duplicate], marked.last[marked.duplicate]
    n_duplicates = np.bincount(document, minlength=n_docs)
    inside = np.bincount(document, weights=last - first, minlength=n_docs)
    characters = marked.rows["characters"].to_numpy()
    return {
        "spans": spans_column(n_duplicates, first, last, np.ones(len(first))),
        "fraction": pa.array(inside / np.maximum(characters, 1)),
        "n_paragraphs": marked.rows["paragraphs"],
        "n_duplicates": pa.array(n_duplicates),
    }
