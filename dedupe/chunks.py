"""What the phases of dedupe leave for each other, chunk by chunk and bucket by bucket.

    hash    piece  -> `keys/<piece>`:   per chunk one block of rows, then one block of distinct keys per bucket
    group   bucket -> `marks/<bucket>`: per chunk one block of the keys that have copies anywhere
    write   shard  -> the attribute file, from its rows and the marks of its chunks

Only the distinct keys of a chunk travel, so a paragraph that occurs a million times in one chunk is sorted once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.dedupers.blocks import BlockFile
from dolma.dedupers.grouping import Groups, bucket_bounds, group_equal
from dolma.dedupers.keys import Keys

Ints = npt.NDArray[np.int64]

_KEY = pa.struct([("group", pa.uint32()), ("leads", pa.bool_()), ("first", pa.uint32()), ("last", pa.uint32())])
ROWS = pa.schema(
    [("id", pa.string()), ("characters", pa.int64()), ("paragraphs", pa.int64()), ("keys", pa.list_(_KEY))]
)
KEYS = pa.schema(
    [("group", pa.uint32()), ("low", pa.uint64()), ("high", pa.uint64()), ("copies", pa.int64()), ("id", pa.string())]
)
MARKS = pa.schema([("group", pa.uint32()), ("copies", pa.int64()), ("first", pa.bool_()), ("first_id", pa.string())])


def keys_path(work: str, piece: int) -> str:
    """Where the hash phase writes the keys of a piece."""
    return streams.join(work, "keys", f"{piece:06d}")


def marks_path(work: str, bucket: int) -> str:
    """Where the group phase writes the marks of a bucket."""
    return streams.join(work, "marks", f"{bucket:06d}")


class Chunk:
    """Collects the keys of consecutive batches."""

    def __init__(self) -> None:
        self.size = 0
        self._ids: list[pa.Array] = []
        self._keys: list[Keys] = []

    def add(self, batch: TextBatch, keys: Keys) -> None:
        """Append the keys of the next batch."""
        self.size += max(len(batch), len(keys.hashes))
        self._ids.append(pa.array(batch.ids, pa.string()))
        self._keys.append(keys)

    def blocks(self, *, n_buckets: int, with_ids: bool) -> Iterator[pa.RecordBatch]:
        """The block of rows, then the distinct keys of each bucket, sorted by hash."""
        ids = pa.concat_arrays(self._ids)
        counts = self._all("counts")
        groups = group_equal(self._all("hashes"))
        yield _rows(ids, counts, groups.group, groups.leads, self)
        owner = np.repeat(np.arange(len(ids)), counts)[groups.firsts]
        table = pa.RecordBatch.from_arrays(
            [
                pa.array(np.arange(len(owner), dtype=np.uint32)),
                pa.array(groups.hashes[:, 0]),
                pa.array(groups.hashes[:, 1]),
                pa.array(groups.sizes),
                ids.take(pa.array(owner)) if with_ids else pa.nulls(len(owner), pa.string()),
            ],
            schema=KEYS,
        )
        bounds = bucket_bounds(groups.hashes, n_buckets=n_buckets).tolist()
        for start, end in itertools.pairwise(bounds):
            yield table.slice(start, end - start)

    def _all(self, name: str) -> npt.NDArray:
        return np.concatenate([getattr(keys, name) for keys in self._keys])


def _rows(ids: pa.Array, counts: Ints, group: Ints, leads: npt.NDArray[np.bool_], chunk: Chunk) -> pa.RecordBatch:
    values = pa.StructArray.from_arrays(
        [
            pa.array(group.astype(np.uint32)),
            pa.array(leads),
            pa.array(chunk._all("first").astype(np.uint32)),
            pa.array(chunk._all("last").astype(np.uint32)),
        ],
        fields=list(_KEY),
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    keys = pa.ListArray.from_arrays(pa.array(offsets), values)
    characters, paragraphs = pa.array(chunk._all("characters")), pa.array(chunk._all("paragraphs"))
    return pa.RecordBatch.from_arrays([ids, characters, paragraphs, keys], schema=ROWS)


def group_bucket(files: list[tuple[BlockFile, int]], *, bucket: int, n_buckets: int) -> Iterator[pa.RecordBatch]:
    """The marks of each chunk, in corpus order: one row per distinct key of the chunk that has copies anywhere.

    `files` are the key files of all pieces in corpus order, each with its number of chunks. `group` is the key's
    position among the distinct keys of its chunk; `first` says that the first copy of all is in this chunk.
    """
    tables = [
        file.read(chunk * (n_buckets + 1) + 1 + bucket, KEYS) for file, n_chunks in files for chunk in range(n_chunks)
    ]
    keys = pa.Table.from_batches(tables, KEYS).combine_chunks()
    groups = group_equal(np.stack([keys["low"].to_numpy(), keys["high"].to_numpy()], axis=1))
    copies = np.zeros(len(groups.sizes), dtype=np.int64)
    np.add.at(copies, groups.group, keys["copies"].to_numpy())
    copied = copies[groups.group] > 1
    start = 0
    for table in tables:
        rows = start + np.flatnonzero(copied[start : start + len(table)])
        start += len(table)
        yield _marks(keys, groups, copies, rows)


def _marks(keys: pa.Table, groups: Groups, copies: Ints, rows: Ints) -> pa.RecordBatch:
    group = groups.group[rows]
    firsts = groups.firsts[group]
    columns = [
        keys["group"].take(pa.array(rows)).combine_chunks(),
        pa.array(copies[group]),
        pa.array(firsts == rows),
        keys["id"].take(pa.array(firsts)).combine_chunks(),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedChunk:
    """The rows of a chunk with the verdict on each of its keys.

    `rows` has the schema `ROWS`. Per key, in order: `document`, its row in the chunk; `duplicate`, whether an equal key
    comes before it in the corpus; `copies`, equal keys in the corpus, itself included; `[first, last)`, code points.
    `first_id` is an Arrow string array: the id of the first copy, null unless duplicate.
    """

    rows: pa.RecordBatch
    document: Ints
    duplicate: npt.NDArray[np.bool_]
    copies: Ints
    first: Ints
    last: Ints
    first_id: pa.Array


def mark_chunk(rows: pa.RecordBatch, marks: list[pa.RecordBatch]) -> MarkedChunk:
    """The chunk with the marks that all buckets hold for it."""
    keys = rows["keys"].flatten()
    group, leads, first, last = (keys.field(i).to_numpy(zero_copy_only=False) for i in range(4))
    table = pa.Table.from_batches(marks, MARKS).combine_chunks()
    at = np.full(int(group.max(initial=0)) + 1, -1, dtype=np.int64)
    at[table["group"].to_numpy()] = np.arange(len(table))
    mark = at[group]
    marked = np.flatnonzero(mark >= 0)
    duplicate, copies = np.zeros(len(keys), dtype=bool), np.ones(len(keys), dtype=np.int64)
    copies[marked] = table["copies"].to_numpy()[mark[marked]]
    duplicate[marked] = ~(leads[marked] & table["first"].to_numpy()[mark[marked]])
    counts = np.diff(rows["keys"].offsets.to_numpy())
    return MarkedChunk(
        rows=rows,
        document=np.repeat(np.arange(len(rows)), counts),
        duplicate=duplicate,
        copies=copies,
        first=first.astype(np.int64),
        last=last.astype(np.int64),
        first_id=table["first_id"].combine_chunks().take(pa.array(np.where(duplicate, mark, 0), mask=~duplicate)),
    )
