"""One file after the other without the documents that go, written where `Staging` says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dolma.data import streams
from dolma.data.attributes import filtered_attributes
from dolma.data.dataset import is_native
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.fields import name_of
from dolma.data.formats.table import format_of
from dolma.data.json_text import decode_json
from dolma.data.shards import Shard
from dolma.data.streams import Written
from dolma.errors import DataError
from dolma.mixers.rows import RowsWriter
from dolma.removal.clusters import Row, dolma1_with_row, with_rows
from dolma.removal.ids import ids_in
from dolma.removal.places import FileSetThere

Table = list[dict[str, Any]]
HITS, ITEMS = "_hits.jsonl", "_items.jsonl"
"""What a search for benchmarks writes beside its attributes: lines on documents, and on items with one of these."""


# --- documents -------------------------------------------------------------------------------------------------------


def without_lines(shard: Shard, lines: Sequence[int], out: str, reading: Reading) -> Written:
    """A file of documents without the records at these lines.

    Raises:
        DataError: its other documents would not be read as before, as with columns of a kind that is not written so.
    """
    removed = np.unique(np.array(lines, dtype=np.int64))
    written = format_of(shard.path).without(shard.path, removed, out)
    as_before = _digest(shard, reading, removed)
    now = _digest(replace(shard, path=out, size=written.bytes), reading, removed[:0])
    if as_before != now:
        raise DataError(
            "cannot be written again so that its other documents stay as they are\n"
            "  convert it to JSON lines, or mark it with `--read-only` and remove them by hand",
            file=shard.path,
        )
    return written


def _digest(shard: Shard, reading: Reading, removed: npt.NDArray[np.int64]) -> str:
    """A hash of the documents of a file, with ids and lines, but for those at these lines."""
    digest = xxhash.xxh3_128()
    for batch in read_batches(shard, reading, intake=Intake(), records=True):
        assert batch.records is not None
        stays = ~np.isin(batch.lines, removed)
        for i in np.flatnonzero(stays).tolist():
            digest.update(f"{batch.lines[i]} {batch.ids[i]}\n".encode("utf-8", "surrogatepass"))
            digest.update(batch.records[i])
    return digest.hexdigest()


# --- rows ------------------------------------------------------------------------------------------------------------


def without_rows(path: str, out: str, ids: set[str]) -> tuple[Written, Table]:
    """A file of a mix's rows or decisions without those of these ids, and what these were."""
    removed: Table = []
    with pq.ParquetFile(path) as file, RowsWriter(out, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            gone = pa.array([id in ids for id in table["id"].to_pylist()], pa.bool_())
            removed += table.filter(gone).to_pylist()
            writer.write(table.filter(pa.compute.invert(gone)))
    assert writer.written is not None
    return writer.written, removed


def without_attributes(
    one: FileSetThere, path: str, out: str, ids: set[str], rows: Mapping[int, Row]
) -> tuple[Written, int]:
    """An attribute file without the rows of these ids, and with what `rows` say of others; how many rows it has."""
    if not is_native(path):
        return _dolma1(one, path, out, ids, rows)
    at = 0

    def keep(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal at
        changed = with_rows(batch, at, rows)
        at += len(batch)
        return changed.filter(pa.array([id not in ids for id in batch["id"].to_pylist()], pa.bool_()))

    return filtered_attributes(path, out, keep=keep)


def _dolma1(one: FileSetThere, path: str, out: str, ids: set[str], rows: Mapping[int, Row]) -> tuple[Written, int]:
    n_rows = number = 0
    with streams.open_output(out) as sink:
        for line in streams.read_decompressed(path).split(b"\n"):
            if not line.strip():
                continue
            record = decode_json(line, dict[str, Any])
            if name_of(record["id"]) not in ids:
                if number in rows:
                    line = msgspec.json.encode(dolma1_with_row(record, rows[number], one))
                sink.write(line + b"\n")
                n_rows += 1
            number += 1
    assert sink.written is not None
    return sink.written, n_rows


# --- lines -----------------------------------------------------------------------------------------------------------


def lines_of_ids(path: str, field: str, ids: set[str]) -> dict[int, str]:
    """Which lines of a file, from 0, hold one of these ids under this name, and which: of ids, or of bad records."""
    lines = streams.read_decompressed(path).split(b"\n")
    return {i: id for i, line in enumerate(lines) for id in ids_in(line, field) if id in ids}


def without_text_lines(path: str, lines: Sequence[int], out: str) -> Written:
    """A text file without these lines, from 0."""
    gone = set(lines)
    kept = [line for i, line in enumerate(streams.read_decompressed(path).split(b"\n")) if i not in gone]
    with streams.open_output(out) as sink:
        sink.write(b"\n".join(kept))
    assert sink.written is not None
    return sink.written


def without_ids(path: str, lines: Sequence[int], out: str) -> Written:
    """A file of records, of which those on these lines, from 0, name no document any more."""
    records = streams.read_bytes(path).split(b"\n")
    for i in lines:
        records[i] = msgspec.json.encode(decode_json(records[i], dict[str, Any]) | {"id": None})
    with streams.open_output(out) as sink:
        sink.write(b"\n".join(records))
    assert sink.written is not None
    return sink.written


def write_json(path: str, value: Any) -> Written:
    """A JSON file as stages write it."""
    with streams.open_output(path) as sink:
        sink.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    assert sink.written is not None
    return sink.written


def without_values(value: Any, ids: set[str]) -> Any:
    """Statistics without these texts among the most frequent values of an attribute.

    >>> without_values({"a": {"type": "text", "top": {"a": 1, "b": 2}}}, {"a"})
    {'a': {'type': 'text', 'top': {'b': 2}}}
    """
    if not isinstance(value, dict):
        return value
    if value.get("type") == "text":
        return value | {"top": {text: n for text, n in value["top"].items() if text not in ids}}
    return {key: without_values(item, ids) for key, item in value.items()}


def reasons_of(path: str) -> str:
    """Where the reasons of bad records are, line by line."""
    return path.removesuffix(".jsonl") + ".reasons.jsonl"


def linked_names(path: str) -> int:
    """How many other names of the file there are on its disk, which keep what it held."""
    return os.stat(path).st_nlink - 1
