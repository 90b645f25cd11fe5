"""What the encode phase leaves for the write phase, and where shards begin and end.

encode   piece -> `places`: place and tokens of each document; `documents`: its ids, and the row that goes with them
cut      all places, in order -> the range of places of each shard: exact before anything is written
write    range of places -> one token shard, its documents merged from all runs
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.exchange import END_OF_KEYS, Partition, RunFile, RunWriter, Table, in_groups, read_sorted
from dolma.data.manifest import OutputFile
from dolma.data.tokens import Dtype, little_endian
from dolma.runner.task import TaskResult
from dolma.tokens.order import Counts, Places, cut

PLACES = Table(name="places", schema=pa.schema([("place", pa.uint64()), ("tokens", pa.int64())]), key=("place",))
_BYTES_PER_UNIT = 64  # in memory, while shards are planned


def documents_of(dtype: Dtype) -> Table:
    """The documents with ids of this type: `ids` as they will lie in shards, `source` a number of a document file."""
    columns = {
        "place": pa.uint64(),
        "source": pa.int32(),
        "line": pa.int64(),
        "id": pa.large_string(),
        "ids": pa.large_binary(),
    }
    return Table(name="documents", schema=pa.schema(list(columns.items())), key=("place",), parameters={"dtype": dtype})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The documents of one token shard: those with places from `first` on, up to the `first` of the next one."""

    index: int
    first: int
    documents: int
    tokens: int


class EncodedPiece:
    """Collects the encoded documents of one piece. A context manager; three properties afterwards."""

    def __init__(self, work: str, name: str, *, source: int, dtype: Dtype, memory: int) -> None:
        self._table, self._source = documents_of(dtype), source
        self._itemsize = little_endian(dtype).itemsize
        self._documents = RunWriter(self._table, work, name, memory=memory - memory // 8)
        self._places = RunWriter(PLACES, work, name, memory=memory // 8)

    def __enter__(self) -> EncodedPiece:
        with ExitStack() as opening:
            opening.enter_context(self._documents)
            opening.enter_context(self._places)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._open.__exit__(*exc)

    def add(
        self, ids: npt.NDArray[Any], counts: Counts, *, places: Places, names: Sequence[str], lines: Counts
    ) -> None:
        """Append documents: all ids one after the other, and per document their number, place, id and line."""
        bounds = np.concatenate([[0], np.cumsum(counts)]) * self._itemsize
        encoded = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(counts), [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(ids))]
        )
        columns = [
            pa.array(places),
            pa.array(np.full(len(counts), self._source, np.int32)),
            pa.array(lines),
            pa.array(names, pa.large_string()),
            encoded,
        ]
        self._documents.add(pa.RecordBatch.from_arrays(columns, schema=self._table.schema))
        self._places.add(pa.RecordBatch.from_arrays([pa.array(places), pa.array(counts)], schema=PLACES.schema))

    @property
    def places(self) -> RunFile:
        """Where each document goes, and how many tokens it has."""
        return self._places.file

    @property
    def documents(self) -> RunFile:
        """The documents."""
        return self._documents.file

    @property
    def outputs(self) -> list[OutputFile]:
        """Both files, as outputs of the work folder."""
        return [*self._places.outputs, *self._documents.outputs]


# --- where shards begin and end --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Units:
    """Consecutive places: what is never cut, `documents` and `tokens` of each."""

    places: Places
    documents: Counts
    tokens: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class CutParts:
    """Finds where shards begin and end. Called with all places; the payload is for `parts_of`."""

    work: str
    limit: int
    memory: int

    def __call__(self, places: Partition) -> TaskResult:
        parts = plan_parts(self.work, places, limit=self.limit, memory=self.memory)
        return TaskResult(payload={"parts": msgspec.to_builtins(parts)})


def parts_of(payload: Mapping[str, Any]) -> list[Part]:
    """The parts that `CutParts` has found."""
    return msgspec.convert(payload["parts"], list[Part])


def plan_parts(work: str, places: Partition, *, limit: int, memory: int) -> list[Part]:
    """All documents, by place, in parts of even size and at most `limit` tokens; `memory` bytes are held at most."""
    series = _series(work, places, memory)
    bounds = cut(lambda: (units.tokens for units in series()), limit=limit)
    firsts, n_before = [0] * (len(bounds) - 1), 0
    documents, tokens = np.zeros(len(firsts), np.int64), np.zeros(len(firsts), np.int64)
    inner = np.array(bounds[:-1])
    for units in series():
        number = np.arange(n_before, n_before + len(units.places))
        part = np.searchsorted(inner, number, side="right") - 1
        np.add.at(documents, part, units.documents)
        np.add.at(tokens, part, units.tokens)
        for index in np.flatnonzero((inner >= n_before) & (inner < n_before + len(number)) & (inner > 0)).tolist():
            firsts[index] = int(units.places[inner[index] - n_before])
        n_before += len(number)
    return [
        Part(index=index, first=first, documents=int(documents[index]), tokens=int(tokens[index]))
        for index, first in enumerate(firsts)
    ]


def _series(work: str, places: Partition, memory: int) -> Callable[[], Iterable[_Units]]:
    """All units, as often as they are asked for: from memory where they fit, else read and merged each time."""

    def read() -> Iterator[_Units]:
        for records in in_groups(PLACES, read_sorted(PLACES, work, places, memory=memory // 2)):
            place = records["place"].to_numpy()
            starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
            tokens = np.add.reduceat(records["tokens"].to_numpy(), starts)
            yield _Units(place[starts], np.diff(np.append(starts, len(place))), tokens)

    held: list[_Units] = []
    most = memory // _BYTES_PER_UNIT
    for units in read():
        held.append(units)
        most -= len(units.places)
        if most < 0:
            return read
    return lambda: held


def bounds_of(parts: Sequence[Part]) -> list[int]:
    """The bounds of the places of these parts."""
    return [*(part.first for part in parts), END_OF_KEYS]


# --- the documents of one shard --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive documents of a shard: all ids, how many each has, their ids, numbers of their files, and lines."""

    ids: memoryview
    counts: Counts
    names: list[str]
    sources: list[int]
    lines: list[int]


def read_part(work: str, part: Partition, *, dtype: Dtype, memory: int) -> Iterator[Block]:
    """The documents of a part in order of place; at most `memory` bytes are held.

    Raises:
        DataError: a file of the work folder is not what was written.
    """
    found = filter(len, read_sorted(documents_of(dtype), work, part, memory=memory))
    return map(partial(_block, itemsize=little_endian(dtype).itemsize), found)


def _block(records: pa.RecordBatch, *, itemsize: int) -> Block:
    encoded = records["ids"]
    _, offsets, values = encoded.buffers()
    bounds = np.frombuffer(offsets, np.int64)[encoded.offset : encoded.offset + len(records) + 1]
    return Block(
        ids=memoryview(values)[int(bounds[0]) : int(bounds[-1])],
        counts=np.diff(bounds) // itemsize,
        names=records["id"].to_pylist(),
        sources=records["source"].to_pylist(),
        lines=records["line"].to_pylist(),
    )
