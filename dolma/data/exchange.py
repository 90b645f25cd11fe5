"""Records that one phase of a stage leaves for the next: sorted runs, read by range of the key.

    producer task    records -> one file of sorted runs               `RunWriter` -> `RunFile`
    merging          more runs than a reader may open -> fewer files  `dolma.runner.merging`
    plan             files, bounds -> what each consumer reads        `partitions` -> `Partition`
    consumer task    its partition -> its records in order of the key `read_sorted`

A `Table` says what the records are: an Arrow schema, its key (uint64 columns, the first of which is partitioned by
range; the first bits of a hash are such a range) and parameters. A table without a key keeps its records in the order
in which they came, and `read_in_order` gives them back. Records with equal keys come in the order of producers, and of
one producer in the order in which they came, whatever the runs, blocks and merges were.

A file is frames of `length, xxh3-64, payload` (two little-endian uint64, then the bytes): a header (JSON: version of
the format, schema, key, parameters), blocks (Arrow record batches of about 128 KiB, each run sorted), and the index
(where each block begins, its first and its last key). Every reader compares header and checksums. Files of this kind
lie in the work folder of a stage and go with it, but those of an index of `dolma dedupe`, which are outputs.

**Bounds.** A reader opens each file once, at most `FAN_IN` of them at a time, and reads its stretch from front to end
in reads of 128 KiB. Where a table has more runs, they are merged, `FAN_IN` at a time, in as many passes as that takes.
So the number of reads grows with the bytes, times the passes: none up to 32 runs, 1 up to 1,024, 2 up to 32,768. What
a writer or reader holds is at most the `memory` it is given, whatever the size of the corpus, beside a single record
that is larger than that (`benchmarks/results/2026-11-28-memory.md`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dolma.data import streams
from dolma.data.manifest import OutputFile, output_file
from dolma.errors import DataError

FORMAT_VERSION = 1
FAN_IN = 32
BLOCK_BYTES = 128 << 10
MEMORY = 256 << 20
"""Bytes of records that a task holds where nothing else is asked for."""
END_OF_KEYS = 1 << 64
_HEAD = 16
_MOST_JOINED = 1 << 30  # bytes in one Arrow column, whose offsets have 32 bits

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Keys = Sequence[Words]
Records: TypeAlias = pa.RecordBatch | pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What the records of an exchange look like.

    `key` names the uint64 columns that they are sorted by, the most significant first. `parameters` (JSON) are what the
    reader must agree on beside the columns. The files lie in the folder `name` below the work folder.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def header(self) -> bytes:
        """The header of its files."""
        header = {
            "format_version": FORMAT_VERSION,
            "table": self.name,
            "columns": [[column.name, str(column.type)] for column in self.schema],
            "key": self.key,
            "parameters": self.parameters,
        }
        return msgspec.json.encode(header, order="sorted")

    def keys(self, records: Records) -> list[Words]:
        """The columns of the key."""
        return [records[name].to_numpy() for name in self.key]


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """What one producer wrote, or one group of it: `path` below the work folder, or a whole path, and its records.

    `runs` are the offsets at which runs begin, the first one with the header, and `ends` those at which they end, where
    that is not the beginning of the next one; the index begins at `index` and ends with the file, at `end`.
    """

    path: str
    rows: int
    runs: list[int]
    index: int
    end: int
    ends: list[int] = []

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """From where to where each run goes."""
        return list(zip(self.runs, self.ends or [*self.runs[1:], self.index], strict=True)) if self.runs else []

    @property
    def n_bytes(self) -> int:
        """Bytes of its records."""
        return sum(end - start for start, end in self.stretches)


# --- writing ---------------------------------------------------------------------------------------------------------


class RunWriter:
    """Writes the records of one producer. A context manager; `file` and `outputs` afterwards.

    Records that are added are held, and written as a sorted run when half of `memory` is full: to sort them takes as
    much again. Those of a table without a key are written as they come. Records of different groups are in different
    runs, so that each group can be read as a file of its own.
    """

    def __init__(self, table: Table, work: str, name: str, *, memory: int = MEMORY) -> None:
        self.table, self._work = table, work
        self._path = f"{table.name}/{name}"
        self._most_held = min(memory // 2, _MOST_JOINED) if table.key else BLOCK_BYTES
        self._out = streams.open_output(streams.join(work, self._path))
        self._held: dict[str, list[pa.RecordBatch]] = {}
        self._held_bytes = self._rows = self._at = 0
        self._runs: list[int] = []
        self._groups: list[tuple[str, int]] = []  # of each run, its group and the records before it
        self._index: list[tuple[int, int, int]] = []  # offset, first key, last key of each block
        self._parts: list[tuple[int, int, int]] = []  # runs, records and bytes at the end of each part

    def __enter__(self) -> RunWriter:
        with ExitStack() as opening:
            opening.enter_context(self._out)
            self._put(self.table.header)
            opening.pop_all()
        return self

    def add(self, records: pa.RecordBatch, *, group: str = "") -> None:
        """Append records of a group, in any order."""
        self._held.setdefault(group, []).append(records)
        self._held_bytes += _weight(records) if self.table.key else records.nbytes
        if self._held_bytes >= self._most_held:
            self._flush()

    def write_run(self, parts: Iterable[Records]) -> None:
        """Write what is given, part by part, as one run; it is sorted already.

        Parts of a table without a key are a block each.
        """
        self._flush()
        self._begin_run()
        for part in parts:
            self._write(part)
            del part

    def end_part(self) -> None:
        """Let `parts` have a file of the records since the last part, or the beginning."""
        self._flush()
        self._parts.append((len(self._runs), self._rows, self._at))

    def _begin_run(self, group: str = "") -> None:
        self._runs.append(self._at if self._runs else 0)
        self._groups.append((group, self._rows))

    def _flush(self) -> None:
        for group in sorted(self._held):
            self._flush_group(group, joined(self._held.pop(group)))
        self._held_bytes = 0

    def _flush_group(self, group: str, held: pa.RecordBatch) -> None:
        self._begin_run(group)
        if not self.table.key:
            self._write(held)
            return
        order = sort_order(self.table.keys(held))
        for start, end in itertools.pairwise(_cuts(row_bytes(held)[order])):
            self._block(held.take(pa.array(order[start:end])))

    def _write(self, records: Records) -> None:
        if not self.table.key:
            self._block(records)
            return
        for start, end in itertools.pairwise(_cuts(row_bytes(records))):
            self._block(records.slice(start, end - start))

    def _block(self, records: Records) -> None:
        if not len(records):
            return
        first, last = 0, 0
        if self.table.key:
            leading = records[self.table.key[0]]
            first, last = leading[0].as_py(), leading[-1].as_py()
        self._index.append((self._at, first, last))
        self._rows += len(records)
        self._put(joined([records]).serialize())

    def _put(self, payload: bytes | pa.Buffer) -> None:
        view = memoryview(payload)  # type: ignore[arg-type]
        self._out.write(np.array([len(view), xxhash.xxh3_64_intdigest(view)], "<u8").tobytes())
        self._out.write(view)  # type: ignore[arg-type]
        self._at += _HEAD + len(view)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self._out.__exit__(kind, value, trace)
            return
        with ExitStack() as stack:
            stack.push(self._out)
            self._flush()
            index = self._at
            self._put(np.array(self._index, "<u8").tobytes())
            self._file = RunFile(path=self._path, rows=self._rows, runs=self._runs, index=index, end=self._at)

    @property
    def file(self) -> RunFile:
        """What was written."""
        return self._file

    @property
    def groups(self) -> dict[str, RunFile]:
        """What was written of each group, in the order of their names."""
        stretches = self._file.stretches
        rows = np.diff([*(before for _, before in self._groups), self._rows]).tolist()
        found = {}
        for group in sorted({group for group, _ in self._groups}):
            mine = [i for i, (name, _) in enumerate(self._groups) if name == group]
            found[group] = msgspec.structs.replace(
                self._file,
                rows=sum(rows[i] for i in mine),
                runs=[stretches[i][0] for i in mine],
                ends=[stretches[i][1] for i in mine],
            )
        return found

    @property
    def parts(self) -> list[RunFile]:
        """What `read_in_order` reads of the file for each part."""
        return [
            msgspec.structs.replace(self._file, rows=rows - before, runs=self._runs[first:last], index=index)
            for (first, before, _), (last, rows, index) in itertools.pairwise([(0, 0, 0), *self._parts])
        ]

    @property
    def outputs(self) -> list[OutputFile]:
        """The file, as an output of the work folder."""
        return [output_file(self._work, self._out.written)]


def joined(parts: Sequence[Records]) -> pa.RecordBatch:
    """The records one after the other, in one piece; of at most 1 GiB and at least one part."""
    if len(parts) == 1 and isinstance(parts[0], pa.RecordBatch):
        return parts[0]
    batches = [batch for part in parts for batch in (part.to_batches() if isinstance(part, pa.Table) else [part])]
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=parts[0].schema)
    whole = pa.Table.from_batches(batches).combine_chunks()
    return whole.to_batches()[0] if len(whole) else batches[0]


def sort_order(keys: Keys) -> Places:
    """The stable order that sorts records by these columns, the most significant first; int64, shape `(n_rows,)`.

    >>> sort_order([np.array([2, 1, 2], np.uint64), np.array([1, 0, 0], np.uint64)]).tolist()
    [1, 2, 0]
    """
    # One word is sorted 5 times faster than two, and gives the same order unless equal ones differ in the next.
    order = np.argsort(keys[0], kind="stable")
    if len(keys) == 1:
        return order
    leading = keys[0][order]
    ties = np.flatnonzero(leading[1:] == leading[:-1])
    if any((column[order[ties]] != column[order[ties + 1]]).any() for column in keys[1:]):
        return np.lexsort(tuple(reversed(keys)))
    return order


def row_bytes(records: Records) -> Places:
    """Bytes of each record, about; int64, shape `(n_rows,)`."""
    sizes = np.zeros(len(records), np.int64)
    for column in records.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large(kind):
            sizes += _lengths(column) + 8
        else:
            sizes += -(-column.nbytes // max(1, len(records)))
    return sizes


def _is_large(kind: pa.DataType) -> bool:
    return pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)


def _lengths(column: pa.Array | pa.ChunkedArray) -> Places:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [np.zeros(0, np.int64)]
    for chunk in chunks:
        dtype = np.int64 if _is_large(chunk.type) else np.int32
        _, offsets, _ = chunk.buffers()
        if len(chunk):
            bounds = np.frombuffer(offsets, dtype)[chunk.offset : chunk.offset + len(chunk) + 1]
            found.append(np.diff(bounds).astype(np.int64))
    return np.concatenate(found)


def _cuts(sizes: Places) -> list[int]:
    """Where records of these sizes are cut into blocks: the first of each block, and the end."""
    block = (np.cumsum(sizes) - sizes) // BLOCK_BYTES
    return [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(sizes)] if len(sizes) else [0]


# --- what each consumer reads ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """The records with `first <= key < end`: stretches of some files that hold them all, and a few of others.

    `paths` are the files, below the work folder; `stretches` is int64 of shape `(n, 3)`: the number of the file and the
    offsets in it, in the order of runs.
    """

    paths: tuple[str, ...]
    stretches: Places
    first: int = 0
    end: int = END_OF_KEYS

    @property
    def n_bytes(self) -> int:
        """Bytes to read."""
        return int((self.stretches[:, 2] - self.stretches[:, 1]).sum())

    @property
    def fingerprint(self) -> str:
        """Another one for every other partition of these or other files; names tasks and files that depend on it."""
        what = [self.paths, self.stretches.tolist(), str(self.first), str(self.end)]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode(what))

    def in_parts(self, n: int) -> list[Partition]:
        """The same stretches, at most `n` to a part, which names its own files alone."""
        n_parts = -(-len(self.stretches) // n)
        parts = []
        for some in np.array_split(self.stretches, n_parts):
            files, number = np.unique(some[:, 0], return_inverse=True)
            paths = tuple(self.paths[file] for file in files.tolist())
            parts.append(replace(self, paths=paths, stretches=np.column_stack([number, some[:, 1:]])))
        return parts


def partitions(table: Table, work: str, files: Sequence[RunFile], bounds: Sequence[int]) -> list[Partition]:
    """What lies between each bound and the next, larger one; reads header and index of each file.

    Raises:
        DataError: a file is not what was written there.
    """
    paths = tuple(file.path for file in files)
    starts = np.array(bounds[:-1], np.uint64)
    lasts = np.array([bound - 1 for bound in bounds[1:]], np.uint64)
    found: list[Places] = [np.zeros((0, 4), np.int64)]
    for number, file in enumerate(files):
        offsets, first_keys, last_keys = _read_index(table, work, file)
        for run in np.searchsorted(offsets, np.array(file.stretches, np.int64).reshape(-1, 2)).tolist():
            inside = slice(*run)
            low = run[0] + np.searchsorted(last_keys[inside], starts, side="left")
            high = run[0] + np.searchsorted(first_keys[inside], lasts, side="right")
            mine = np.flatnonzero(low < high)
            ends = np.append(offsets[1:], file.index)[high[mine] - 1]
            found.append(np.stack([mine, np.full(len(mine), number), offsets[low[mine]], ends], axis=1))
    every = np.concatenate(found)
    every = every[np.argsort(every[:, 0], kind="stable")]
    borders = np.searchsorted(every[:, 0], np.arange(len(starts) + 1)).tolist()
    return [
        Partition(paths=paths, stretches=every[start:stop, 1:], first=bounds[i], end=bounds[i + 1])
        for i, (start, stop) in enumerate(itertools.pairwise(borders))
    ]


def whole_runs(files: Sequence[RunFile]) -> Partition:
    """All records of these files; reads none of them."""
    stretches = [(number, *stretch) for number, file in enumerate(files) for stretch in file.stretches]
    paths = tuple(file.path for file in files)
    return Partition(paths=paths, stretches=np.array(stretches, np.int64).reshape(-1, 3))


def prefix_bounds(n: int) -> list[int]:
    """The bounds of `n` ranges of keys of equal width.

    >>> prefix_bounds(2) == [0, 1 << 63, 1 << 64]
    True
    """
    return [END_OF_KEYS * i // n for i in range(n + 1)]


def _located(work: str, path: str) -> str:
    return path if streams.is_url(path) or path.startswith("/") else streams.join(work, path)


def _read_index(table: Table, work: str, file: RunFile) -> tuple[Places, Words, Words]:
    path = _located(work, file.path)
    with closing(_frames(work, path, 0, file.index)) as frames:
        _check_header(table, work, path, next(frames))
    (index,) = _frames(work, path, file.index, file.end)
    columns = np.frombuffer(index, "<u8").reshape(-1, 3)
    return columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2]


# --- reading ---------------------------------------------------------------------------------------------------------


def read_in_order(table: Table, work: str, file: RunFile) -> Iterator[pa.RecordBatch]:
    """The records of one producer of a table without a key, or of a part, block by block as they were written.

    Raises:
        DataError: the file is not what was written there.
    """
    start = file.runs[0] if file.runs else file.index
    return _blocks(table, work, _located(work, file.path), start, file.index)


def read_sorted(table: Table, work: str, partition: Partition, *, memory: int = MEMORY) -> Iterator[pa.RecordBatch]:
    """The records of a partition in order of the key; at most `memory` bytes are held.

    Raises:
        DataError: a file is not what was written there.
    """
    runs = [
        _blocks(table, work, _located(work, partition.paths[number]), start, end)
        for number, start, end in partition.stretches.tolist()
    ]
    try:
        # A map, as a loop would hold a batch while the next one is made; so with all that a batch comes through.
        yield from map(partial(_between, table, partition), _merged(table, runs, _share(memory)))
    finally:
        for run in runs:
            run.close()


def _weight(records: pa.RecordBatch) -> int:
    """Bytes that records take while they wait to be put in order; their places and keys are sorted beside them."""
    return int(records.nbytes) + 16 * len(records)


def _share(memory: int) -> int:
    """Bytes that are put in order together: the rest is for blocks that wait, and for two copies of these."""
    return min(max((memory - 3 * FAN_IN * BLOCK_BYTES) // 3, BLOCK_BYTES), _MOST_JOINED)


def _merged(table: Table, runs: Sequence[Iterator[pa.RecordBatch]], most_held: int) -> Iterator[pa.RecordBatch]:
    """Blocks are loaded in the order of their first keys; what lies before all that are not loaded yet can go."""
    if len(runs) == 1:
        yield from runs[0]
        return
    waiting = [next(run, None) for run in runs]
    heap = [(_key_at(table, block, 0), i) for i, block in enumerate(waiting) if block is not None]
    heapq.heapify(heap)
    held: list[list[pa.RecordBatch]] = [[] for _ in runs]
    n_held = 0
    while heap:
        _, i = heapq.heappop(heap)
        block = waiting[i]
        assert block is not None
        held[i].append(block)
        n_held += _weight(block)
        waiting[i] = following = next(runs[i], None)
        if following is not None:
            heapq.heappush(heap, (_key_at(table, following, 0), i))
        if heap and n_held >= most_held:
            ready, held = _split(table, held, *heap[0])
            n_held = sum(_weight(block) for blocks in held for block in blocks)
            if ready:
                yield _in_order(table, ready)
    ready = [block for blocks in held for block in blocks]
    del held
    if ready:
        yield _in_order(table, ready)


def _split(
    table: Table, held: Sequence[Sequence[pa.RecordBatch]], border: tuple[int, ...], of: int
) -> tuple[list[pa.RecordBatch], list[list[pa.RecordBatch]]]:
    """The records that come before the one with the key `border` of run `of`, and those that do not."""
    before: list[pa.RecordBatch] = []
    after: list[list[pa.RecordBatch]] = []
    for i, blocks in enumerate(held):
        after.append([])
        for block in blocks:
            at = position(table.keys(block), border, side="right" if i <= of else "left")
            if at:
                before.append(block.slice(0, at))
            if at < len(block):
                after[-1].append(block.slice(at))
    return before, after


def _in_order(table: Table, blocks: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The records of these blocks, which are taken out of the list: no more than two copies are held at a time."""
    records = joined(blocks)
    blocks.clear()
    return records.take(pa.array(sort_order(table.keys(records))))


