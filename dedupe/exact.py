"""Exact copies: which documents the corpus already had. Of paragraphs, `windows` says so.

    hash    piece -> a row per document; `keys`, the hash of what is compared, by hash
    group   range of hashes -> `marks`: what is said of those that are equal to others
    write   shard -> its attribute file

Documents are compared by their text or a field of theirs. Disk holds about 50 bytes per key and the ids, in the
stage's work folder, until the stage ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data.columns import Output
from dolma.data.documents import Reading
from dolma.data.exchange import Partition, RunWriter, Table, joined
from dolma.data.fields import field_names
from dolma.dedupers import clusters
from dolma.dedupers.clusters import MARKS, ROWS, MarkedRows
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.keep import Keep
from dolma.dedupers.keys import Gate, KeyOf, key_of, words_of
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
    starts_of_pieces,
    tasks_of,
)
from dolma.errors import DataError
from dolma.runner.compiling import compile_by_calling
from dolma.runner.report import Table as Shown
from dolma.runner.stage import StageRun
from dolma.runner.task import TaskResult

SCRATCH = 0.005
"""Bytes of keys for each byte of input, at the least."""
KEYS = Table(
    name="keys",
    schema=pa.schema(
        [
            ("high", pa.uint64()),
            ("low", pa.uint64()),
            ("place", pa.uint64()),
            ("rank", pa.float64()),
            ("tier", pa.uint32()),
            ("id", pa.string()),
            ("source", pa.string()),
        ]
    ),
    key=("high", "low"),
)
_FIELDS_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Equal texts or fields."""

    by: str
    key: KeyOf
    keep: Keep
    scope: str = "all"
    version = 2

    @classmethod
    def of(cls, config: DedupeConfig) -> Exact:
        """The method with these settings.

        Raises:
            ConfigError: `config.by` is no key.
        """
        key = key_of(config.by, Gate.of(config), words_of(config))
        key = replace(key, within_source=config.scope == "within-source")
        return cls(by=config.by, key=key, keep=Keep.of(config), scope=config.scope or "all")

    @property
    def outputs(self) -> Mapping[str, Output]:
        return clusters.OUTPUTS

    @property
    def parameters(self) -> dict[str, Any]:
        by = ".".join(self.key.field) or self.key.mode
        return {
            "method": "exact",
            "by": by,
            "normalize": list(self.key.normalize),
            **asdict(self.key.gate),
            **self.keep.parameters,
            "scope": self.scope,
        }

    @property
    def reads(self) -> Sequence[str]:
        return [".".join(field) for field in (self.key.field, self.keep.field) if field]

    @property
    def explained(self) -> Shown:
        of = f"field `{'.'.join(self.key.field)}`" if self.key.field else "text"
        rows = {
            "normalized by": ", ".join(self.key.normalize) or "nothing",
            "left out": self.key.gate.described,
            "scope": SCOPES[self.scope],
            "kept": self.keep.described,
            "equal": OF_HASHES,
        }
        return settings(f"documents whose {of} is equal", rows)

    def find(self, stage: StageRun, job: Job) -> Found:
        compile_by_calling(stage.reporter, self.key)
        work, memory = stage.work_folder, job.memory
        hashing = HashDocuments(
            work=work, key=self.key, keep=self.keep, reading=job.reading, memory=memory, n_references=job.n_references
        )
        hashed = stage.run("hash", job.tasks(), hashing, scratch=SCRATCH, reads=True)
        references, counted = job.apart(hashed)
        self._check_field(job, counted)
        parts = by_range(stage, job, KEYS, files_of(hashed, "keys"))
        grouping = GroupDocuments(
            work=work,
            keep=self.keep,
            across_sources=self.scope == "across-sources",
            first_new=job.first_new,
            index=job.index,
            memory=memory,
        )
        grouped = stage.run("group", tasks_of(parts), grouping, uses_up=(KEYS.name,), reads_back=True)
        return Found(
            rows=rows_of_pieces(counted),
            marks=files_of(grouped, "marks"),
            table=MARKS,
            tables=MarkedRows(work=work, starts=starts_of_pieces(job, hashed), memory=memory // 4),
            counted=counted,
            without_key=sum(result.payload["without_key"] for result in counted),
            references=references,
            made=grouped if job.index else [],
            kept={KEYS.name: files_of(grouped, "kept")},
            added=outputs_of(counted, ROWS),
        )

    def _check_field(self, job: Job, hashed: Sequence[TaskResult]) -> None:
        n_documents = sum(sum(result.payload["documents"]) for result in hashed)
        n_without = sum(result.payload["without_key"] for result in hashed)
        if n_documents == 0 or n_without < n_documents or job.held is not None:
            return
        fields = sorted({name for result in hashed for name in result.payload["fields"]})
        raise DataError(
            f"no record of the corpus has a value at {self.by!r}\n"
            f"  fields that are there: {', '.join(fields) or 'none'}\n"
            "  set `by` to one of them, to 'text' or to 'paragraphs'",
            file=job.parts[job.n_references].shard.path,
        )


# --- documents -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HashDocuments:
    """Reads pieces and leaves their rows and keys. Called with the pieces and their numbers."""

    work: str
    key: KeyOf
    keep: Keep
    reading: Reading
    memory: int
    n_references: int = 0

    def __call__(self, pieces: Numbered) -> TaskResult:
        name, fields = f"{pieces[0][0]:06d}", set[str]()
        reference = pieces[0][0] < self.n_references  # as all of a task are, or none
        reader = PieceReader(self.reading, records=self.key.mode == "field" or bool(self.keep.field))
        with RunWriter(ROWS, self.work, name) as rows, RunWriter(KEYS, self.work, name, memory=self.memory) as keys:
            for number, piece in pieces:
                for place, batch in reader.batches(number, piece):
                    found = self.key(batch)
                    rows.add(clusters.rows_of(batch))
                    at = np.flatnonzero(found.takes_part)
                    keys.add(
                        pa.RecordBatch.from_arrays(
                            [
                                pa.array(found.hashes[:, 0]),
                                pa.array(found.hashes[:, 1]),
                                pa.array(clusters.places(place, len(batch))[at]),
                                pa.array(self.keep.ranks(batch)[at]),
                                pa.array(self.keep.tiers(batch, reference=reference)[at]),
                                pa.array([batch.ids[i] for i in at.tolist()], pa.string()),
                                pa.array([batch.sources[i] for i in at.tolist()], pa.string()),
                            ],
                            schema=KEYS.schema,
                        )
                    )
                    reader.leave_out(found.without)
                    if batch.records is not None and found.without == len(batch) and len(fields) < _FIELDS_LISTED:
                        fields.update(field_names(batch.records[:20]))
                rows.end_part()
        result = reader.result(rows, keys=keys)
        result.payload["fields"] = sorted(fields)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDocuments:
    """Finds the keys of a range of hashes that several documents have. Called with (name of the marks, range)."""

    work: str
    keep: Keep
    memory: int
    across_sources: bool = False
    first_new: int = 0
    index: str = ""

    def __call__(self, spec: tuple[str, Partition]) -> TaskResult:
        name, partition = spec
        keys = SortedRecords(table=KEYS, work=self.work, folder=self.index, memory=self.memory // 2)(name, partition)
        with RunWriter(MARKS, self.work, name, memory=self.memory // 4) as marks:
            for found in cluster_marks(
                keys.read, self.keep, across_sources=self.across_sources, first_new=self.first_new
            ):
                marks.add(found)
        return TaskResult(
            outputs=[*marks.outputs, *keys.outputs],
            payload={"marks": msgspec.to_builtins(marks.file), "kept": msgspec.to_builtins(keys.file)},
        )


def cluster_marks(
    read: Callable[[], Iterator[pa.RecordBatch]], keep: Keep, *, across_sources: bool = False, first_new: int = 0
) -> Iterator[pa.RecordBatch]:
    """The `MARKS` of the documents whose key others have, too; documents from the place `first_new` on are new.

    `read` gives the `KEYS`, sorted, equal ones in corpus order. It is called twice, so that one key of all documents
    takes no more memory than others.
    """
    shared = _shared_keys(read(), keep)
    numbers = shared["number"].to_numpy()
    for number, records in _numbered(read()):
        at = np.searchsorted(numbers, number)
        rows = np.flatnonzero(numbers.take(at, mode="clip") == number) if len(numbers) else at[:0]
        if not len(rows):
            continue
        of = shared.take(pa.array(at[rows]))
        place = records["place"].take(pa.array(rows))
        duplicate = pc.not_equal(place, of["kept"]).fill_null(True)
        if across_sources:
            duplicate = pc.and_(duplicate, pc.not_equal(records["source"].take(pa.array(rows)), of["source"]))
        nothing = pa.nulls(len(rows), pa.string())
        yield pa.RecordBatch.from_arrays(
            [
                place,
                duplicate,
                of["first"],
                of["size"],
                *(pc.if_else(duplicate, of[name], nothing) for name in ("id", "source")),
                pa.nulls(len(rows), pa.float64()),
                pc.greater_equal(of["last"], pa.scalar(first_new, pa.uint64())),
            ],
            schema=MARKS.schema,
        )


_SHARED = pa.schema(
    [
        ("number", pa.int64()),  # of the key, among all
        ("first", pa.uint64()),  # the places of its first and its last document
        ("last", pa.uint64()),
        ("size", pa.int64()),
        ("rank", pa.float64()),  # of the document that is kept: its rank, tier, place, id and source
        ("tier", pa.uint32()),
        ("kept", pa.uint64()),
        ("id", pa.string()),
        ("source", pa.string()),
    ]
)


def _shared_keys(batches: Iterable[pa.RecordBatch], keep: Keep) -> pa.RecordBatch:
    """The keys that several documents have: `_SHARED`, in order."""
    parts = [pa.RecordBatch.from_pylist([], schema=_SHARED)]
    for number, records in _numbered(batches):
        place, ones = records["place"], pa.array(np.ones(len(records), np.int64))
        columns = [
            pa.array(number),
            place,
            place,
            ones,
            *(records[name] for name in ("rank", "tier", "place", "id", "source")),
        ]
        found = _by_key(pa.RecordBatch.from_arrays(columns, schema=_SHARED), keep)
        may_be_shared = found["size"].to_numpy() > 1
        may_be_shared[[0, -1]] = True  # the batches before and after may have these
        parts.append(found.filter(pa.array(may_be_shared)))
    found = _by_key(joined(parts), keep)
    return found.filter(pc.greater(found["size"], 1))


def _by_key(records: pa.RecordBatch, keep: Keep) -> pa.RecordBatch:
    """One record for each key, of records that are sorted by it; `size` is the sum."""
    number = records["number"].to_numpy()
    if not len(number):
        return records
    starts = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    tiers = records["tier"].to_numpy()
    best = keep.best(records["rank"].to_numpy(), tiers, starts)
    of_kept = [records[name].take(pa.array(best, mask=best < 0)) for name in ("rank", "tier", "kept", "id", "source")]
    of_kept[0], of_kept[1] = of_kept[0].fill_null(0.0), pa.array(np.minimum.reduceat(tiers, starts))
    first = records["first"].take(pa.array(starts))
    last = records["last"].take(pa.array(np.append(starts[1:], len(number)) - 1))
    size = np.add.reduceat(records["size"].to_numpy(), starts)
    columns = [pa.array(number[starts]), first, last, pa.array(size), *of_kept]
    return pa.RecordBatch.from_arrays(columns, schema=_SHARED)


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
