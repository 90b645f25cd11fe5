"""What differs between two versions of a corpus, of a mix or of token shards: documents gained, lost, changed, renamed.

version -> its documents (key of the id, key of the text) and, of a mix, its decisions -> sorted by id
ids     -> same, changed; what only one version has -> sorted by text
texts   -> renamed; the rest is lost or gained
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import xxhash

from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import RunFile, RunWriter, Table, in_groups, read_sorted, whole_runs
from dolma.data.manifest import read_manifest
from dolma.data.tokens import NAME as TOKENS
from dolma.data.tokens import TokenShard, read_token_manifest
from dolma.errors import ConfigError
from dolma.lookup.measured import row_batches
from dolma.mixers.decisions import DECISIONS
from dolma.printable import printable
from dolma.tokens.formats.table import read_ids

_MEMORY = 256 << 20
_DOCUMENTS, _ROWS = "documents", "rows"
_SAID, _KEPT = ("a", "b"), ""
_OF_DECISION = 2  # added to the side of a record that is a decision
_NOT_READ = "not in the documents that it was made of"
_SCHEMA = pa.schema(
    {
        "id_key": pa.uint64(),
        "text_key": pa.uint64(),
        "side": pa.int32(),
        "source": pa.large_string(),
        "documents": pa.int64(),
        "bytes": pa.int64(),
        "tokens": pa.int64(),
        "reason": pa.large_string(),
        "id": pa.large_string(),
    }
)
_BY_ID = Table(name="by_id", schema=_SCHEMA, key=("id_key",))
_BY_TEXT = Table(name="by_text", schema=_SCHEMA, key=("text_key",))
Record = dict[str, Any]


class Amount(msgspec.Struct, kw_only=True):
    """Documents, and the bytes of their texts and their tokens where these are known."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    def add(self, record: Record) -> None:
        self.documents += record["documents"]
        self.bytes += record["bytes"]
        self.tokens += record["tokens"]


