"""`DedupeNotes`: what a dedupe found, by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dolma.printable import counted, printable
from dolma.runner.report import Table

_NAMED = 5  # sources in a message


class SourceCopies(msgspec.Struct, frozen=True, kw_only=True):
    """Documents, or paragraphs, of one source, and how many of them are duplicates.

    Where documents are compared: `unique` are those without a copy (a Bloom filter: those that it did not know; of
    benchmarks: those that hold no item), and bytes those of texts, of all and of duplicates.
    """

    source: str
    seen: int
    duplicates: int
    unique: int = 0
    bytes: int = 0
    duplicate_bytes: int = 0


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """How many documents of a source are duplicates of documents of a source that are kept."""

    source: str
    kept_source: str
    documents: int


class NearNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted where near-duplicates are looked for.

    `compared`: pairs of documents whose shingles were compared, `alike`: those of them that reached the threshold,
    `by_chain`: documents of a cluster that do not reach it with the one that is kept.
    """

    clusters: int
    compared: int
    alike: int
    by_chain: int


class BloomNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a Bloom filter: its size, `items` of this corpus, how many were put in; equal ones count too.

    `error`: the share of unseen items that it takes for known at the end, by how full its blocks are; `asked`: at most.
    """

    bytes: int
    hashes: int
    items: int
    held: int
    asked: float
    error: float


class BenchmarkHits(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one benchmark: of its items, how many are too short to be looked for, and how many were found.

    `documents` counts those that hold one or more of them.
    """

    benchmark: str
    items: int
    too_short: int
    found: int
    documents: int


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """How many of some items were found that were put into copies of documents in some manner."""

    items: str
    manner: str
    planted: int
    found: int


