"""What the encode phase leaves for the write phase: runs of documents, each sorted by place.

A run is two files of the work folder: `<name>.ids` has the ids of its documents as they will lie in shards,
`<name>.rows` (Arrow) a row for each: its place, where its ids end, its id and line. A token shard is a range of
places, so it takes one stretch of every run: an external merge, in which memory depends on the size of runs and
blocks, and not on the corpus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.manifest import OutputFile
from dolma.errors import DataError
from dolma.tokens.order import LAST_PLACE, Counts, Places, cut

BLOCK_BYTES = 64 << 20  # of ids that are put in order together
_JOIN_BYTES = 4 << 20
_MOST_UNITS = 1 << 24  # documents that are cut one by one; more are cut in groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Some documents of one document file, sorted by place; `src` is its name in the manifest."""

    name: str
    src: str
    documents: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The documents of one token shard: those with places from `first` to `last`, both included."""

    index: int
    first: int
    last: int
    documents: int
    tokens: int


class RunBuilder:
    """Collects encoded documents and writes them as a run."""

    def __init__(self) -> None:
        self.documents = 0
        self._ids = bytearray()
        self._columns: dict[str, list[pa.Array]] = {"place": [], "count": [], "id": [], "line": []}

    @property
    def n_bytes(self) -> int:
        """Bytes of ids so far."""
        return len(self._ids)

    def add(
        self, ids: npt.NDArray[Any], counts: Counts, *, places: Places, names: Sequence[str], lines: Counts
    ) -> None:
        """Append documents: all ids one after the other, and per document their number, place, id and line."""
        self.documents += len(counts)
        self._ids += ids.data.cast("B") if len(ids) else b""
        for name, values in (("place", places), ("count", counts), ("line", lines)):
            self._columns[name].append(pa.array(values))
        self._columns["id"].append(pa.array(names, pa.large_string()))

    def write(self, work: str, name: str, *, itemsize: int) -> list[OutputFile]:
        """Write the run; its two files, as outputs of the work folder."""
        column = {key: pa.concat_arrays(arrays) for key, arrays in self._columns.items()}
        counts = column["count"].to_numpy()
        order = np.argsort(column["place"].to_numpy(), kind="stable")
        ends = np.cumsum(counts)
        with streams.open_output(_ids_path(work, name)) as out:
            for joined in _in_order(self._ids, (ends - counts)[order] * itemsize, ends[order] * itemsize):
                out.write(joined)
        rows = pa.RecordBatch.from_pydict(
            {
                "place": column["place"].take(pa.array(order)),
                "end": pa.array(np.cumsum(counts[order])),
                "id": column["id"].take(pa.array(order)),
                "line": column["line"].take(pa.array(order)),
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_batch(rows)
        with streams.open_output(_rows_path(work, name)) as rows_out:
            rows_out.write(memoryview(sink.getvalue()))  # type: ignore[arg-type]
        return [_intermediate(work, written) for written in (out.written, rows_out.written) if written is not None]


def _intermediate(work: str, written: streams.Written) -> OutputFile:
    path = written.path.removeprefix(work + "/")
    return OutputFile(set=work, path=path, bytes=written.bytes, checksum=written.checksum)


def _ids_path(work: str, name: str) -> str:
    return streams.join(work, "encode", f"{name}.ids")


def _rows_path(work: str, name: str) -> str:
    return streams.join(work, "encode", f"{name}.rows")


def _rows(work: str, name: str) -> pa.RecordBatch:
    with streams.local_copy(_rows_path(work, name)) as local, pa.memory_map(local) as raw:
        return pa.ipc.open_file(raw).get_batch(0)


def _in_order(ids: bytes | bytearray, starts: Counts, ends: Counts) -> Iterator[bytes]:
    """These byte ranges one after the other, some megabytes at a time."""
    view, some, n_bytes = memoryview(ids), [], 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        some.append(view[start:end])
        n_bytes += end - start
        if n_bytes >= _JOIN_BYTES:
            yield b"".join(some)
            some, n_bytes = [], 0
    if some:
        yield b"".join(some)


# --- where shards begin and end --------------------------------------------------------------------------------------


def plan_parts(work: str, runs: Sequence[Run], *, limit: int) -> list[Part]:
    """The documents of all runs, by place, in parts of even size and at most `limit` tokens.

    Beyond 16 million documents some neighbours are not separated, so that the plan fits in memory.
    """
    step = -(-sum(run.documents for run in runs) // _MOST_UNITS)
    firsts = np.unique(np.concatenate([_rows(work, run.name)["place"].to_numpy()[::step] for run in runs]))
    tokens, documents = np.zeros(len(firsts), np.int64), np.zeros(len(firsts), np.int64)
    for run in runs:
        rows = _rows(work, run.name)
        unit = np.searchsorted(firsts, rows["place"].to_numpy(), side="right") - 1
        np.add.at(tokens, unit, np.diff(rows["end"].to_numpy(), prepend=0))
        np.add.at(documents, unit, 1)
    bounds = cut(tokens, limit=limit)
    borders = [int(firsts[bound]) for bound in bounds[:-1]] + [LAST_PLACE + 1]
    return [
        Part(
            index=index,
            first=borders[index],
            last=borders[index + 1] - 1,
            documents=int(documents[start:end].sum()),
            tokens=int(tokens[start:end].sum()),
        )
        for index, (start, end) in enumerate(itertools.pairwise(bounds))
    ]


# --- the documents of one shard --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive documents of a shard: their ids in order, how many each has, their ids, files and lines."""

    ids: list[bytes]
    counts: list[int]
    names: list[str]
    sources: list[str]
    lines: list[int]


