"""`mixture.json`: what was asked of each source of a sampled mix, and what it gave. It travels with the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dolma.mixers.sampling import Quota, Unit
from dolma.runner.ledger import Ledger

MIXTURE = "mixture.json"
FORMAT_VERSION = 1


class SourceRow(msgspec.Struct, kw_only=True):
    """One source: what the rules left of it, what was asked, and what was written, copies included.

    `asked`, `achieved` and their shares are in `unit`. `tokens` are None where they are not counted; `error` is the
    standard error of `left_tokens` as a part of them: 0 where all are counted, None where it is not known.
    """

    source: str
    left_documents: int
    left_bytes: int
    left_tokens: int | None = None
    unit: Unit
    asked: int
    asked_share: float
    achieved: int
    achieved_share: float
    documents: int
    bytes: int
    tokens: int | None = None
    error: float | None = None


class Mixture(msgspec.Struct, kw_only=True):
    """A sampled mix, by source. `counted` says how tokens were: empty where they were not."""

    format_version: int = FORMAT_VERSION
    unit: Unit
    asked: int
    achieved: int
    counted: str = ""
    sources: list[SourceRow]


def mixture_of(
    wanted: Sequence[Quota],
    ledger: Ledger,
    *,
    unit: Unit,
    tokens: Mapping[str, int],
    errors: Mapping[str, float | None],
    counted: str,
) -> Mixture:
    """What each source was asked and gave; `tokens` are those written."""
    achieved = {quota.source: _achieved(quota, ledger, tokens) for quota in wanted}
    asked = sum(quota.asked for quota in wanted)
    rows = [
        SourceRow(
            source=quota.source,
            left_documents=quota.supply.documents,
            left_bytes=quota.supply.bytes,
            left_tokens=quota.supply.tokens if counted else None,
            unit=quota.unit,
            asked=quota.asked,
            asked_share=_share(quota.asked, asked) if quota.share is None else quota.share,
            achieved=achieved[quota.source],
            achieved_share=_share(achieved[quota.source], sum(achieved.values())),
            documents=ledger.account(quota.source).written.documents,
            bytes=ledger.account(quota.source).written.bytes,
            tokens=tokens.get(quota.source, 0) if counted else None,
            error=errors.get(quota.source, 0.0) if counted else None,
        )
        for quota in wanted
    ]
    return Mixture(
        unit=wanted[0].unit if wanted else unit,
        asked=asked,
        achieved=sum(achieved.values()),
        counted=counted,
        sources=rows,
    )


def _achieved(quota: Quota, ledger: Ledger, tokens: Mapping[str, int]) -> int:
    written = ledger.account(quota.source).written
    return {"documents": written.documents, "bytes": written.bytes, "tokens": tokens.get(quota.source, 0)}[quota.unit]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
