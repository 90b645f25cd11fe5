"""What `stat` found, as records, as stable JSON, and as rows for a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from dolma.runner.report import Table
from dolma.stats.numbers import NumberSummary, bar


class Counts(msgspec.Struct, kw_only=True):
    """Documents, UTF-8 `bytes` of their text, `characters` (code points) and `words` (separated by whitespace)."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0

    def add(self, other: Counts) -> None:
        """Add the other's numbers to these."""
        self.documents += other.documents
        self.bytes += other.bytes
        self.characters += other.characters
        self.words += other.words


class TokenCounts(msgspec.Struct, kw_only=True):
    """Documents in token shards and their tokens, special ones included."""

    documents: int = 0
    tokens: int = 0


class TruthSummary(msgspec.Struct, frozen=True, kw_only=True, tag="bool"):
    """A series of truth values: `count` of them, `missing` rows without one, `share` (0-1) that are true."""

    count: int
    missing: int
    true: int
    share: float | None


class TextSummary(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A series of strings: the most frequent ones with their counts, and how many different ones there are.

    Where `exact` is false, there were too many different values to keep: `distinct` is a lower bound and values that
    appear late may be absent from `top`.
    """

    count: int
    missing: int
    distinct: int
    exact: bool
    top: dict[str, int]


class SpansSummary(msgspec.Struct, frozen=True, kw_only=True, tag="spans"):
    """Spans: how many a document has, how long they are in code points, and their scores."""

    per_document: NumberSummary
    length: NumberSummary
    score: NumberSummary


class VectorSummary(msgspec.Struct, frozen=True, kw_only=True, tag="vector"):
    """Vectors: how many numbers each has, and their Euclidean norms."""

    size: int
    norm: NumberSummary


Summary = NumberSummary | TruthSummary | TextSummary | SpansSummary | VectorSummary


class OutputSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One output of an attribute set over the whole corpus and by source."""

    kind: str
    meaning: str
    unit: str
    all: Summary
    sources: dict[str, Summary]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `attributes` is by attribute set, then output; `tokens` by source, None unless asked for."""

    sources: dict[str, Counts] = {}
    total: Counts = msgspec.field(default_factory=Counts)
    tokens: dict[str, TokenCounts] | None = None
    attributes: dict[str, dict[str, OutputSummary]] = {}

    def to_json(self) -> bytes:
        """What stands in `stat.json`: the same bytes for the same inputs and configuration."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1) + b"\n"

    def table(self) -> list[dict[str, Any]]:
        """The documents that were read, one row per source, and their sum if there is more than one."""
        return _with_total([{"source": source, **msgspec.to_builtins(found)} for source, found in self.sources.items()])

    def token_table(self) -> list[dict[str, Any]]:
        """The documents and tokens in the token shards, likewise: they may be a mix of the documents that were read."""
        counted = (self.tokens or {}).items()
        return _with_total([{"source": source, **msgspec.to_builtins(found)} for source, found in counted])

    def attribute_table(self) -> list[dict[str, Any]]:
        """One row per output and, where there are several, per source; of spans one row per kind of number."""
        rows = []
        for name, outputs in self.attributes.items():
            for output, found in outputs.items():
                rows += _summary_rows(f"{name}.{output}", "", found.all)
                if len(found.sources) > 1:
                    for source, summary in found.sources.items():
                        rows += _summary_rows(f"{name}.{output}", source, summary)
        return rows


def _with_total(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) < 2:
        return rows
    sums = {key: sum(row[key] for row in rows) for key in rows[0] if key != "source"}
    return [*rows, {"source": "total", **sums}]


def _summary_rows(attribute: str, source: str, summary: Summary) -> list[dict[str, Any]]:
    if isinstance(summary, SpansSummary):
        parts = {"spans per document": summary.per_document, "length": summary.length, "score": summary.score}
        return [_number_row(f"{attribute} ({part})", source, found) for part, found in parts.items()]
    if isinstance(summary, VectorSummary):
        return [_number_row(f"{attribute} (norm of {summary.size} numbers)", source, summary.norm)]
    if isinstance(summary, NumberSummary):
        return [_number_row(attribute, source, summary)]
    row: dict[str, Any] = {"attribute": attribute, "source": source, "count": summary.count, "missing": summary.missing}
    if isinstance(summary, TruthSummary):
        return [row | {"true": summary.true, "mean": summary.share}]
    return [row | {"distinct": summary.distinct, "exact": summary.exact, "top": summary.top}]


def _number_row(attribute: str, source: str, summary: NumberSummary) -> dict[str, Any]:
    return {
        "attribute": attribute,
        "source": source,
        "count": summary.count,
        "missing": summary.missing,
        "nan": summary.nan,
        "infinite": summary.infinite,
        "mean": summary.mean,
        "std": summary.std,
        "min": summary.min,
        **{f"q{probability}": value for probability, value in summary.quantiles.items()},
        "max": summary.max,
        "histogram": bar(summary.counts),
    }


_DESCRIBED = ("attribute", "source", "count", "missing", "mean", "min", "q0.05", "q0.5", "q0.95", "max", "histogram")


def tables(details: Statistics) -> Iterator[Table]:
    """What was read per source, what token shards hold per source, then every attribute."""
    for title, counted in (("documents", details.table()), ("token shards", details.token_table())):
        if counted:
            yield Table.of(title, counted)
    described = [
        row for row in details.attribute_table() if row.get("count") or not row["attribute"].endswith(".error")
    ]
    if described:
        rows = [[_shown(row, key) for key in _DESCRIBED] for row in described]
        yield Table(title="attributes", headers=_DESCRIBED, rows=rows, grouped=True)


def _shown(row: dict[str, Any], key: str) -> Any:
    if key == "histogram" and "top" in row:
        return ", ".join(f"{value[:24]} {count:,}" for value, count in list(row["top"].items())[:3])
    return row.get(key, "")
