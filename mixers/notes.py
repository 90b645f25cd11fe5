"""`MixNotes`: what the rules, edits and shares of a mix came to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from dolma.mixers.sampling import Quota
from dolma.mixers.waterfall import WaterfallRow, plain_rows
from dolma.runner.ledger import Ledger
from dolma.runner.report import Table, ledger_table

_MOST_PAIRS = 10


class ShareRow(msgspec.Struct, kw_only=True):
    """One source of a sampled mix: what the rules left of it, what was asked in `unit`, and what was written."""

    source: str
    left_documents: int
    left_bytes: int
    unit: str
    asked: float
    documents: int
    bytes: int


class SpanRow(msgspec.Struct, kw_only=True):
    """One span edit: spans replaced (of `keep_only`: stretches deleted), merged with others, and without length."""

    attribute: str
    spans: int
    merged: int
    without_length: int


class MixNotes(msgspec.Struct, kw_only=True):
    """What the manifest of a mix says beside its ledger: the details of its report."""

    waterfall: list[WaterfallRow] = []
    shares: list[ShareRow] = []
    spans: list[SpanRow] = []
    edited_documents: int = 0
    warnings: list[str] = []

    @property
    def rules(self) -> list[str]:
        """The rules as the ledger calls them, in their order."""
        return list(dict.fromkeys(row.rule for row in self.waterfall))


def share_rows(wanted: list[Quota], ledger: Ledger) -> list[ShareRow]:
    """What each source was asked and gave."""
    rows = []
    for quota in wanted:
        written = ledger.account(quota.source).written
        rows.append(
            ShareRow(
                source=quota.source,
                left_documents=quota.supply.documents,
                left_bytes=quota.supply.bytes,
                unit=quota.unit,
                asked=quota.asked,
                documents=written.documents,
                bytes=written.bytes,
            )
        )
    return rows


def share_warnings(rows: list[ShareRow]) -> list[str]:
    """Sources that were asked for and of which nothing was written."""
    return [
        f"source {row.source!r}: nothing of it is in the mix, because {row.asked:,.0f} {row.unit} were asked for, "
        f"less than half of one of its {row.left_documents:,} documents"
        for row in rows
        if row.asked > 0 and not row.documents and row.left_documents
    ]


def tables(ledger: Ledger, details: MixNotes) -> Iterator[Table]:
    """The ledger; what each rule drops first, in all and alone, in their order; edits; what sources came to."""
    yield ledger_table(ledger, rules=details.rules)
    keys = ("rule", "source", "documents", "bytes", "total", "alone", "samples")
    rows = [[row[key] for key in keys] for row in plain_rows(details.waterfall)]
    if rows:
        headers = ["rule", "source", "drops first", "bytes", "drops in all", "alone", "for example"]
        yield Table(title="rules", headers=headers, rows=rows)
    if pairs := _pairs(details.waterfall):
        yield Table(title="rules that drop the same documents", headers=["rule", "other rule", "both drop"], rows=pairs)
    if details.spans:
        yield Table.of("edits", [msgspec.structs.asdict(row) for row in details.spans])
    if details.shares:
        yield Table.of("sources", [msgspec.structs.asdict(row) for row in details.shares])


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