def read_part(work: str, runs: Sequence[Run], part: Part, *, itemsize: int) -> Iterator[Block]:
    """The documents of a part in order of place, some tens of megabytes at a time.

    Raises:
        DataError: a file of the work folder is not what was written.
    """
    rows = _PartRows(work, runs, part)
    for chosen in rows.blocks(BLOCK_BYTES // itemsize):
        ids, at = rows.read(chosen, itemsize)
        n_bytes = rows.counts[chosen] * itemsize
        yield Block(
            ids=list(_in_order(ids, at, at + n_bytes)),
            counts=rows.counts[chosen].tolist(),
            names=rows.names.take(pa.array(chosen)).to_pylist(),
            sources=[runs[run].src for run in rows.run[chosen].tolist()],
            lines=rows.lines[chosen].tolist(),
        )


class _PartRows:
    """The rows of a part, run after run, and their order by place."""

    def __init__(self, work: str, runs: Sequence[Run], part: Part) -> None:
        found = [_rows_between(work, run, part) for run in runs]
        self.work, self.runs = work, runs
        self.run = np.repeat(np.arange(len(runs)), [len(rows) for rows in found])
        table = pa.Table.from_batches(found).combine_chunks()
        self.starts, self.counts = table["start"].to_numpy(), table["count"].to_numpy()
        self.lines: Counts = table["line"].to_numpy()
        self.names = table["id"].combine_chunks()
        self.order = np.argsort(table["place"].to_numpy(), kind="stable")

    def blocks(self, n_tokens: int) -> list[npt.NDArray[np.int64]]:
        """The rows in order, about `n_tokens` at a time."""
        block = (np.cumsum(self.counts[self.order]) - 1) // n_tokens
        return np.split(self.order, np.flatnonzero(np.diff(block)) + 1)

    def read(self, chosen: npt.NDArray[np.int64], itemsize: int) -> tuple[bytes, Counts]:
        """The ids of these rows, as read, and at which byte each row's begin. They are one stretch of each run."""
        rows = np.sort(chosen)
        read: list[bytes] = []
        at, n_read = np.zeros(len(self.counts), np.int64), 0
        for stretch in np.split(rows, np.flatnonzero(np.diff(self.run[rows])) + 1):
            start = int(self.starts[stretch[0]])
            end = int(self.starts[stretch[-1]] + self.counts[stretch[-1]])
            path = _ids_path(self.work, self.runs[self.run[stretch[0]]].name)
            read.append(b"".join(streams.read_chunks(path, start=start * itemsize, end=end * itemsize)))
            if len(read[-1]) != (end - start) * itemsize:
                raise DataError("truncated", file=path, offset=start * itemsize + len(read[-1]))
            at[stretch] = n_read + (self.starts[stretch] - start) * itemsize
            n_read += len(read[-1])
        return b"".join(read), at[chosen]


def _rows_between(work: str, run: Run, part: Part) -> pa.RecordBatch:
    rows = _rows(work, run.name)
    places = rows["place"].to_numpy()
    low = int(np.searchsorted(places, np.uint64(part.first)))
    high = int(np.searchsorted(places, np.uint64(part.last), side="right"))
    ends = rows["end"].to_numpy()
    starts = np.concatenate([ends[low - 1 : low] if low else [0], ends[low:high]]).astype(np.int64)
    taken = pa.array(np.arange(low, high))  # copies, so that the file need not stay mapped
    return pa.RecordBatch.from_pydict(
        {
            "place": rows["place"].take(taken),
            "start": pa.array(starts[:-1]),
            "count": pa.array(np.diff(starts)),
            "id": rows["id"].take(taken),
            "line": rows["line"].take(taken),
        }
    )
