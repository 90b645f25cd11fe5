"""`loss.html`: the loss of every step, its moving mean, and evaluations, as a page that needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from dolma.data import streams
from dolma.printable import printable
from dolma.training.evaluate import Evaluation
from dolma.training.metrics import StepRecord

_WIDTH, _HEIGHT, _MARGIN = 900, 360, 48
_POINTS = 2000  # drawn at most: the mean of neighbours stands for them
_COLOURS = ("#1b6ca8", "#c2542d", "#3a7d44", "#7a4fa3", "#8a6d1d", "#a33b5c")

Point = tuple[float, float]


def write_curve(path: str, records: Sequence[StepRecord], evaluations: Sequence[Evaluation]) -> None:
    """Write the page. Losses that are not finite are left out."""
    held_out = sorted({name for evaluation in evaluations for name in evaluation.held_out})
    bits = {
        f"bits per byte of {name}": [
            (float(e.step), e.held_out[name].bits_per_byte) for e in evaluations if name in e.held_out
        ]
        for name in held_out
    }
    body = chart("Loss, nats per token", loss_lines(records))
    body += chart("Held-out text, bits per byte", bits) if bits else ""
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Loss</title>"
        "<style>body{font:14px sans-serif;margin:2em;max-width:60em}svg{width:100%}text{font-size:12px}</style>"
        f"</head><body>{body}</body></html>\n"
    )
    streams.write_bytes(path, page.encode())


def loss_lines(records: Sequence[StepRecord]) -> dict[str, list[Point]]:
    """The finite losses by step: of all tokens, and of each source."""
    losses = [(float(record.step), record.loss) for record in records if math.isfinite(record.loss)]
    lines = {"loss": _thinned(losses)}
    for name in sorted({name for record in records for name in record.loss_by_source}):
        found = [(float(r.step), r.loss_by_source[name]) for r in records if name in r.loss_by_source]
        lines[f"loss of {name}"] = _thinned([point for point in found if math.isfinite(point[1])])
    return lines


def _thinned(points: list[Point]) -> list[Point]:
    every = -(-len(points) // _POINTS) or 1
    groups = [points[i : i + every] for i in range(0, len(points), every)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def chart(title: str, lines: dict[str, list[Point]]) -> str:
    """Lines of points in one drawing, as SVG below a title, with a legend."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return f"<h2>{html.escape(title)}</h2><p>No finite values.</p>"
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> str:
        across = (x - left) / ((right - left) or 1)
        up = (y - low) / ((high - low) or 1)
        return f"{_MARGIN + across * (_WIDTH - 2 * _MARGIN):.1f},{_HEIGHT - _MARGIN - up * (_HEIGHT - 2 * _MARGIN):.1f}"

    drawn, legend = [], []
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in line)
        drawn.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.5' points='{path}'/>")
        if line:
            legend.append(
                f"<li style='color:{colour}'>{html.escape(printable(name))}: {line[0][1]:.3f} to {line[-1][1]:.3f}</li>"
            )
    axes = "".join(
        f"<text x='{x}' y='{y}' text-anchor='{anchor}'>{text}</text>"
        for x, y, anchor, text in (
            (_MARGIN - 6, _HEIGHT - _MARGIN, "end", f"{low:.2f}"),
            (_MARGIN - 6, _MARGIN, "end", f"{high:.2f}"),
            (_MARGIN, _HEIGHT - _MARGIN + 18, "start", f"step {left:,.0f}"),
            (_WIDTH - _MARGIN, _HEIGHT - _MARGIN + 18, "end", f"{right:,.0f}"),
        )
    )
    frame = (
        f"<rect x='{_MARGIN}' y='{_MARGIN}' width='{_WIDTH - 2 * _MARGIN}' height='{_HEIGHT - 2 * _MARGIN}' "
        "fill='none' stroke='#999'/>"
    )
    return (
        f"<h2>{html.escape(title)}</h2><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'>{frame}{axes}"
        f"{''.join(drawn)}</svg><ul>{''.join(legend)}</ul>"
    )
