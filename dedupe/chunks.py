"""What the phases of `windows` leave for each other, chunk by chunk.

    hash    piece -> `rows`, a block per chunk in order; `keys`, the distinct windows of each chunk, sorted by hash
    group   range of hashes -> `marks`: those of all chunks that have copies anywhere, sorted by place
    write   shard -> the attribute file, from its rows and the marks of its places

Only the distinct windows of a chunk travel, so one that occurs a million times in it is sorted once. The *place* of a
distinct window is its piece and its number among those of the piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.exchange import Cursor, RunWriter, Table, in_groups
from dolma.dedupers.clusters import first_place
from dolma.dedupers.grouping import Groups, group_equal
from dolma.dedupers.paragraphs import Units

Ints = npt.NDArray[np.int64]

_UNIT = pa.struct(
    [
        ("group", pa.int32()),  # of the window that begins with it, within the chunk; -1 where none does
        ("leads", pa.bool_()),  # whether that is the first of its group
        ("first", pa.uint32()),
        ("last", pa.uint32()),
        ("begins", pa.bool_()),
        ("newline", pa.bool_()),
    ]
)
ROWS = Table(
    name="rows",
    schema=pa.schema(
        [("id", pa.string()), ("source", pa.string()), ("characters", pa.int64()), ("units", pa.list_(_UNIT))]
    ),
)
KEYS = Table(
    name="keys",
    schema=pa.schema(
        [
            ("high", pa.uint64()),
            ("low", pa.uint64()),
            ("place", pa.uint64()),
            ("copies", pa.uint32()),
            ("documents", pa.uint32()),
        ]
    ),
    key=("high", "low"),
)
MARKS = Table(
    name="marks",
    schema=pa.schema([("place", pa.uint64()), ("first", pa.bool_()), ("documents", pa.uint32())]),
    key=("place",),
)
GROWING = replace(MARKS, schema=MARKS.schema.append(pa.field("grown", pa.bool_())))
"""The same, with whether a row changes as documents are new that have the window."""
_FEW_KEYS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWindows:
    """The units of a batch and the windows that take part, in corpus order.

    `at`: whether one begins with each unit, bool of shape `(n_units,)`; `hashes`: of those, uint64 of shape
    `(n_windows, 2)`.
    """

    units: Units
    at: npt.NDArray[np.bool_]
    hashes: npt.NDArray[np.uint64]


class Chunk:
    """Collects the windows of consecutive batches."""

    def __init__(self) -> None:
        self.size = 0
        self._ids: list[pa.Array] = []
        self._sources: list[pa.Array] = []
        self._found: list[BatchWindows] = []

    def add(self, batch: TextBatch, found: BatchWindows) -> None:
        """Append the windows of the next batch."""
        self.size += max(len(batch), len(found.at))
        self._ids.append(pa.array(batch.ids, pa.string()))
        self._sources.append(pa.array(batch.sources, pa.string()))
        self._found.append(found)

    def write(self, rows: RunWriter, keys: RunWriter, *, place: int) -> int:
        """Write a block of rows and a run of distinct windows, the first of which has this place; returns the next."""
        groups = group_equal(np.concatenate([found.hashes for found in self._found]))
        at, counts = np.concatenate([found.at for found in self._found]), self._all("counts")
        rows.write_run([self._rows(at, counts, groups)])
        document = np.repeat(np.arange(len(counts)), counts)[at]
        distinct = pa.RecordBatch.from_arrays(
            [
                pa.array(groups.hashes[:, 0]),
                pa.array(groups.hashes[:, 1]),
                pa.array(np.arange(place, place + len(groups.sizes), dtype=np.uint64)),
                pa.array(groups.sizes.astype(np.uint32)),
                pa.array(groups.distinct(document).astype(np.uint32)),
            ],
            schema=KEYS.schema,
        )
        if len(distinct) < _FEW_KEYS:
            keys.add(distinct)  # small pieces share a run
        else:
            keys.write_run([distinct])
        return place + len(groups.sizes)

    def _all(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(found.units, name) for found in self._found])

    def _rows(self, at: npt.NDArray[np.bool_], counts: Ints, groups: Groups) -> pa.RecordBatch:
        group, leads = np.full(len(at), -1, np.int32), np.zeros(len(at), bool)
        group[at], leads[at] = groups.group, groups.leads
        values = pa.StructArray.from_arrays(
            [
                pa.array(group),
                pa.array(leads),
                pa.array(self._all("first").astype(np.uint32)),
                pa.array(self._all("last").astype(np.uint32)),
                pa.array(self._all("begins")),
                pa.array(self._all("newline")),
            ],
            fields=list(_UNIT),
        )
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        units = pa.ListArray.from_arrays(pa.array(offsets), values)
        ids, sources = pa.concat_arrays(self._ids), pa.concat_arrays(self._sources)
        return pa.RecordBatch.from_arrays([ids, sources, pa.array(self._all("characters")), units], schema=ROWS.schema)


def marks_of(
    keys: Iterable[pa.RecordBatch], *, min_documents: int, keep_first: bool = True, first_new: int = 0
) -> Iterator[pa.RecordBatch]:
    """The `GROWING` of the windows that occur more than once and in so many documents.

    `keys` come sorted, equal ones in corpus order. `first` says that the first copy of all is the key's own chunk's,
    which has no mark with `keep_first`. From the place `first_new` on, documents are new.
    """
    for records in in_groups(KEYS, keys):
        yield _marks(records, min_documents, keep_first=keep_first, first_new=first_new)


def _marks(records: pa.RecordBatch, min_documents: int, *, keep_first: bool, first_new: int) -> pa.RecordBatch:
    high, low = KEYS.keys(records)
    starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    copies, documents = (
        np.add.reduceat(records[name].to_numpy().astype(np.int64), starts) for name in ("copies", "documents")
    )
    sizes = np.diff(np.append(starts, len(records)))
    rows = np.flatnonzero(np.repeat((copies > 1) & (documents >= min_documents), sizes))
    firsts = np.repeat(starts, sizes)[rows]
    is_new = np.maximum.reduceat(records["place"].to_numpy(), starts) >= np.uint64(first_new)
    unmarked = keep_first & (firsts == rows) & (records["copies"].to_numpy()[rows] == 1)
    return pa.RecordBatch.from_arrays(
        [
            records["place"].take(pa.array(rows)),
            pa.array(firsts == rows),
            pa.array(np.repeat(documents, sizes)[rows].astype(np.uint32)),
            pa.array(np.repeat(is_new, sizes)[rows] & ~unmarked),
        ],
        schema=GROWING.schema,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedChunk:
    """The rows of a chunk with the units of them that are duplicates.

    `rows` has the schema of `ROWS`; `counts` are their units. Per duplicate, in order: `document`, its row in the
    chunk; `[first, last)`, code points; `documents`, how many have the window that it is in, the most of several.
    """

    rows: pa.RecordBatch
    counts: Ints
    document: Ints
    first: Ints
    last: Ints
    documents: Ints


def marked_chunks(
    chunks: Iterable[pa.RecordBatch], marks: Cursor, *, piece: int, window: int, keep_first: bool
) -> Iterator[MarkedChunk]:
    """The chunks of a piece, in order, with their marks; with `keep_first` the first of equal windows has none."""
    place = first_place(piece)
    for rows in chunks:
        n_groups = int(rows["units"].flatten().field(0).to_numpy().max(initial=-1)) + 1
        found = marks.before(place + n_groups)
        yield _marked(rows, found, first=place, n_groups=n_groups, window=window, keep_first=keep_first)
        place += n_groups


def _marked(
    rows: pa.RecordBatch, marks: pa.RecordBatch, *, first: int, n_groups: int, window: int, keep_first: bool
) -> MarkedChunk:
    units = rows["units"].flatten()
    group, leads, start, end, begins, newline = (units.field(i).to_numpy(zero_copy_only=False) for i in range(6))
    of_group, is_first = np.zeros(n_groups + 1, np.int64), np.zeros(n_groups + 1, bool)  # and of -1
    at = (marks["place"].to_numpy() - np.uint64(first)).astype(np.int64)
    of_group[at] = marks["documents"].to_numpy()
    documents = of_group[group]
    if keep_first:
        is_first[at] = marks["first"].to_numpy(zero_copy_only=False)
        documents[leads & is_first[group]] = 0
    documents = most_of_windows(documents, window)
    duplicate = documents > 0
    last = end.astype(np.int64)
    if newline.any():
        lines = np.flatnonzero(begins)
        whole = np.repeat(np.logical_and.reduceat(duplicate, lines), np.diff(np.append(lines, len(begins))))
        last += newline & whole
    counts = np.diff(rows["units"].offsets.to_numpy()).astype(np.int64)
    return MarkedChunk(
        rows=rows,
        counts=counts,
        document=np.repeat(np.arange(len(rows)), counts)[duplicate],
        first=start.astype(np.int64)[duplicate],
        last=last[duplicate],
        documents=documents[duplicate],
    )


def most_of_windows(values: Ints, window: int) -> Ints:
    """The greatest value of the windows that each unit is in; `values` are those of the windows that begin with each.

    >>> most_of_windows(np.array([0, 2, 0, 0, 0, 1]), 3).tolist()
    [0, 2, 2, 2, 0, 1]
    """
    most, reach = values.copy(), 1
    while reach < window:
        step = min(reach, window - reach)
        most[step:] = np.maximum(most[step:], most[:-step])
        reach += step
    return most
