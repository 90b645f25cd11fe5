"""The waterfall: per rule and source, what the rule drops first, what it alone drops, and a few examples.

A document that several rules drop counts as dropped first by the first of them, in the order keep, drop, groups of
rules, spans, strata, min_length of the recipe. So the "first" columns add up to everything dropped; the "alone" columns
say what would come back if the rule were taken out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.manifest import output_file
from dolma.data.parquet import ParquetOutput
from dolma.printable import printable
from dolma.runner.ledger import Ledger
from dolma.runner.task import TaskResult

SAMPLES = 3
WATERFALL = "waterfall.parquet"
WATERFALL_SCHEMA = pa.schema(
    [
        *(("rule", pa.string()), ("source", pa.string())),
        *((name, pa.int64()) for name in ("documents", "bytes", "alone", "alone_bytes", "total", "total_bytes")),
        ("overlaps", pa.list_(pa.struct([("rule", pa.string()), ("documents", pa.int64())]))),
        ("samples", pa.list_(pa.string())),
    ]
)
MIN_LENGTH = "min_length"
SAMPLED_OUT = "sampled out"
HELD_OUT = "held out"
EDITED_AWAY = "edited away"
"""Of no document, but the bytes that span edits took out of kept texts; below 0 where they put more in."""
_NEARLY_ALL = 0.99


class WaterfallRow(msgspec.Struct, kw_only=True):
    """One rule and one source. `total` are all documents that the rule does not let pass, dropped first or not.

    `overlaps` has how many of these each other rule does not let pass either, where there are any.
    """

    rule: str
    source: str
    documents: int = 0
    bytes: int = 0
    alone: int = 0
    alone_bytes: int = 0
    total: int = 0
    total_bytes: int = 0
    overlaps: dict[str, int] = {}
    samples: list[str] = []

    def add(self, later: WaterfallRow) -> None:
        """Add the row of documents that come later in the corpus."""
        self.documents += later.documents
        self.bytes += later.bytes
        self.alone += later.alone
        self.alone_bytes += later.alone_bytes
        self.total += later.total
        self.total_bytes += later.total_bytes
        self.overlaps = {
            rule: self.overlaps.get(rule, 0) + later.overlaps.get(rule, 0)
            for rule in sorted({*self.overlaps, *later.overlaps})
        }
        self.samples = [*self.samples, *later.samples][:SAMPLES]


class Waterfall:
    """Counts batch by batch; `labels` name the rules in order, the last of them may be `MIN_LENGTH`."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.rows: dict[tuple[int, str], WaterfallRow] = {}

    def add(
        self,
        holds: npt.NDArray[np.bool_],
        *,
        sources: Sequence[str],
        n_bytes: npt.NDArray[np.int64],
        ids: Sequence[str],
    ) -> None:
        """Count a batch; `holds` is bool, `(n_rules, n_docs)`, False where a rule drops the document."""
        fails = ~holds
        if not fails.any():
            return
        n_failing = fails.sum(axis=0)
        first = fails.argmax(axis=0)
        for source, mine in by_source(sources):
            mine &= n_failing > 0
            places, firsts, sizes = np.flatnonzero(mine), first[mine], n_bytes[mine]
            both = overlaps_of(fails[:, mine])
            total_bytes = fails[:, mine].astype(np.float64) @ sizes
            documents, of_documents = _by_rule(firsts, sizes, len(self.labels))
            only = n_failing[mine] == 1
            alone, of_alone = _by_rule(firsts[only], sizes[only], len(self.labels))
            for rule in np.flatnonzero(both.diagonal()).tolist():
                found = places[firsts == rule][:SAMPLES] if documents[rule] else places[:0]
                self._row(rule, source).add(
                    WaterfallRow(
                        rule=self.labels[rule],
                        source=source,
                        documents=int(documents[rule]),
                        bytes=int(of_documents[rule]),
                        alone=int(alone[rule]),
                        alone_bytes=int(of_alone[rule]),
                        total=int(both[rule, rule]),
                        total_bytes=int(total_bytes[rule]),
                        overlaps={
                            self.labels[other]: int(both[rule, other])
                            for other in np.flatnonzero(both[rule]).tolist()
                            if other != rule
                        },
                        samples=[ids[i] for i in found.tolist()],
                    )
                )

    def _row(self, rule: int, source: str) -> WaterfallRow:
        return self.rows.setdefault((rule, source), WaterfallRow(rule=self.labels[rule], source=source))

    def merge(self, rows: Iterable[tuple[int, WaterfallRow]]) -> None:
        """Add the rows of documents that come later in the corpus, each with the index of its rule."""
        for rule, row in rows:
            self._row(rule, row.source).add(row)

    def indexed(self) -> list[tuple[int, WaterfallRow]]:
        """All rows with the index of their rule, by rule and source."""
        return [(rule, self.rows[rule, source]) for rule, source in sorted(self.rows)]

    def complete(
        self, sources: Iterable[str], *, is_about: Callable[[int, str], bool] = lambda rule, source: True
    ) -> list[WaterfallRow]:
        """A row for every rule and each source that it is about, also where nothing was dropped."""
        return [
            self._row(rule, source)
            for rule in range(len(self.labels))
            for source in sorted(sources)
            if is_about(rule, source)
        ]

    def drop(self, ledger: Ledger) -> None:
        """Enter what was dropped into the ledger, by rule."""
        for row in self.rows.values():
            if row.documents:
                ledger.drop(row.source, row.rule, documents=row.documents, bytes=row.bytes)


