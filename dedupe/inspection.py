"""What a dedupe has joined, to be looked at: pairs of documents and what differs between their texts."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from dolma.data.attributes import AttributeReader, attribute_schema
from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.shards import Shard
from dolma.errors import ConfigError, did_you_mean

MOST_WORDS = 20_000
"""Words of each text that are compared; finding differences takes longer than linear time."""
_AROUND = 4  # equal words that are shown before a difference
_COLUMNS = ("duplicate", "cluster", "cluster_size", "kept_id")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A difference: words before it, and what the kept document and the duplicate have there."""

    before: str
    kept: str
    duplicate: str


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A duplicate and the document that is kept in its place. `equal`: the compared words are the same."""

    id: str
    file: str
    line: int
    kept_id: str
    kept_file: str
    kept_line: int
    cluster: int
    cluster_size: int
    similarity: float | None
    equal: bool
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class _Row:
    shard: int
    row: int
    id: str
    cluster: int
    cluster_size: int
    kept_id: str
    similarity: float | None


def inspect(
    dataset: Dataset,
    name: str,
    *,
    pairs: int = 5,
    above: float = 0.0,
    below: float = 1.0,
    reading: Reading | None = None,
    reference: Dataset | None = None,
) -> list[Pair]:
    """Pairs of the attribute set `name`, the least similar first; then in corpus order.

    Only those with a similarity of `above` to `below` are taken; all of a set that has none. At most `pairs`, and one
    of each cluster. Kept documents that are not of the dataset are those of the `reference`, by their ids.

    Raises:
        ConfigError: there is no such set, it has no clusters, or a kept document is not found.
        DataError: the attributes are not those of the documents.
    """
    shards = dataset.shards()
    files = [found for _, found in dataset.attribute_files(name, shards)]
    _check(dataset, name, shards, files)
    least = _by_cluster(_rows(files, above=above, below=below))
    chosen = heapq.nsmallest(pairs, least, key=lambda row: (row.similarity or 0.0, row.shard, row.row))
    kept = _kept_of(files, {row.cluster: row.kept_id for row in chosen})
    reading = reading or Reading()
    texts = _texts(shards, [*((row.shard, row.row) for row in chosen), *kept.values()], reading)
    elsewhere = _by_id(reference, {row.kept_id for row in chosen if row.cluster not in kept}, reading)
    found = []
    for row in chosen:
        line, text = texts[row.shard, row.row]
        if row.cluster in kept:
            kept_file, (kept_line, kept_text) = shards[kept[row.cluster][0]].path, texts[kept[row.cluster]]
        else:
            kept_file, kept_line, kept_text = elsewhere[row.kept_id]
        changes = list(changed(kept_text, text))
        found.append(
            Pair(
                id=row.id,
                file=shards[row.shard].path,
                line=line,
                kept_id=row.kept_id,
                kept_file=kept_file,
                kept_line=kept_line,
                cluster=row.cluster,
                cluster_size=row.cluster_size,
                similarity=row.similarity,
                equal=not changes,
                changes=changes,
            )
        )
    return found


def changed(kept: str, duplicate: str) -> Iterator[Change]:
    """Where the words of two texts differ, by white space; of the first `MOST_WORDS` of each.

    >>> [(one.kept, one.duplicate) for one in changed("a b c d", "a x c d e")]
    [('b', 'x'), ('', 'e')]
    """
    words, others = kept.split()[:MOST_WORDS], duplicate.split()[:MOST_WORDS]
    matcher = difflib.SequenceMatcher(a=words, b=others, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind != "equal":
            yield Change(
                before=" ".join(words[max(start - _AROUND, 0) : start]),
                kept=" ".join(words[start:end]),
                duplicate=" ".join(others[other_start:other_end]),
            )


def _check(dataset: Dataset, name: str, shards: list[Shard], files: Sequence[str | None]) -> None:
    first = next((file for file in files if file), None)
    if first is None:
        there = dataset.attribute_names(shards)
        hint = did_you_mean(name, there) if there else "run `dolma dedupe` first, or say where attributes lie"
        raise ConfigError(f"there is no attribute set {name!r}\n  {hint}")
    if missing := set(_COLUMNS) - attribute_schema(first).keys():
        raise ConfigError(
            f"{name!r} has no {sorted(missing)[0]!r}: it says nothing of clusters of documents\n"
            "  name a set of `dolma dedupe` that compares documents, not paragraphs"
        )


def _rows(files: Sequence[str | None], *, above: float, below: float) -> Iterator[_Row]:
    for shard, file in enumerate(files):
        if not file:
            continue
        columns = ["similarity"] if "similarity" in attribute_schema(file) else []
        at = 0
        with AttributeReader(file, ["id", *_COLUMNS, *columns]) as reader:
            for batch in reader.batches():
                for i, row in enumerate(batch.to_pylist()):
                    similarity = row.get("similarity")
                    if not row["duplicate"] or row["kept_id"] is None:
                        continue
                    if similarity is None or above <= similarity <= below:
                        yield _Row(
                            shard, at + i, row["id"], row["cluster"], row["cluster_size"], row["kept_id"], similarity
                        )
                at += len(batch)


def _by_cluster(rows: Iterator[_Row]) -> Iterator[_Row]:
    """The least similar row of each cluster."""
    least: dict[int, _Row] = {}
    for row in rows:
        if row.cluster not in least or (row.similarity or 0.0) < (least[row.cluster].similarity or 0.0):
            least[row.cluster] = row
    yield from least.values()


def _kept_of(files: Sequence[str | None], wanted: dict[int, str]) -> dict[int, tuple[int, int]]:
    """The shard and row of the kept document of each of these clusters."""
    found: dict[int, tuple[int, int]] = {}
    for shard, file in enumerate(files):
        if not file or len(found) == len(wanted):
            continue
        at = 0
        with AttributeReader(file, ["id", "cluster", "duplicate"]) as reader:
            for batch in reader.batches():
                for i, row in enumerate(batch.to_pylist()):
                    is_kept = not row["duplicate"] and wanted.get(row["cluster"]) == row["id"]
                    if is_kept:
                        found.setdefault(row["cluster"], (shard, at + i))
                at += len(batch)
    return found


def _by_id(reference: Dataset | None, wanted: set[str], reading: Reading) -> dict[str, tuple[str, int, str]]:
    """File, line and text of the first document with each of these ids."""
    found: dict[str, tuple[str, int, str]] = {}
    for shard in reference.shards() if reference is not None and wanted else ():
        for batch in read_batches(shard, reading, intake=Intake()):
            for i, id in enumerate(batch.ids):
                if id in wanted:
                    found.setdefault(id, (shard.path, int(batch.lines[i]), batch.text(i)))
    if missing := wanted - found.keys():
        raise ConfigError(
            f"the kept document {min(missing)!r} is none of these documents\n"
            "  it was a reference of the dedupe: give `--reference` as then"
        )
    return found


def _texts(
    shards: Sequence[Shard], wanted: Sequence[tuple[int, int]], reading: Reading
) -> dict[tuple[int, int], tuple[int, str]]:
    """The line and the text of each of these documents, by shard and row."""
    found = {}
    for shard in sorted({shard for shard, _ in wanted}):
        rows = sorted({row for of, row in wanted if of == shard})
        at = 0
        for batch in read_batches(shards[shard], reading, intake=Intake()):
            while rows and rows[0] < at + len(batch):
                row = rows.pop(0)
                found[shard, row] = int(batch.lines[row - at]), batch.text(row - at)
            at += len(batch)
            if not rows:
                break
    return found