def _key_at(table: Table, records: pa.RecordBatch, i: int) -> tuple[int, ...]:
    return tuple(records[name][i].as_py() for name in table.key)


def position(keys: Keys, at: Sequence[int], *, side: str) -> int:
    """How many sorted records come before the key `at`, equal ones left out (`left`) or counted (`right`)."""
    low, high = 0, len(keys[0])
    for column, value in zip(keys, at, strict=False):
        part = column[low:high]
        low, high = (low + int(np.searchsorted(part, np.uint64(value), side=one)) for one in ("left", "right"))
    return high if side == "right" else low


def _between(table: Table, partition: Partition, records: pa.RecordBatch) -> pa.RecordBatch:
    leading = table.keys(records)[:1]
    start = position(leading, [partition.first], side="left")
    stop = len(records) if partition.end == END_OF_KEYS else position(leading, [partition.end], side="left")
    return records.slice(start, stop - start)


def in_groups(table: Table, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same sorted records, cut so that those with one key are never in two batches."""
    held: pa.RecordBatch | None = None
    for batch in batches:
        if len(batch):
            whole, held = _last_group_apart(table, batch if held is None else joined([held, batch]))
            del batch
            if len(whole):
                yield whole
            del whole
    if held is not None:
        yield held


def _last_group_apart(table: Table, records: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The records before those with the last key, and a copy of those: a slice would hold all of them."""
    last = position(table.keys(records), _key_at(table, records, len(records) - 1), side="left")
    return records.slice(0, last), records.take(pa.array(np.arange(last, len(records))))


class Cursor:
    """Sorted records, taken range by range."""

    def __init__(self, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
        self._table, self._batches = table, iter(batches)
        self._held = pa.RecordBatch.from_pylist([], schema=table.schema)

    def before(self, end: int) -> pa.RecordBatch:
        """The records that have not been taken yet and whose key is below `end`."""
        found: list[pa.RecordBatch] = []
        while True:
            at = position(self._table.keys(self._held)[:1], [end], side="left")
            found.append(self._held.slice(0, at))
            self._held = self._held.slice(at)
            if len(self._held) or (following := next(self._batches, None)) is None:
                return joined(found)
            self._held = following


# --- frames ----------------------------------------------------------------------------------------------------------


def _blocks(table: Table, work: str, path: str, start: int, end: int) -> Generator[pa.RecordBatch, None, None]:
    """The blocks of a stretch; where it begins with the file, the header is looked at."""
    for i, payload in enumerate(_frames(work, path, start, end)):
        if start == i == 0:
            _check_header(table, work, path, payload)
        else:
            yield pa.ipc.read_record_batch(pa.py_buffer(payload), table.schema)


def _frames(work: str, path: str, start: int, end: int) -> Generator[bytes, None, None]:
    try:
        with streams.open_input(path, start=start, end=end, chunk_bytes=BLOCK_BYTES + _HEAD) as raw:
            while head := raw.read(_HEAD):
                length, checksum = np.frombuffer(head, "<u8").tolist() if len(head) == _HEAD else (0, 0)
                payload = raw.read(length) if length <= end - start else b""
                if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != checksum:
                    raise DataError(
                        "holds other bytes than were written\n  run the command again with `--overwrite`", file=path
                    )
                yield payload
    except DataError as error:
        raise _spoiled(error.message, work, path) from error


def _check_header(table: Table, work: str, path: str, found: bytes) -> None:
    if found != table.header:
        raise _spoiled(f"its header is {found.decode(errors='replace')}, expected {table.header.decode()}", work, path)


def _spoiled(what: str, work: str, path: str) -> DataError:
    remedy = f"an earlier phase of this run wrote the file: remove {work} and run the same command again"
    if not streams.is_below(path, work):
        remedy = "it was kept by an earlier run: put it back as it was, or make its folder again"
    return DataError(f"{what}\n  {remedy}", file=path)