def _by_rule(
    rules: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], n_rules: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """How many documents there are for each rule, and their bytes, exact below 2**53."""
    return np.bincount(rules, minlength=n_rules), np.bincount(rules, weights=sizes, minlength=n_rules)


def overlaps_of(fired: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many documents each two rules drop both; int64, `(n_rules, n_rules)`. `fired` is bool, `(n_rules, n_docs)`.

    >>> overlaps_of(np.array([[True, True, False], [False, True, True]])).tolist()
    [[2, 1], [1, 2]]
    """
    ones = fired.astype(np.float64)  # exact below 2**53, and many times as fast as whole numbers
    return (ones @ ones.T).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWaterfall:
    """Writes `waterfall.parquet`. Called with the rows."""

    output: str

    def __call__(self, rows: tuple[WaterfallRow, ...]) -> TaskResult:
        values = [msgspec.structs.asdict(row) for row in rows]
        for row in values:
            row["overlaps"] = [{"rule": rule, "documents": n} for rule, n in row["overlaps"].items()]
        path = streams.join(self.output, WATERFALL)
        with ParquetOutput(path, WATERFALL_SCHEMA) as out:
            out.write(pa.Table.from_pylist(values, WATERFALL_SCHEMA))
        return TaskResult(outputs=[output_file(self.output, out.written, rows=len(rows))])


def by_source(sources: Sequence[str]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Each source and which documents are of it, in order of first appearance."""
    names = list(dict.fromkeys(sources))
    if len(names) == 1:
        return [(names[0], np.ones(len(sources), dtype=bool))]
    codes = {name: code for code, name in enumerate(names)}
    code_of = np.fromiter(map(codes.__getitem__, sources), dtype=np.int32, count=len(sources))
    return [(name, code_of == code) for name, code in codes.items()]


def warnings_of(
    rows: Iterable[WaterfallRow], *, taken: Mapping[str, int], kept: int, implicit: Iterable[str]
) -> list[str]:
    """What is worth a look: rules that drop nothing or nearly all of the documents, and an empty result.

    `rows` has one for each rule and source that it is about, `taken` the documents of each source; `implicit` are the
    labels of rules that nobody wrote.
    """
    totals: dict[str, tuple[int, int]] = {}
    for row in rows:
        total, of = totals.get(row.rule, (0, 0))
        totals[row.rule] = total + row.total, of + taken.get(row.source, 0)
    unspoken, found = set(implicit), []
    for rule, (total, of) in totals.items():
        if of and total == 0 and rule not in unspoken:
            found.append(f"the rule `{printable(rule)}` drops no document of {of:,}")
        elif total > _NEARLY_ALL * of:
            found.append(f"the rule `{printable(rule)}` drops {total:,} of {of:,} documents")
    if not kept:
        found.append(f"no document is left of {sum(taken.values()):,}; the output is empty")
    return found


def gone_sources(rows: Iterable[WaterfallRow], taken: Mapping[str, int]) -> list[str]:
    """A warning of the sources of which the rules drop all documents, where some of others are left."""
    first: Counter[str] = Counter()
    for row in rows:
        first[row.source] += row.documents
    gone = [source for source, documents in taken.items() if documents and first[source] == documents]
    if not gone or sum(first.values()) == sum(taken.values()):
        return []
    return [f"the rules drop all documents of {', '.join(map(printable, gone))}"]
