"""What is said of documents that are copies of each other, and the files that say it.

A *place* is a document's piece and its number among those that were read of the piece, in one uint64: places rise in
corpus order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocBool, DocInt, DocText, Output
from dolma.data.exchange import Cursor, Partition, RunFile, Table, read_in_order, read_sorted
from dolma.kernels.hashing import hash128_documents
from dolma.kernels.views import code_points

Ints = npt.NDArray[np.int64]

OUTPUTS: dict[str, Output] = {
    "duplicate": DocBool("a copy of the document that is kept of its cluster; of all where none is kept"),
    "cluster": DocInt("corpus position, from 0, of the cluster's first document; null for one without a copy"),
    "cluster_size": DocInt("documents of the cluster; 1 without a copy", unit="documents", range=">= 1"),
    "kept_id": DocText("id of the document that is kept; null unless this one is a duplicate of it"),
}
ROWS = Table(
    name="rows",
    schema=pa.schema([("id", pa.string()), ("source", pa.string()), ("characters", pa.int64()), ("bytes", pa.int64())]),
)
MARKS = Table(
    name="marks",
    schema=pa.schema(
        [
            ("place", pa.uint64()),
            ("duplicate", pa.bool_()),
            ("cluster", pa.uint64()),  # the place of its first document
            ("cluster_size", pa.int64()),
            ("kept_id", pa.string()),
            ("kept_source", pa.string()),
            ("similarity", pa.float64()),
            ("grown", pa.bool_()),  # whether a document of the cluster is new to the index
        ]
    ),
    key=("place",),
)
_PLACE_BITS = 40  # of the number within the piece
_SOURCE_SEED = 2


def first_place(piece: int) -> int:
    """The place of the first document of a piece; those of all pieces before are smaller."""
    return piece << _PLACE_BITS


def places(first: int, n: int) -> npt.NDArray[np.uint64]:
    """The places of `n` documents of a piece, of which the first has this one."""
    return np.arange(n, dtype=np.uint64) + np.uint64(first)


def positions(places: npt.NDArray[np.uint64], starts: Ints) -> Ints:
    """The corpus positions of these places; `starts` has the position of the first document of each piece."""
    piece = (places >> np.uint64(_PLACE_BITS)).astype(np.int64)
    return starts[piece] + (places & np.uint64((1 << _PLACE_BITS) - 1)).astype(np.int64)


def salts(batch: TextBatch) -> npt.NDArray[np.uint64]:
    """A hash of each document's source, of another seed than those of keys; uint64, shape `(n_docs, 2)`.

    Keys that take it in are equal for documents of one source alone.
    """
    return salts_of(batch.sources)


def salts_of(of: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The same of these sources."""
    sources = sorted(set(of))
    encoded = [source.encode(errors="surrogatepass") for source in sources]
    utf8 = np.frombuffer(b"".join(encoded), np.uint8)
    hashes = hash128_documents(utf8, offsets_of(encoded), seed=_SOURCE_SEED)
    number = {source: i for i, source in enumerate(sources)}
    return hashes[[number[source] for source in of]]


def rows_of(batch: TextBatch) -> pa.RecordBatch:
    """The `ROWS` of a batch."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array(batch.ids, pa.string()),
            pa.array(batch.sources, pa.string()),
            pa.array(batch.view(code_points)),
            pa.array(batch.n_bytes),
        ],
        schema=ROWS.schema,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRows:
    """Reads the rows of some pieces with what is said of them. Called with (their files by piece, their marks).

    Gives tables of `ROWS`, the `OUTPUTS`, `kept_source` and `similarity`. `starts` has the corpus position of the first
    document of each piece.
    """

    work: str
    starts: tuple[int, ...]
    memory: int

    def __call__(self, rows: Mapping[int, RunFile], marks: Partition) -> Iterator[pa.Table]:
        cursor = Cursor(MARKS, read_sorted(MARKS, self.work, marks, memory=self.memory))
        starts = np.array(self.starts, np.int64)
        for piece, file in rows.items():
            first = first_place(piece)
            for batch in read_in_order(ROWS, self.work, file):
                found = cursor.before(first + len(batch))
                at = (found["place"].to_numpy() - np.uint64(first)).astype(np.int64)
                columns = {name: batch[name] for name in batch.schema.names}
                yield pa.table(columns | _columns(found, at, len(batch), starts))
                first += len(batch)


def _columns(marks: pa.RecordBatch, at: Ints, n: int, starts: Ints) -> Columns:
    mark = np.full(n, -1, np.int64)
    mark[at] = np.arange(len(marks))
    chosen = pa.array(mark, mask=mark < 0)
    clusters = positions(marks["cluster"].to_numpy(), starts)
    return {
        "duplicate": marks["duplicate"].take(chosen).fill_null(False),
        "cluster": pa.array(clusters).take(chosen),
        "cluster_size": marks["cluster_size"].take(chosen).fill_null(1),
        "kept_id": marks["kept_id"].take(chosen),
        "kept_source": marks["kept_source"].take(chosen),
        "similarity": marks["similarity"].take(chosen),
    }
