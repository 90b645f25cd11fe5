"""`mixture.json`: what was asked of each source of a sampled mix, and what it gave. It travels with the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dolma.mixers.sampling import Quota, Supply, Unit
from dolma.runner.ledger import Ledger

MIXTURE = "mixture.json"
FORMAT_VERSION = 1


class SourceRow(msgspec.Struct, kw_only=True):
    """One source: what the rules left of it, what was asked, and what was written, copies included.

    `asked`, `achieved` and their shares are in `unit`; `asked` is None where all sources together are divided into
    strata. `tokens` are None where they are not counted; `error` is the standard error of `left_tokens` as a part of
    them: 0 where all are counted, None where it is not known.
    """

    source: str
    left_documents: int
    left_bytes: int
    left_tokens: int | None = None
    unit: Unit
    asked: int | None
    asked_share: float | None
    achieved: int
    achieved_share: float
    documents: int
    bytes: int
    tokens: int | None = None
    error: float | None = None


class StratumRow(msgspec.Struct, kw_only=True):
    """One stratum of a source, or with "" of all sources together: as `SourceRow`.

    `labels` has its value, or the number of its bucket, by attribute; `asked_repeat` is how often what is left has to
    appear. Shares are of the whole mix.
    """

    source: str
    labels: dict[str, str]
    left_documents: int
    left_bytes: int
    left_tokens: int | None = None
    unit: Unit
    asked: int
    asked_share: float
    asked_repeat: float
    achieved: int
    achieved_share: float
    documents: int
    bytes: int
    tokens: int | None = None


class Mixture(msgspec.Struct, kw_only=True):
    """A sampled mix, by source, and by stratum if it has any. `counted` says how tokens were: "" if they were not."""

    format_version: int = FORMAT_VERSION
    unit: Unit
    asked: int
    achieved: int
    counted: str = ""
    sources: list[SourceRow]
    strata: list[StratumRow] | msgspec.UnsetType = msgspec.UNSET


def mixture_of(
    wanted: Sequence[Quota],
    ledger: Ledger,
    *,
    unit: Unit,
    supplies: Mapping[str, Supply],
    tokens: Mapping[str, int],
    errors: Mapping[str, float | None],
    counted: str,
    axes: Mapping[str, Sequence[str]],
    written: Sequence[Supply],
) -> Mixture:
    """What each source was asked and gave, of `supplies`; `tokens` are those written.

    `axes` are the attributes that divide a source, or with "" all of them; `written` is of each quota, in order.
    """
    unit = wanted[0].unit if wanted else unit
    asked, of_source = sum(quota.asked for quota in wanted), _asked(wanted)
    shares = {quota.source: quota.share for quota in wanted if not quota.stratum}
    achieved = {name: _achieved(name, ledger, tokens, unit) for name in supplies}
    whole = sum(achieved.values())
    rows = [
        SourceRow(
            source=name,
            left_documents=supply.documents,
            left_bytes=supply.bytes,
            left_tokens=supply.tokens if counted else None,
            unit=unit,
            asked=of_source.get(name),
            asked_share=_share(of_source.get(name), asked) if (share := shares.get(name)) is None else share,
            achieved=achieved[name],
            achieved_share=_share(achieved[name], whole) or 0.0,
            documents=ledger.account(name).written.documents,
            bytes=ledger.account(name).written.bytes,
            tokens=tokens.get(name, 0) if counted else None,
            error=errors.get(name, 0.0) if counted else None,
        )
        for name, supply in supplies.items()
    ]
    strata = [
        StratumRow(
            source=quota.source,
            labels=dict(zip(axes[quota.source], quota.stratum, strict=True)),
            left_documents=quota.supply.documents,
            left_bytes=quota.supply.bytes,
            left_tokens=quota.supply.tokens if counted else None,
            unit=unit,
            asked=quota.asked,
            asked_share=_share(quota.asked, asked) or 0.0,
            asked_repeat=_share(quota.asked, quota.supply.amount(unit)) or 0.0,
            achieved=gave.amount(unit),
            achieved_share=_share(gave.amount(unit), whole) or 0.0,
            documents=gave.documents,
            bytes=gave.bytes,
            tokens=gave.tokens if counted else None,
        )
        for quota, gave in zip(wanted, written, strict=True)
        if quota.stratum
    ]
    return Mixture(
        unit=unit, asked=asked, achieved=whole, counted=counted, sources=rows, strata=strata or msgspec.UNSET
    )


def _asked(wanted: Sequence[Quota]) -> dict[str, int]:
    asked: dict[str, int] = {}
    for quota in wanted:
        asked[quota.source] = asked.get(quota.source, 0) + quota.asked
    return asked


def _achieved(source: str, ledger: Ledger, tokens: Mapping[str, int], unit: Unit) -> int:
    written = ledger.account(source).written
    return {"documents": written.documents, "bytes": written.bytes, "tokens": tokens.get(source, 0)}[unit]


def _share(part: int | None, whole: int) -> float | None:
    if part is None:
        return None
    return round(part / whole, 6) if whole else 0.0
