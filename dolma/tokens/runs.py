"""What the encode phase leaves for the write phase, and where shards begin and end.

encode   pieces -> `places`: place and tokens of each document; `documents`: its ids, and the row that goes with them
cut      all places, in order -> the range of places of each shard: exact before anything is written
write    range of places -> one token shard, its documents merged from all runs

Of documents grouped by source, each source has runs, an order and shards of its own.
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
import pyarrow.compute as pc

from dolma.data.exchange import END_OF_KEYS, Partition, RunFile, RunWriter, Table, in_groups, read_sorted
from dolma.data.manifest import OutputFile
from dolma.data.tokens import Dtype, little_endian, source_folder
from dolma.runner.task import TaskResult
from dolma.tokens.order import Counts, Places, cut

PLACES = Table(name="places", schema=pa.schema([("place", pa.uint64()), ("tokens", pa.int64())]), key=("place",))
_BYTES_PER_UNIT = 64  # in memory, while shards are planned


def documents_of(dtype: Dtype) -> Table:
    """The documents with ids of this type, `ids` as they will lie in shards, and their rows."""
    columns = {
        "place": pa.uint64(),
        "path": pa.large_string(),
        "line": pa.int64(),
        "id": pa.large_string(),
        "source": pa.large_string(),
        "part": pa.int32(),
        "parts": pa.int32(),
        "offset": pa.int64(),
        "ids": pa.large_binary(),
    }
    return Table(name="documents", schema=pa.schema(list(columns.items())), key=("place",), parameters={"dtype": dtype})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one token shard: those with places from `first` on, up to the `first` of the next one.

    `source`: that of all of them, if they are grouped; `index` then counts the shards of it.
    """

    index: int
    first: int
    rows: int
    tokens: int
    source: str | None = None

    @property
    def name(self) -> str:
        """The path of the shard below its folder, without a suffix."""
        folder = "" if self.source is None else source_folder(self.source) + "/"
        return f"{folder}part-{self.index:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Encoded documents, or parts of some: all ids one after the other, and of each how many it has, and its row."""

    ids: npt.NDArray[Any]
    counts: Counts
    places: Places
    names: Sequence[str]
    sources: Sequence[str | None]
    paths: Sequence[str]
    lines: Counts
    part: Counts
    parts: Counts
    offsets: Counts


class EncodedDocuments:
    """Collects the encoded documents of a task. A context manager; three properties afterwards.

    With `grouped`, the documents of each source have runs of their own.
    """

    def __init__(self, work: str, name: str, *, dtype: Dtype, memory: int, grouped: bool = False) -> None:
        self._table, self._grouped = documents_of(dtype), grouped
        self._itemsize = little_endian(dtype).itemsize
        self._documents = RunWriter(self._table, work, name, memory=memory - memory // 8)
        self._places = RunWriter(PLACES, work, name, memory=memory // 8)

    def __enter__(self) -> EncodedDocuments:
        with ExitStack() as opening:
            opening.enter_context(self._documents)
            opening.enter_context(self._places)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._open.__exit__(*exc)

    def add(self, some: Documents) -> None:
        """Append documents."""
        n = len(some.counts)
        bounds = np.concatenate([[0], np.cumsum(some.counts)]) * self._itemsize
        encoded = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), n, [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(some.ids))]
        )
        columns = {
            "place": pa.array(some.places),
            "path": pa.array(some.paths, pa.large_string()),
            "line": pa.array(some.lines),
            "id": pa.array(some.names, pa.large_string()),
            "source": pa.array(some.sources, pa.large_string()),
            "part": pa.array(some.part.astype(np.int32)),
            "parts": pa.array(some.parts.astype(np.int32)),
            "offset": pa.array(some.offsets),
            "ids": encoded,
        }
        documents = pa.RecordBatch.from_arrays(list(columns.values()), schema=self._table.schema)
        places = pa.RecordBatch.from_arrays([columns["place"], pa.array(some.counts)], schema=PLACES.schema)
        for source in sorted({one or "" for one in some.sources}) if self._grouped else [""]:
            mine = pc.equal(columns["source"], source) if self._grouped else None
            for writer, records in ((self._documents, documents), (self._places, places)):
                writer.add(records if mine is None else records.filter(mine), group=source)

    @property
    def places(self) -> dict[str, RunFile]:
        """Where each document goes, and how many tokens it has: by source where they are grouped, else under `""`."""
        return self._places.groups

    @property
    def documents(self) -> dict[str, RunFile]:
        """The documents, likewise."""
        return self._documents.groups

    @property
    def outputs(self) -> list[OutputFile]:
        """Both files, as outputs of the work folder."""
        return [*self._places.outputs, *self._documents.outputs]


# --- where shards begin and end --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Units:
    """Consecutive places: what is never cut, `rows` and `tokens` of each."""

    places: Places
    rows: Counts
    tokens: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class CutParts:
    """Finds where shards begin and end. Called with sources (None: all mixed) and places; a payload for `parts_of`."""

    work: str
    limit: int
    n_parts: int | None
    memory: int

    def __call__(self, spec: Sequence[tuple[str | None, Partition]]) -> TaskResult:
        parts = [
            plan_parts(self.work, places, source=source, limit=self.limit, n_parts=self.n_parts, memory=self.memory)
            for source, places in spec
        ]
        return TaskResult(payload={"parts": msgspec.to_builtins(parts)})


def parts_of(payload: Mapping[str, Any]) -> list[list[Part]]:
    """The parts that `CutParts` has found, of each source."""
    return msgspec.convert(payload["parts"], list[list[Part]])


def plan_parts(
    work: str,
    places: Partition,
    *,
    limit: int,
    memory: int,
    n_parts: int | None = None,
    source: str | None = None,
) -> list[Part]:
    """All documents, by place, in parts of even size as `cut` makes them; `memory` bytes are held at most."""
    series = _series(work, places, memory)
    bounds = cut(lambda: (units.tokens for units in series()), limit=limit, n_parts=n_parts)
    firsts, n_before = [0] * (len(bounds) - 1), 0
    rows, tokens = np.zeros(len(firsts), np.int64), np.zeros(len(firsts), np.int64)
    inner = np.array(bounds[:-1])
    for units in series():
        number = np.arange(n_before, n_before + len(units.places))
        part = np.searchsorted(inner, number, side="right") - 1
        np.add.at(rows, part, units.rows)
        np.add.at(tokens, part, units.tokens)
        for index in np.flatnonzero((inner >= n_before) & (inner < n_before + len(number)) & (inner > 0)).tolist():
            firsts[index] = int(units.places[inner[index] - n_before])
        n_before += len(number)
    return [
        Part(index=index, first=first, rows=int(rows[index]), tokens=int(tokens[index]), source=source)
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
    """Consecutive documents of a shard: all ids, how many each has, and the rows of a `TokenShardWriter`."""

    ids: memoryview
    counts: Counts
    rows: pa.Table


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
    columns = {name: records[name] for name in ("id", "source", "path", "line", "part", "parts", "offset")}
    return Block(
        ids=memoryview(values)[int(bounds[0]) : int(bounds[-1])],
        counts=np.diff(bounds) // itemsize,
        rows=pa.table(columns),
    )
