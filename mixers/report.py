"""`MixReport`: what a mix did, and what its rules and shares came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from dolma.mixers.sampling import Draw
from dolma.mixers.waterfall import WaterfallRow, plain_rows
from dolma.runner.ledger import Ledger
from dolma.runner.stage import StageReport


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
    """One span edit: spans replaced, and spans without length, which replace nothing."""

    attribute: str
    spans: int
    without_length: int


class MixNotes(msgspec.Struct, kw_only=True):
    """What the manifest of a mix says beside its ledger."""

    waterfall: list[WaterfallRow] = []
    shares: list[ShareRow] = []
    spans: list[SpanRow] = []
    edited_documents: int = 0
    warnings: list[str] = []

    @property
    def rules(self) -> list[str]:
        """The rules as the ledger calls them, in their order."""
        return list(dict.fromkeys(row.rule for row in self.waterfall))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixReport:
    """What a mix did: the stage's report and, in `notes`, waterfall, shares, span edits and warnings."""

    report: StageReport
    notes: MixNotes = field(default_factory=MixNotes)

    @property
    def complete_before(self) -> bool:
        """Whether there was nothing to do."""
        return self.report.complete_before

    @property
    def waiting(self) -> int:
        """Tasks left to other shards."""
        return self.report.waiting

    @property
    def ledger(self) -> Ledger:
        """Where every document went."""
        return self.report.ledger

    @property
    def manifests(self) -> list[str]:
        """The manifest that was written."""
        return self.report.manifests

    @property
    def waterfall(self) -> list[dict[str, Any]]:
        """Plain rows: rule, source, documents, bytes (dropped first), alone, alone_bytes, total, samples."""
        return plain_rows(self.notes.waterfall)

    @property
    def rules(self) -> list[str]:
        """The rules as the ledger calls them, in their order."""
        return self.notes.rules

    @property
    def shares(self) -> list[dict[str, Any]]:
        """Plain rows: source, left_documents, left_bytes, unit, asked, documents, bytes."""
        return [msgspec.to_builtins(row) for row in self.notes.shares]

    @property
    def warnings(self) -> list[str]:
        """Surprising outcomes, in words."""
        return self.notes.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a mix would do."""

    notes: MixNotes
    ledger: Ledger

    @property
    def waterfall(self) -> list[dict[str, Any]]:
        """Plain rows, as of a report."""
        return plain_rows(self.notes.waterfall)

    @property
    def rules(self) -> list[str]:
        """The rules as the ledger calls them, in their order."""
        return self.notes.rules

    @property
    def shares(self) -> list[dict[str, Any]]:
        """Plain rows, as of a report."""
        return [msgspec.to_builtins(row) for row in self.notes.shares]

    @property
    def warnings(self) -> list[str]:
        """Surprising outcomes, in words."""
        return self.notes.warnings


def share_rows(wanted: list[Draw], ledger: Ledger) -> list[ShareRow]:
    """What each source was asked and gave."""
    rows = []
    for draw in wanted:
        written = ledger.account(draw.source).written
        rows.append(
            ShareRow(
                source=draw.source,
                left_documents=draw.supply.documents,
                left_bytes=draw.supply.bytes,
                unit=draw.unit,
                asked=draw.asked,
                documents=written.documents,
                bytes=written.bytes,
            )
        )
    return rows


def share_warnings(rows: list[ShareRow]) -> list[str]:
    """Sources that were asked for and of which nothing was written."""
    return [
        f"source {row.source!r}: {row.asked:,.0f} {row.unit} were asked, which is nearer to none of its "
        f"{row.left_documents:,} documents than to one; nothing of it is in the mix"
        for row in rows
        if row.asked > 0 and not row.documents and row.left_documents
    ]
