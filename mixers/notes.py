"""`MixNotes`: what the rules, edits and shares of a mix came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from dolma.mixers.mixture import Mixture, SourceRow, StratumRow
from dolma.mixers.waterfall import WaterfallRow
from dolma.runner.ledger import Ledger
from dolma.runner.report import Table, ledger_table

_MOST_PAIRS = 10


class SpanRow(msgspec.Struct, kw_only=True):
    """One span edit: spans replaced (of `keep_only`: stretches deleted), merged with others, and without length."""

    attribute: str
    spans: int
    merged: int
    without_length: int


class MixNotes(msgspec.Struct, kw_only=True):
    """What the manifest of a mix says beside its ledger: the details of its report.

    `parts` is the number of files into which documents are arranged, 0 where each input has one of its own.
    """

    waterfall: list[WaterfallRow] = []
    mixture: Mixture | None = None
    spans: list[SpanRow] = []
    edited_documents: int = 0
    parts: int = 0
    warnings: list[str] = []

    @property
    def rules(self) -> list[str]:
        """The rules as the ledger calls them, in their order."""
        return list(dict.fromkeys(row.rule for row in self.waterfall))


def mixture_warnings(mixture: Mixture) -> list[str]:
    """Sources that were asked for and of which nothing was written, and tokens whose number is not certain."""
    found = [
        f"source {row.source!r}: nothing of it is in the mix, because {row.asked:,} {row.unit} were asked for, "
        f"less than half of one of its {row.left_documents:,} documents"
        for row in mixture.sources
        if row.asked_share and not row.documents and row.left_documents
    ]
    unsure = [row for row in mixture.sources if row.left_tokens and row.error != 0]
    for row in unsure:
        error = "of an unknown error" if row.error is None else f"to within {row.error:.2%} (standard error)"
        found.append(f"source {row.source!r}: its {row.left_tokens:,} tokens are an estimate, {error}")
    return found


def tables(ledger: Ledger, details: MixNotes) -> Iterator[Table]:
    """The ledger; what each rule drops first, in all and alone, in their order; edits; what sources came to."""
    yield ledger_table(ledger, rules=details.rules)
    if rows := _rules(details.waterfall):
        headers = ["rule", "source", "drops first", "bytes", "drops in all", "alone", "for example"]
        yield Table(title="rules", headers=headers, rows=rows)
    if pairs := _pairs(details.waterfall):
        yield Table(title="rules that drop the same documents", headers=["rule", "other rule", "both drop"], rows=pairs)
    if details.parts:
        yield Table(title="files", headers=["files of documents"], rows=[[details.parts]])
    if details.spans:
        yield Table.of("edits", [msgspec.structs.asdict(row) for row in details.spans])
    if details.mixture is not None:
        yield _mixed("sources", details.mixture.sources, {"source": [row.source for row in details.mixture.sources]})
        yield from _strata(details.mixture.strata or [])


def _rules(waterfall: list[WaterfallRow]) -> list[list[Any]]:
    """For each rule all sources together, where there are several; and those of which it drops anything."""
    found: list[list[Any]] = []
    several = len({row.source for row in waterfall}) > 1
    for rule in dict.fromkeys(row.rule for row in waterfall):
        mine = [row for row in waterfall if row.rule == rule]
        if several:
            whole = WaterfallRow(rule=rule, source="all")
            for row in mine:
                whole.add(row)
            found.append(_cells(whole))
        found += [_cells(row) for row in mine if row.total or not several]
    return found


def _cells(row: WaterfallRow) -> list[Any]:
    return [row.rule, row.source, row.documents, row.bytes, row.total, row.alone, ", ".join(row.samples)]


_WORDS = {"error": "error of tokens"}
"""What a table calls a key of `mixture.json`."""


def _mixed(title: str, rows: Sequence[SourceRow | StratumRow], first: Mapping[str, Sequence[str]]) -> Table:
    """What rows were asked and gave, and by how much that differs, behind columns that say what they are about."""
    keys = [key for key in rows[0].__struct_fields__ if key not in ("source", "labels")] if rows else []
    counted = [key for key in keys if any(getattr(row, key) is not None for row in rows)]
    columns = {**first, **{_WORDS.get(key, key): [getattr(row, key) for row in rows] for key in counted}}
    if "asked" in columns:
        columns["achieved - asked"] = [None if row.asked is None else row.achieved - row.asked for row in rows]
    return Table(title=title, headers=list(columns), rows=list(map(list, zip(*columns.values(), strict=True))))


def _strata(rows: list[StratumRow]) -> Iterator[Table]:
    """The strata of each list of attributes."""
    for names in dict.fromkeys(tuple(row.labels) for row in rows):
        of = [row for row in rows if tuple(row.labels) == names]
        first = {"source": [row.source for row in of]} if any(row.source for row in of) else {}
        yield _mixed("strata", of, first | {name: [row.labels[name] for row in of] for name in names})


def _pairs(waterfall: list[WaterfallRow]) -> list[list[Any]]:
    """The rules that drop most documents together, and how many."""
    both: dict[tuple[str, str], int] = {}
    for row in waterfall:
        for other, documents in row.overlaps.items():
            both[row.rule, other] = both.get((row.rule, other), 0) + documents
    order = {rule: i for i, rule in enumerate(dict.fromkeys(row.rule for row in waterfall))}
    pairs = [(n, rule, other) for (rule, other), n in both.items() if order[rule] < order[other]]
    pairs.sort(key=lambda pair: (-pair[0], order[pair[1]], order[pair[2]]))
    return [[rule, other, n] for n, rule, other in pairs[:_MOST_PAIRS]]
