"""The documents of a mix in other files than they came in: shuffled, split, merged.

mix, write  a piece -> its records by their place, and the bytes of their texts, in the work folder
arrange     all places and bytes -> the place at which each part begins
parts       a range of places -> one file of documents, and its rows

A place is a uint64. In corpus order it is the number of the piece, then of the record in it; shuffled it is a hash of
seed, shard, line and number of the copy: so the order depends on the corpus and the seed only. Parts have even numbers
of bytes, to within one document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dolma.amounts import count_of
from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.documents import DocumentWriter
from dolma.data.exchange import END_OF_KEYS, Partition, RunFile, RunWriter, Table, joined, read_sorted, whole_runs
from dolma.data.manifest import OutputFile, output_file
from dolma.mixers.rows import ROWS_PER_GROUP, ROWS_SCHEMA, RowsWriter
from dolma.runner.merging import merged, partitioned
from dolma.runner.progress import advance
from dolma.runner.seeds import derive_seed
from dolma.runner.stage import StageRun
from dolma.runner.task import Task, TaskResult

RECORDS = Table(
    name="records",
    schema=pa.schema(
        [
            ("place", pa.uint64()),
            ("id", pa.string()),
            ("shard", pa.string()),
            ("line", pa.int64()),
            ("copy", pa.int32()),
            ("record", pa.binary()),
        ]
    ),
    key=("place",),
)
SIZES = Table(name="sizes", schema=pa.schema([("place", pa.uint64()), ("bytes", pa.int64())]), key=("place",))
SCRATCH = 0.1
"""Bytes of records for each byte of input, at the least."""
_PIECE_BITS = 40  # a piece writes fewer records than two to this power
_ADDED_BYTES = 8 << 20  # of records at a time


def is_arranged(config: MixConfig) -> bool:
    """Whether the documents go into other files than one for each input."""
    return config.shuffle or config.parts is not None or config.part_bytes is not None


def n_parts(config: MixConfig, *, n_shards: int, n_bytes: int) -> int:
    """How many files the documents go into, given the input files and the bytes of all texts that are written."""
    if config.parts is not None:
        return config.parts
    if config.part_bytes is None:
        return n_shards
    return max(1, -(-n_bytes // count_of(config.part_bytes, key="part_bytes")))


def shuffled_places(
    shard: str, lines: npt.NDArray[np.int64], copies: npt.NDArray[np.int32], *, seed: int
) -> npt.NDArray[np.uint64]:
    """The places of some records of a shard in random order; uint64, shape `(n_records,)`."""
    digest, key = xxhash.xxh3_64_intdigest, derive_seed(seed, "mix", "shuffle")
    keys = (
        digest(f"{shard}\0{line}\0{copy}".encode("utf-8", "surrogatepass"), key)
        for line, copy in zip(lines.tolist(), copies.tolist(), strict=True)
    )
    return np.fromiter(keys, dtype=np.uint64, count=len(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """In what order records are placed, and how much memory a task has: by the seed, or as in the corpus."""

    seed: int | None
    memory: int


class PlacedWriter:
    """Leaves the records of a piece, and the bytes of their texts, by their places. A context manager."""

    def __init__(self, work: str, arrangement: Arrangement, *, piece: int) -> None:
        self._seed, self._bytes = arrangement.seed, 0
        self._first = np.uint64(piece) << np.uint64(_PIECE_BITS)
        self._records = RunWriter(RECORDS, work, f"{piece:06d}", memory=arrangement.memory // 2)
        self._sizes = RunWriter(SIZES, work, f"{piece:06d}", memory=arrangement.memory // 8)

    def __enter__(self) -> PlacedWriter:
        with ExitStack() as opening:
            opening.enter_context(self._records)
            opening.enter_context(self._sizes)
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._open.__exit__(kind, value, trace)

    def write(self, records: Iterable[bytes], rows: pa.Table, n_bytes: npt.NDArray[np.int64]) -> None:
        """Append records; each has one of the `rows`, of `ROWS_SCHEMA`, and so many bytes of text."""
        if not len(rows):
            return
        shard = rows["shard"][0].as_py()
        lines, copies = rows["line"].to_numpy(), rows["copy"].to_numpy()
        places = self._first + np.arange(len(rows), dtype=np.uint64)
        self._first += np.uint64(len(rows))
        if self._seed is not None:
            places = shuffled_places(shard, lines, copies, seed=self._seed)
        self._bytes += int(n_bytes.sum())
        self._sizes.add(pa.RecordBatch.from_arrays([pa.array(places), pa.array(n_bytes)], schema=SIZES.schema))
        ids = rows["id"].combine_chunks()
        first = 0
        for some in _by_bytes(records):
            here = slice(first, first + len(some))
            columns = [
                pa.array(places[here]),
                ids[here],
                pa.array([shard] * len(some), pa.string()),
                pa.array(lines[here]),
                pa.array(copies[here]),
                pa.array(some, pa.binary()),
            ]
            self._records.add(pa.RecordBatch.from_arrays(columns, schema=RECORDS.schema))
            first += len(some)

    @property
    def outputs(self) -> list[OutputFile]:
        """The two files, of the work folder."""
        return [*self._records.outputs, *self._sizes.outputs]

    @property
    def payload(self) -> dict[str, Any]:
        """What `arranged` needs of the task."""
        return {
            "records": msgspec.to_builtins(self._records.file),
            "sizes": msgspec.to_builtins(self._sizes.file),
            "bytes": self._bytes,
        }


def _by_bytes(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    n_bytes = 0
    for record in records:
        some.append(record)
        n_bytes += len(record)
        if n_bytes >= _ADDED_BYTES:
            yield some
            some, n_bytes = [], 0
    if some:
        yield some


def arranged(
    stage: StageRun, placed: Sequence[TaskResult], config: MixConfig, *, n_shards: int, output: str, memory: int
) -> list[TaskResult]:
    """Write the records that these tasks have left into as many files as the recipe says."""
    n_bytes = sum(made.payload["bytes"] for made in placed)
    n = n_parts(config, n_shards=n_shards, n_bytes=n_bytes)
    records, sizes = ([msgspec.convert(made.payload[of], RunFile) for made in placed] for of in ("records", "sizes"))
    whole = whole_runs(merged(stage, SIZES, sizes, memory=memory))
    spec = (whole, n, n_bytes)
    task = Task(key=f"{n}-{whole.fingerprint}", size=whole.n_bytes, spec=spec)
    found = stage.plan("arrange", task, FindBounds(work=stage.work_folder, memory=memory), uses_up=(SIZES.name,))
    bounds = [0, *found.payload["bounds"], END_OF_KEYS]
    parts = partitioned(stage, RECORDS, records, bounds, memory=memory)
    tasks = [
        Task(key=f"{number:05d}-{part.fingerprint}", size=part.n_bytes, spec=(number, part))
        for number, part in enumerate(parts)
    ]
    work = WritePart(output=output, work=stage.work_folder, format=config.format, memory=memory)
    return stage.run("parts", tasks, work, uses_up=(RECORDS.name,))


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBounds:
    """Finds the place at which each part but the first begins. Called with (all sizes, parts, bytes of all)."""

    work: str
    memory: int

    def __call__(self, spec: tuple[Partition, int, int]) -> TaskResult:
        partition, n, total = spec
        bounds: list[int] = []
        before = 0
        for batch in read_sorted(SIZES, self.work, partition, memory=self.memory):
            sizes = batch["bytes"].to_numpy()
            begins = before + np.cumsum(sizes) - sizes
            before += int(sizes.sum())
            while len(bounds) < n - 1:
                at = int(np.searchsorted(begins, -(-total * (len(bounds) + 1) // n)))
                if at == len(begins):
                    break
                bounds.append(max(1, batch["place"][at].as_py()))
        return TaskResult(payload={"bounds": bounds + [END_OF_KEYS - 1] * (n - 1 - len(bounds))})


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePart:
    """Writes a file of documents and its rows. Called with (number of the part, its records)."""

    output: str
    work: str
    format: str
    memory: int

    def __call__(self, spec: tuple[int, Partition]) -> TaskResult:
        number, partition = spec
        documents = DocumentWriter(streams.join(self.output, f"documents/part-{number:05d}{self.format}"))
        rows = RowsWriter(streams.join(self.output, f"rows/part-{number:05d}.parquet"), ROWS_SCHEMA)
        held = pa.RecordBatch.from_pylist([], schema=RECORDS.schema).drop_columns(["record"])
        with documents, rows:
            for batch in read_sorted(RECORDS, self.work, partition, memory=self.memory // 2):
                documents.write(record.as_py() for record in batch["record"])
                advance(documents=len(batch), bytes=batch["record"].nbytes)
                held = joined([held, batch.drop_columns(["record"])])
                del batch
                while len(held) >= ROWS_PER_GROUP:
                    rows.write(_rows_of(held.slice(0, ROWS_PER_GROUP)))
                    held = held.slice(ROWS_PER_GROUP)
            rows.write(_rows_of(held))
        written = [output_file(self.output, file.written, rows=rows.rows) for file in (documents, rows)]
        return TaskResult(outputs=written)


def _rows_of(records: pa.RecordBatch) -> pa.Table:
    columns = [records[name] for name in ROWS_SCHEMA.names]
    columns[1] = columns[1].dictionary_encode()
    return pa.Table.from_arrays(columns, schema=ROWS_SCHEMA)
