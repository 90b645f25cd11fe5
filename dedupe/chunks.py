"""What the phases of dedupe leave for each other, chunk by chunk.

    hash    piece -> `rows`, a block per chunk in order; `keys`, the distinct keys of each chunk, sorted by hash
    group   range of hashes -> `marks`: the keys of all chunks that have copies anywhere, sorted by place
    write   shard -> the attribute file, from its rows and the marks of its places

Only the distinct keys of a chunk travel, so a paragraph that occurs a million times in one chunk is sorted once. The
*place* of a distinct key is its piece and its number among those of the piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.exchange import Cursor, RunWriter, Table, in_groups
from dolma.dedupers.clusters import first_place
from dolma.dedupers.grouping import Groups, group_equal
from dolma.dedupers.keys import Keys

Ints = npt.NDArray[np.int64]

_KEY = pa.struct([("group", pa.uint32()), ("leads", pa.bool_()), ("first", pa.uint32()), ("last", pa.uint32())])
ROWS = Table(
    name="rows",
    schema=pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("characters", pa.int64()),
            ("paragraphs", pa.int64()),
            ("keys", pa.list_(_KEY)),
        ]
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
        ]
    ),
    key=("high", "low"),
)
MARKS = Table(
    name="marks",
    schema=pa.schema([("place", pa.uint64()), ("first", pa.bool_())]),
    key=("place",),
)


_FEW_KEYS = 1 << 14


class Chunk:
    """Collects the keys of consecutive batches."""

    def __init__(self) -> None:
        self.size = 0
        self._ids: list[pa.Array] = []
        self._sources: list[pa.Array] = []
        self._keys: list[Keys] = []

    def add(self, batch: TextBatch, keys: Keys) -> None:
        """Append the keys of the next batch."""
        self.size += max(len(batch), len(keys.hashes))
        self._ids.append(pa.array(batch.ids, pa.string()))
        self._sources.append(pa.array(batch.sources, pa.string()))
        self._keys.append(keys)

    def write(self, rows: RunWriter, keys: RunWriter, *, place: int) -> int:
        """Write a block of rows and a run of distinct keys, the first of which has this place; returns the next."""
        ids = pa.concat_arrays(self._ids)
        counts = self._all("counts")
        groups = group_equal(self._all("hashes"))
        rows.write_run([_rows(ids, counts, groups, self)])
        distinct = pa.RecordBatch.from_arrays(
            [
                pa.array(groups.hashes[:, 0]),
                pa.array(groups.hashes[:, 1]),
                pa.array(np.arange(place, place + len(groups.sizes), dtype=np.uint64)),
                pa.array(groups.sizes.astype(np.uint32)),
            ],
            schema=KEYS.schema,
        )
        if len(distinct) < _FEW_KEYS:
            keys.add(distinct)  # small pieces share a run
        else:
            keys.write_run([distinct])
        return place + len(groups.sizes)

    def _all(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(keys, name) for keys in self._keys])


def _rows(ids: pa.Array, counts: Ints, groups: Groups, chunk: Chunk) -> pa.RecordBatch:
    values = pa.StructArray.from_arrays(
        [
            pa.array(groups.group.astype(np.uint32)),
            pa.array(groups.leads),
            pa.array(chunk._all("first").astype(np.uint32)),
            pa.array(chunk._all("last").astype(np.uint32)),
        ],
        fields=list(_KEY),
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    keys = pa.ListArray.from_arrays(pa.array(offsets), values)
    characters, paragraphs = pa.array(chunk._all("characters")), pa.array(chunk._all("paragraphs"))
    sources = pa.concat_arrays(chunk._sources)
    return pa.RecordBatch.from_arrays([ids, sources, characters, paragraphs, keys], schema=ROWS.schema)


def marks_of(keys: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The marks of the keys that occur more than once; `keys` come sorted, equal ones in corpus order.

    `first` says that the first copy of all is the key's own chunk's.
    """
    return map(_marks, in_groups(KEYS, keys))


def _marks(records: pa.RecordBatch) -> pa.RecordBatch:
    high, low = KEYS.keys(records)
    starts = np.flatnonzero(np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])))
    copies = np.add.reduceat(records["copies"].to_numpy().astype(np.int64), starts)
    sizes = np.diff(np.append(starts, len(records)))
    rows = np.flatnonzero(np.repeat(copies > 1, sizes))
    firsts = np.repeat(starts, sizes)[rows]
    return pa.RecordBatch.from_arrays(
        [
            records["place"].take(pa.array(rows)),
            pa.array(firsts == rows),
        ],
        schema=MARKS.schema,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedChunk:
    """The rows of a chunk with the verdict on each of its keys.

    `rows` has the schema of `ROWS`. Per key, in order: `document`, its row in the chunk; `duplicate`, whether an equal
    key comes before it in the corpus; `[first, last)`, code points.
    """

    rows: pa.RecordBatch
    document: Ints
    duplicate: npt.NDArray[np.bool_]
    first: Ints
    last: Ints


def marked_chunks(chunks: Iterable[pa.RecordBatch], marks: Cursor, *, piece: int) -> Iterator[MarkedChunk]:
    """The chunks of a piece, in order, with their marks."""
    place = first_place(piece)
    for rows in chunks:
        group = rows["keys"].flatten().field(0).to_numpy().astype(np.int64)
        n_groups = int(group.max(initial=-1)) + 1
        yield _marked(rows, marks.before(place + n_groups), first=place, n_groups=n_groups)
        place += n_groups


def _marked(rows: pa.RecordBatch, marks: pa.RecordBatch, *, first: int, n_groups: int) -> MarkedChunk:
    keys = rows["keys"].flatten()
    group, leads, start, end = (keys.field(i).to_numpy(zero_copy_only=False) for i in range(4))
    at = np.full(n_groups, -1, dtype=np.int64)
    at[(marks["place"].to_numpy() - np.uint64(first)).astype(np.int64)] = np.arange(len(marks))
    mark = at[group]
    marked = np.flatnonzero(mark >= 0)
    duplicate = np.zeros(len(keys), dtype=bool)
    is_first = marks["first"].to_numpy(zero_copy_only=False)
    duplicate[marked] = ~(leads[marked] & is_first[mark[marked]])
    counts = np.diff(rows["keys"].offsets.to_numpy())
    return MarkedChunk(
        rows=rows,
        document=np.repeat(np.arange(len(rows)), counts),
        duplicate=duplicate,
        first=start.astype(np.int64),
        last=end.astype(np.int64),
    )