class SourceDiff(msgspec.Struct, kw_only=True):
    """One source in both versions: all that each has, and of that what is the same, changed, renamed, lost, gained.

    `changed` and `renamed` have the amounts of the second version.
    """

    source: str
    a: Amount = msgspec.field(default_factory=Amount)
    b: Amount = msgspec.field(default_factory=Amount)
    same: Amount = msgspec.field(default_factory=Amount)
    changed: Amount = msgspec.field(default_factory=Amount)
    renamed: Amount = msgspec.field(default_factory=Amount)
    lost: Amount = msgspec.field(default_factory=Amount)
    gained: Amount = msgspec.field(default_factory=Amount)


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting with two values; None where a version does not have it."""

    key: str
    a: Any
    b: Any


class Diff(msgspec.Struct, kw_only=True):
    """What differs. `reasons` counts lost and gained documents by what the mix that lacks them said of them.

    `examples` are ids, by kind: changed, renamed (`old -> new`), lost, gained.
    """

    a: str
    b: str
    settings: list[Setting]
    sources: list[SourceDiff]
    reasons: dict[str, dict[str, int]]
    examples: dict[str, list[str]]

    @property
    def equal(self) -> bool:
        """Whether both have the same documents."""
        return all(one.same == one.a == one.b for one in self.sources)


def diff(a: str, b: str, *, reading: Reading | None = None, examples: int = 5) -> Diff:
    """What differs between two folders: of documents, of a mix, of token shards.

    Documents are matched by id, then by text: one that has the text of another under a new id is renamed. Memory does
    not grow with the versions; records of both, some hundred bytes a document, lie in a temporary folder (`TMPDIR`).

    Raises:
        ConfigError: one is no such folder, or they are of two kinds.
        DataError: a file cannot be read.
    """
    reading = reading or Reading()
    kinds = [_kind(path) for path in (a, b)]
    if ("tokens" in kinds) != (kinds == ["tokens", "tokens"]):
        raise ConfigError(
            f"{printable(a)} has {kinds[0]}, {printable(b)} has {kinds[1]}\n  give two versions of one kind"
        )
    found = Diff(a=a, b=b, settings=_settings(a, b), sources=[], reasons={"lost": {}, "gained": {}}, examples={})
    with tempfile.TemporaryDirectory(prefix="dolma-diff-") as work:
        files = []
        for side, path in enumerate((a, b)):
            with RunWriter(_BY_ID, work, _SAID[side], memory=_MEMORY) as writer:
                for records in _records(path, kinds[side], _as_written(path, reading), side):
                    writer.add(pa.RecordBatch.from_pydict(records, schema=_SCHEMA))
            files.append(writer.file)
        _Comparison(found, examples=examples, decided=[_has_decisions(path) for path in (a, b)]).run(work, files)
    return found


def _as_written(path: str, reading: Reading) -> Reading:
    """How the documents that a mix wrote are read: their fields have the names that it read."""
    manifest = None if "*" in path else read_manifest(path)
    return reading if manifest is None else reading.as_made(manifest.config)


def _kind(path: str) -> str:
    if streams.exists(streams.join(path, TOKENS)):
        return "tokens"
    if not streams.is_url(path) and not os.path.exists(path) and not any(mark in path for mark in "*?["):
        raise ConfigError(f"{printable(path)}: no such file or folder\n  give two folders, files or patterns in quotes")
    return "documents"


def _has_decisions(path: str) -> bool:
    return bool(streams.entries_below(streams.join(path, DECISIONS))) if "*" not in path else False


# --- what a version has ----------------------------------------------------------------------------------------------


def _records(path: str, kind: str, reading: Reading, side: int) -> Iterator[dict[str, list[Any]]]:
    """Columns of `_SCHEMA`, some documents or decisions at a time."""
    if kind == "tokens":
        yield from _of_shards(path, side)
        return
    below = streams.join(path, _DOCUMENTS)
    is_home = "*" not in path and bool(streams.entries_below(below))
    yield from _of_documents(below if is_home else path, path if is_home else None, reading, side)
    if _has_decisions(path):
        yield from _of_decisions(path, side)


def _of_documents(pattern: str, home: str | None, reading: Reading, side: int) -> Iterator[dict[str, list[Any]]]:
    for shard in Dataset(documents=(pattern,)).shards():
        copies = _copies(home, shard.path) if home is not None else None
        for batch in read_batches(shard, reading, intake=Intake()):
            ids = list(batch.ids)
            if copies is not None:  # `a#2` is the document `a` once more
                suffixes = ["" if not copy else f"#{copy + 1}" for copy in (next(copies, 0) for _ in ids)]
                ids = [id.removesuffix(suffix) for id, suffix in zip(ids, suffixes, strict=True)]
            keys = [xxhash.xxh3_64_intdigest(batch.encoded(i)) for i in range(len(batch))]
            sizes = batch.n_bytes.tolist()
            yield _columns(ids, side, texts=keys, sources=list(batch.sources), sizes=sizes)


def _copies(home: str, path: str) -> Iterator[int] | None:
    """The number of the copy of each document of a file that a mix wrote; None where it says nothing."""
    stem = path.removeprefix(streams.join(home, _DOCUMENTS, ""))
    while stem and not streams.exists(rows := streams.join(home, _ROWS, f"{stem}.parquet")):
        stem = os.path.splitext(stem)[0] if "." in os.path.basename(stem) else ""
    return _column(rows, "copy") if stem else None


def _column(path: str, name: str) -> Iterator[Any]:
    for batch in row_batches(path, columns=[name]):
        yield from batch[name].to_pylist()


def _of_decisions(home: str, side: int) -> Iterator[dict[str, list[Any]]]:
    """What the mix said of the documents that it did not write."""
    folder = streams.join(home, DECISIONS)
    columns = ["id", "rules", "held_out", "copies", "source"]
    for path in sorted(streams.entries_below(folder)):
        for batch in row_batches(streams.join(folder, path), columns=columns):
            rows = [row for row in batch.to_pylist() if not row["copies"]]
            reasons = [
                row["rules"][0] if row["rules"] else "held out" if row["held_out"] else "sampled out" for row in rows
            ]
            ids, sources = [row["id"] for row in rows], [row["source"] for row in rows]
            yield _columns(ids, side + _OF_DECISION, sources=sources, reasons=reasons)


def _of_shards(folder: str, side: int) -> Iterator[dict[str, list[Any]]]:
    manifest = read_token_manifest(folder)
    for info in manifest.shards:
        path = streams.join(folder, info.path)
        shard = TokenShard(path, manifest.dtype, ids=read_ids(path, manifest))
        for batch in shard.rows.select(["start", "end", "id", "source", "path", "part"]).to_batches():
            starts, ends = batch["start"].to_pylist(), batch["end"].to_pylist()
            keys = [
                xxhash.xxh3_64_intdigest(np.ascontiguousarray(shard.ids[start:end]).tobytes())
                for start, end in zip(starts, ends, strict=True)
            ]
            named = zip(batch["source"].to_pylist(), batch["path"].to_pylist(), strict=True)
            sources = [source or path.split("/")[0] for source, path in named]
            counts = [end - start for start, end in zip(starts, ends, strict=True)]
            firsts = [int(not part) for part in batch["part"].to_pylist()]
            yield _columns(batch["id"].to_pylist(), side, texts=keys, sources=sources, tokens=counts, documents=firsts)


def _columns(
    ids: list[str],
    side: int,
    *,
    sources: list[str],
    texts: list[int] | None = None,
    sizes: list[int] | None = None,
    tokens: list[int] | None = None,
    reasons: list[str] | None = None,
    documents: list[int] | None = None,
) -> dict[str, list[Any]]:
    zeros = [0] * len(ids)
    return {
        "id_key": [xxhash.xxh3_64_intdigest(id.encode()) for id in ids],
        "text_key": texts or zeros,
        "side": [side] * len(ids),
        "source": sources,
        "documents": documents or [1] * len(ids),
        "bytes": sizes or zeros,
        "tokens": tokens or zeros,
        "reason": reasons or [_KEPT] * len(ids),
        "id": ids,
    }


# --- comparison ------------------------------------------------------------------------------------------------------


class _Comparison:
    """Fills a `Diff`. `decided`: whether each version is a mix, which says why it lacks a document."""

    def __init__(self, found: Diff, *, examples: int, decided: Sequence[bool]) -> None:
        self._found, self._n_examples, self._decided = found, examples, decided
        self._sources: dict[str, SourceDiff] = {}
        self._reasons: dict[str, Counter[str]] = {"lost": Counter(), "gained": Counter()}
        self._examples: dict[str, list[str]] = {kind: [] for kind in ("changed", "renamed", "lost", "gained")}

    def run(self, work: str, files: Sequence[RunFile]) -> None:
        with RunWriter(_BY_TEXT, work, "alone", memory=_MEMORY) as alone:
            for group in _grouped(_BY_ID, work, files, key=lambda one: (one["id_key"], one["id"])):
                left = self._by_id(group)
                if left:
                    columns = {name: [one[name] for one in left] for name in _SCHEMA.names}
                    alone.add(pa.RecordBatch.from_pydict(columns, schema=_SCHEMA))
        for group in _grouped(_BY_TEXT, work, [alone.file], key=itemgetter("text_key")):
            self._by_text(group)
        self._found.sources = sorted(self._sources.values(), key=lambda one: one.source)
        self._found.reasons = {kind: dict(counts.most_common()) for kind, counts in self._reasons.items()}
        self._found.examples = self._examples

    def _by_id(self, group: Sequence[Record]) -> list[Record]:
        """Count what is known of one id; what is left has no such id in the other version, and may be renamed."""
        sides = [[one for one in group if one["side"] == side] for side in (0, 1)]
        for side, name in enumerate(_SAID):
            for one in sides[side]:
                getattr(self._of(one), name).add(one)
        texts = Counter(one["text_key"] for one in sides[0]) & Counter(one["text_key"] for one in sides[1])
        left: list[list[Record]] = [[], []]
        for side in (0, 1):
            equal = Counter(texts)
            for one in sides[side]:
                if equal[one["text_key"]]:
                    equal[one["text_key"]] -= 1
                    if side:
                        self._of(one).same.add(one)
                else:
                    left[side].append(one)
        for before, after in zip(*left, strict=False):
            self._of(after).changed.add(after)
            self._example("changed", before["id"])
        n_changed = min(map(len, left))
        others = [one for one in group if one["side"] >= _OF_DECISION]
        rest = []
        for side in (0, 1):
            said = next((one["reason"] for one in others if one["side"] == 1 - side + _OF_DECISION), None)
            known = "there less often" if sides[1 - side] else said
            for one in left[side][n_changed:]:
                if known is not None:
                    self._alone(side, one, known)
                else:
                    rest.append(one | {"reason": _NOT_READ if self._decided[1 - side] else _KEPT})
        return rest

    def _by_text(self, group: Sequence[Record]) -> None:
        sides = [[one for one in group if one["side"] == side] for side in (0, 1)]
        for before, after in zip(*sides, strict=False):
            self._of(after).renamed.add(after)
            self._example("renamed", f"{before['id']} -> {after['id']}")
        n_renamed = min(map(len, sides))
        for side in (0, 1):
            for one in sides[side][n_renamed:]:
                self._alone(side, one, one["reason"])

    def _alone(self, side: int, record: Record, reason: str) -> None:
        """Count what only one version has."""
        kind = ("lost", "gained")[side]
        getattr(self._of(record), kind).add(record)
        self._example(kind, record["id"])
        if reason:
            self._reasons[kind][reason] += record["documents"]

    def _of(self, record: Record) -> SourceDiff:
        return self._sources.setdefault(record["source"], SourceDiff(source=record["source"]))

    def _example(self, kind: str, said: str) -> None:
        if len(self._examples[kind]) < self._n_examples:
            self._examples[kind].append(said)


def _grouped(
    table: Table, work: str, files: Sequence[RunFile], *, key: Callable[[Record], Any]
) -> Iterator[list[Record]]:
    """The records with one key, group by group."""
    for records in in_groups(table, read_sorted(table, work, whole_runs(files), memory=_MEMORY)):
        rows = records.to_pylist()
        if table is _BY_ID:  # ids of one hash are told apart
            rows.sort(key=lambda one: (one["id_key"], one["id"]))
        for _, group in groupby(rows, key=key):
            yield list(group)


# --- settings --------------------------------------------------------------------------------------------------------


def _settings(a: str, b: str) -> list[Setting]:
    manifests = [read_manifest(path) if "*" not in path else None for path in (a, b)]
    if any(manifest is None for manifest in manifests):
        return []
    return differing(*(manifest.config for manifest in manifests if manifest is not None))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Setting]:
    """The settings that differ, by their paths in sorted order.

    >>> [(one.key, one.a, one.b) for one in differing({"x": {"y": 1}, "z": [1]}, {"x": {"y": 2}, "z": [1]})]
    [('x.y', 1, 2)]
    """
    first, second = dict(_flat(a)), dict(_flat(b))
    return [
        Setting(key=key, a=first.get(key), b=second.get(key))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(one, Mapping) and one:
            yield from _flat(one, path)
        else:
            yield path, one
