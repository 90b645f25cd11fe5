"""Clusters that lose documents: where the kept one goes, the next of its copies is kept.

That is the first in corpus order, and of a set that keeps the last one the last: by what else the kept one was chosen,
attributes do not say. Which documents are in a cluster stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from dolma.data.attributes import AttributeReader, attribute_schema
from dolma.data.dataset import is_native
from dolma.data.dolma1 import key_of
from dolma.removal.find import attribute_files
from dolma.removal.places import FileSetThere

COLUMNS = ("duplicate", "cluster", "cluster_size", "kept_id")


class Row(msgspec.Struct, kw_only=True):
    """What an attribute file says of a document; `changed` once that is no longer so."""

    path: str
    row: int
    id: str
    duplicate: bool
    cluster: int | None
    cluster_size: int
    kept_id: str | None
    changed: bool = False
    moved: bool = False

    def set(self, **values: Any) -> None:
        """Say something else."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)
                self.changed = True


Rows = dict[str, dict[int, Row]]
"""By the path of an attribute file and the number of the row in it, from 0."""


class Reclustered(msgspec.Struct, frozen=True, kw_only=True):
    """What of some clusters goes, what is to be said of documents that stay, and how many clusters keep another one."""

    removed: list[Row] = []
    changed: Rows = {}
    moved: int = 0

    @property
    def ids(self) -> set[str]:
        """The documents that stay and of which something else is to be said."""
        return {row.id for rows in self.changed.values() for row in rows.values()}


def reclustered(sets: Sequence[FileSetThere], ids: set[str]) -> Reclustered:
    """What a take-down does to the clusters of these sets, which one dedupe has written; nothing to others."""
    paths = [
        path
        for one in sets
        for path in attribute_files(one)
        if set(COLUMNS) <= one.manifest.config.get("outputs", {}).keys()
    ]
    keep_last = any(one.manifest.config.get("keep") == "last" for one in sets)
    removed = [row for row in _rows(paths) if row.id in ids]
    gone: dict[int, set[str]] = {}
    n_gone: dict[int, int] = {}
    for row in removed:
        if row.cluster is not None:
            gone.setdefault(row.cluster, set()).add(row.id)
            n_gone[row.cluster] = n_gone.get(row.cluster, 0) + 1
    clusters: dict[int, list[Row]] = {cluster: [] for cluster in gone}
    for row in _rows(paths) if gone else ():
        if row.cluster in clusters and row.id not in ids:
            clusters[row.cluster].append(row)
    moved = sum(
        _settle(members, n_gone[cluster], gone[cluster], keep_last=keep_last) for cluster, members in clusters.items()
    )
    changed: Rows = {}
    for row in (row for members in clusters.values() for row in members if row.changed):
        changed.setdefault(row.path, {})[row.row] = row
    return Reclustered(removed=removed, changed=changed, moved=moved)


def _rows(paths: Iterable[str]) -> Iterable[Row]:
    for path in paths:
        known = attribute_schema(path).keys()
        at = 0
        with AttributeReader(path, COLUMNS if is_native(path) else None) as reader:
            for batch in reader.batches():
                values = {name: batch[name].to_pylist() for name in COLUMNS if name in known}
                nothing = [None] * len(batch)
                for i, id in enumerate(batch["id"].to_pylist()):
                    said = {name: values.get(name, nothing)[i] for name in COLUMNS}
                    yield Row(
                        path=path,
                        row=at + i,
                        id=id,
                        duplicate=bool(said["duplicate"]),
                        cluster=said["cluster"],
                        cluster_size=said["cluster_size"] or 1,
                        kept_id=said["kept_id"],
                    )
                at += len(batch)


def _settle(members: list[Row], n_gone: int, gone: set[str], *, keep_last: bool) -> bool:
    """Say what is so of the rest of a cluster; whether another document is kept now."""
    dependent = [row for row in members if row.kept_id in gone]
    for row in members:
        row.set(cluster_size=row.cluster_size - n_gone)
    if dependent:
        next_kept = dependent[-1 if keep_last else 0]
        next_kept.set(duplicate=False, kept_id=None)
        for row in dependent:
            row.moved = True
            if row is not next_kept:
                row.set(kept_id=next_kept.id)
    for row in members:
        if row.cluster_size <= 1:  # without a copy
            row.set(duplicate=False, cluster=None, cluster_size=1, kept_id=None)
    return bool(dependent)


def with_rows(batch: pa.RecordBatch, first: int, rows: Mapping[int, Row]) -> pa.RecordBatch:
    """The batch, of which the first row has this number, with what `rows` say; a similarity to what went is null."""
    mine = {number - first: row for number, row in rows.items() if first <= number < first + len(batch)}
    if not mine:
        return batch
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name in COLUMNS or field.name == "similarity":
            values = column.to_pylist()
            for i, row in mine.items():
                if field.name in COLUMNS:
                    values[i] = getattr(row, field.name)
                elif row.moved or row.cluster is None:
                    values[i] = None
            column = pa.array(values, field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def dolma1_with_row(record: dict[str, Any], row: Row, one: FileSetThere) -> dict[str, Any]:
    """A record of the form of Dolma 1.x with what `row` says."""

    def key(output: str) -> str:
        return key_of(output, tagger=one.manifest.name, experiment=one.manifest.config.get("experiment"))

    attributes = dict(record["attributes"])
    start, end, _ = attributes[key("cluster_size")][0]
    outdated = [key("duplicate"), key("cluster"), key("cluster_size"), *([key("similarity")] if row.moved else [])]
    kept = {
        name: spans
        for name, spans in attributes.items()
        if name not in outdated and not name.startswith(f"{key('kept_id')}__")
    }
    said: dict[str, Any] = {key("duplicate"): float(row.duplicate), key("cluster_size"): row.cluster_size}
    if row.cluster is not None:
        said[key("cluster")] = row.cluster
    if row.kept_id is not None:
        said[f"{key('kept_id')}__{row.kept_id}"] = 1.0
    return record | {"attributes": kept | {name: [[start, end, value]] for name, value in said.items()}}