class Contamination(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted where items of benchmarks are looked for; `recall` only where that was asked for."""

    benchmarks: list[BenchmarkHits]
    recall: list[Recall] = []


class GrowthNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a set that goes on from an index: the documents that were there before.

    `rewritten` are the attribute files of these whose rows have changed; `unchanged` counts the others.
    """

    documents: int
    rewritten: list[str]
    unchanged: int


class DedupeNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest of a dedupe says beside its ledger; `duplicates` are of the `unit`, documents or paragraphs.

    `without_key` counts documents that can have no copy, as they lack the field or have no shingles. `references` are
    the documents that they were compared with and that are never marked. `without_documents` are sources that
    `priority` names, and of which there is no document.
    """

    unit: str = "documents"
    documents: int = 0
    duplicates: int = 0
    without_key: int = 0
    sources: list[SourceCopies] = []
    overlaps: list[Overlap] = []
    near: NearNotes | None = None
    references: int = 0
    references_failed: int = 0
    without_documents: list[str] = []
    bloom: BloomNotes | None = None
    contamination: Contamination | None = None
    growth: GrowthNotes | None = None

    def remarks(self) -> Iterator[str]:
        """What came of it, in lines for a person."""
        seen = sum(source.seen for source in self.sources)
        share = f" ({100 * self.duplicates / seen:.1f} %)" if seen else ""
        if self.contamination is not None:
            n_items = sum(one.items for one in self.contamination.benchmarks)
            n_found = sum(one.found for one in self.contamination.benchmarks)
            yield (
                f"{self.duplicates:,} of {counted(seen, 'document')} hold items of benchmarks{share}; "
                f"{n_found:,} of {counted(n_items, 'item')} found"
            )
            return
        yield f"{self.duplicates:,} of {counted(seen, self.unit.removesuffix('s'))} are duplicates{share}"
        if self.references or self.references_failed:
            failed = f"; {counted(self.references_failed, 'record')} of these could not be read"
            with_failed = failed if self.references_failed else ""
            yield f"compared with {counted(self.references, 'reference document')}{with_failed}"
        if self.growth is not None:
            names = ", ".join(map(printable, self.growth.rewritten[:_NAMED]))
            more = f" and {len(self.growth.rewritten) - _NAMED} more" if len(self.growth.rewritten) > _NAMED else ""
            listed = f": {names}{more}" if names else ""
            yield (
                f"{counted(self.growth.documents, 'document')} were there before; of their files "
                f"{len(self.growth.rewritten):,} are rewritten{listed}, {self.growth.unchanged:,} stay as they were"
            )
        if self.near is not None:
            compared = counted(self.near.compared, "pair")
            yield (
                f"{counted(self.near.clusters, 'cluster')}; {compared} of unequal ones compared, "
                f"{self.near.alike:,} alike; {counted(self.near.by_chain, 'document')} joined by a chain alone"
            )
        if self.bloom is not None:
            yield (
                f"filter: {self.bloom.bytes:,} bytes, {counted(self.bloom.hashes, 'bit')} for each item, "
                f"{counted(self.bloom.held, 'item')} put in; at the end it takes {self.bloom.error:.2g} of new items "
                "for known"
            )

    def warnings(self, max_removal: float, *, never: str | None = None) -> Iterator[str]:
        """What looks wrong: sources without a duplicate, and one of which more than this share are duplicates.

        `never`: the source that can have none.
        """
        if self.without_documents:
            names = ", ".join(map(printable, self.without_documents))
            yield f"`priority` names {names}, of which there is no document\n  write it as it is in `source`"
        found = "are duplicates" if self.contamination is None else "hold items of benchmarks"
        without = [
            printable(one.source) for one in self.sources if one.seen and not one.duplicates and one.source != never
        ]
        if without and self.contamination is None:
            more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
            yield f"no duplicate was found in {', '.join(without[:_NAMED])}{more}"
        if self.bloom is not None and self.bloom.error > 1.1 * self.bloom.asked:
            yield (
                f"the filter takes {self.bloom.error:.2g} of new items for known, more than `false_positive_rate` "
                f"{self.bloom.asked:g}: it is too small for what it holds\n"
                "  leave `filter_items` and `filter_bytes` out, so that it is made for the items that there are"
            )
        for source in self.sources:
            if source.duplicates > max_removal * source.seen:
                yield (
                    f"{source.duplicates:,} of {counted(source.seen, self.unit[:-1])} of {printable(source.source)} "
                    f"{found}, more than `max_removal` {max_removal}\n"
                    "  look at some before a rule drops them: a form or a licence that many texts share may be why"
                )


class Copies:
    """Counts what is written, by source; `unique` and the bytes of documents alone."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.unique: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.duplicate_bytes: Counter[str] = Counter()
        self.overlaps: Counter[tuple[str, str]] = Counter()

    def payload(self) -> dict[str, list[list[str | int]]]:
        """The counts as JSON."""
        by_source = (self.seen, self.duplicates, self.unique, self.bytes, self.duplicate_bytes)
        return {
            "sources": [[source, *(count[source] for count in by_source)] for source in sorted(self.seen)],
            "overlaps": [[*pair, n] for pair, n in sorted(self.overlaps.items())],
        }


def by_source(payloads: Iterable[dict[str, list[list[str | int]]]]) -> tuple[list[SourceCopies], list[Overlap]]:
    """The sums of several payloads of `Copies`, sorted."""
    found: dict[str, list[int]] = {}
    overlaps: Counter[tuple[str, str]] = Counter()
    for payload in payloads:
        for source, *counts in msgspec.convert(payload["sources"], list[tuple[str, int, int, int, int, int]]):
            found[source] = [sum(pair) for pair in zip(found.get(source, [0] * 5), counts, strict=True)]
        for source, kept, n in msgspec.convert(payload["overlaps"], list[tuple[str, str, int]]):
            overlaps[source, kept] += n
    names = ("seen", "duplicates", "unique", "bytes", "duplicate_bytes")
    sources = [
        SourceCopies(source=source, **dict(zip(names, counts, strict=True))) for source, counts in sorted(found.items())
    ]
    pairs = [Overlap(source=source, kept_source=kept, documents=n) for (source, kept), n in sorted(overlaps.items())]
    return sources, pairs


def tables(details: DedupeNotes) -> Iterator[Table]:
    """Duplicates by source, and which sources they are copies of."""
    if details.contamination is not None:
        yield from _of_contamination(details.contamination, details.sources)
        return
    of_documents = details.unit == "documents"
    headers = ["source", details.unit, "duplicates", "share"]
    rows: Sequence[tuple[object, ...]] = [
        (
            *(one.source, one.seen, one.duplicates, f"{100 * one.duplicates / max(one.seen, 1):.1f} %"),
            *((one.unique, one.bytes, one.duplicate_bytes) if of_documents else ()),
        )
        for one in details.sources
    ]
    headers += ["without a copy", "bytes", "bytes of duplicates"] if of_documents else []
    yield Table(title="duplicates", headers=headers, rows=rows)
    if len({one.source for one in details.overlaps} | {one.kept_source for one in details.overlaps}) > 1:
        rows = [(one.source, one.kept_source, one.documents) for one in details.overlaps]
        yield Table(title="copies of", headers=["source", "kept in", "documents"], rows=rows)


def _of_contamination(found: Contamination, sources: Sequence[SourceCopies]) -> Iterator[Table]:
    benchmarks = [(one.benchmark, one.items, one.too_short, one.found, one.documents) for one in found.benchmarks]
    headers = ["benchmark", "items", "too short", "found", "documents"]
    yield Table(title="items of benchmarks", headers=headers, rows=benchmarks)
    held = [(one.source, one.seen, one.duplicates) for one in sources]
    yield Table(title="documents that hold some", headers=["source", "documents", "with items"], rows=held)
    if found.recall:
        recall = [
            (one.items, one.manner, one.planted, one.found, f"{one.found / one.planted:.1%}") for one in found.recall
        ]
        yield Table(title="self-check", headers=["items", "put in", "planted", "found", "recall"], rows=recall)
