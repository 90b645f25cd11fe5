"""Drawings of a report, as SVG that needs nothing else; every text in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dolma.html_text import number, shown

_WIDTH, _HEIGHT, _MARGIN = 420, 150, 24
_BINS = 40
_HUGE = 1e300  # differences of numbers up to here are finite
_FLOW_WIDTH, _FLOW_HEIGHT, _NODE, _GAP = 860, 420, 14, 4
_LEAST = 16  # room of a node, for its label
_COLOURS = ("#1b6ca8", "#c2542d", "#3a7d44", "#7a4fa3", "#8a6d1d", "#a33b5c", "#2a8c8c", "#5a5f66")


def histogram(title: str, values: npt.NDArray[np.float64], *, thresholds: Sequence[float] = ()) -> str:
    """The finite values in bins of equal width, whose counts sum to their number, and lines at thresholds.

    Bins lie between the 0.5th and the 99.5th percentile, the outer ones hold what is beyond; thresholds are inside.
    """
    finite = np.clip(values[np.isfinite(values)], -_HUGE, _HUGE)
    if not len(finite):
        return f"<figure><figcaption>{shown(title)}</figcaption><p>no values</p></figure>"
    inside = [one for one in thresholds if math.isfinite(one)]
    low, high = (float(one) for one in np.quantile(finite, [0.005, 0.995]))
    near = [one for one in inside if low - (high - low) <= one <= high + (high - low)]
    low, high = min([low, *near]), max([high, *near])
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(np.clip(finite, low, high), bins=_BINS, range=(low, high))
    most, step = int(counts.max()), (_WIDTH - 2 * _MARGIN) / _BINS
    floor = _HEIGHT - _MARGIN
    bars = []
    for i, n in enumerate(counts.tolist()):
        height = (_HEIGHT - 2 * _MARGIN) * n / most
        left, right = (low + (high - low) * (i + end) / _BINS for end in (0, 1))
        about = f"{number(left)} to {number(right)}: {n:,}"
        bars.append(
            f"<rect class='bar' x='{_MARGIN + i * step:.1f}' y='{floor - height:.1f}' width='{step:.1f}' "
            f"height='{height:.1f}'><title>{about}</title></rect>"
        )
    lines = []
    for one in near:
        x = _MARGIN + (one - low) / (high - low) * (_WIDTH - 2 * _MARGIN)
        lines.append(
            f"<line class='limit' x1='{x:.1f}' x2='{x:.1f}' y1='{_MARGIN - 8}' y2='{floor}'/>"
            f"<text class='limit' x='{x + 3:.1f}' y='{_MARGIN}'>{number(one)}</text>"
        )
    axis = (
        f"<text x='{_MARGIN}' y='{_HEIGHT - 6}'>{number(low)}</text>"
        f"<text x='{_WIDTH - _MARGIN}' y='{_HEIGHT - 6}' text-anchor='end'>{number(high)}</text>"
    )
    missing = len(values) - len(finite)
    more = f", {missing:,} without a finite value" if missing else ""
    return (
        f"<figure><figcaption>{shown(title)}: {len(finite):,} documents{more}</figcaption>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{shown(title)}'>"
        f"{''.join(bars)}{''.join(lines)}{axis}</svg></figure>"
    )


def flow(amounts: Mapping[tuple[str, str], int]) -> str:
    """A Sankey diagram from names on the left to names on the right, as wide as the amounts."""
    amounts = {pair: n for pair, n in amounts.items() if n}
    total = sum(amounts.values())
    if not total:
        return "<p>nothing was read</p>"
    sides = [_names(amounts, side) for side in (0, 1)]
    scale = _FLOW_HEIGHT / total
    bottom = 0.0
    tops: list[dict[str, float]] = []
    drawn = []
    for side, names in enumerate(sides):
        y, places = 0.0, {}
        for i, name in enumerate(names):
            n = sum(amount for pair, amount in amounts.items() if pair[side] == name)
            height = max(n * scale, 1)
            x = 0 if side == 0 else _FLOW_WIDTH - _NODE
            places[name] = y
            at = y + max(height, _LEAST) / 2 + 4
            label_x, anchor = (_NODE + 4, "start") if side == 0 else (_FLOW_WIDTH - _NODE - 4, "end")
            colour = _COLOURS[i % len(_COLOURS)] if side == 0 else "#888888"
            drawn.append(
                f"<rect x='{x}' y='{y:.1f}' width='{_NODE}' height='{height:.1f}' fill='{colour}'/>"
                f"<text x='{label_x}' y='{at:.1f}' text-anchor='{anchor}'>{shown(name)} {n:,}</text>"
            )
            y += max(height, _LEAST) + _GAP
        tops.append(places)
        bottom = max(bottom, y)
    ribbons = []
    for (left, right), n in amounts.items():
        height, start, end = n * scale, tops[0][left], tops[1][right]
        tops[0][left] += height
        tops[1][right] += height
        x1, x2 = _NODE, _FLOW_WIDTH - _NODE
        middle = (x1 + x2) / 2
        colour = _COLOURS[sides[0].index(left) % len(_COLOURS)]
        there = f"C{middle},{start:.1f} {middle},{end:.1f} {x2},{end:.1f}"
        back = f"C{middle},{end + height:.1f} {middle},{start + height:.1f} {x1},{start + height:.1f}"
        ribbons.append(
            f"<path class='ribbon' fill='{colour}' d='M{x1},{start:.1f} {there} V{end + height:.1f} {back} Z'>"
            f"<title>{shown(left)} to {shown(right)}: {n:,}</title></path>"
        )
    label = "documents from sources to rules and the mix"
    opening = f"<svg viewBox='0 0 {_FLOW_WIDTH} {bottom:.0f}' role='img' aria-label='{label}'>"
    return f"{opening}{''.join(ribbons)}{''.join(drawn)}</svg>"


def _names(amounts: Mapping[tuple[str, str], int], side: int) -> list[str]:
    """The names of one side: on the left in their order, on the right the largest first."""
    totals: dict[str, int] = {}
    for pair, n in amounts.items():
        totals[pair[side]] = totals.get(pair[side], 0) + n
    return list(totals) if side == 0 else sorted(totals, key=lambda name: -totals[name])
