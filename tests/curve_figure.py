"""Writes docs/curve.svg, the curves of docs/mix.md. Run: python -m tests.curve_figure"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from dolma.config import Curve
from dolma.mixers.strata import curve_factors, curve_weights

FIGURE = Path(__file__).parents[1] / "docs" / "curve.svg"
_BUCKETS, _SIZE, _TOP = 20, 1000, 7
_CURVES = ((0.5, 1.5, "#4a7ebb"), (1.0, 1.5, "#2e9e6b"), (3.0, 1.5, "#c0504d"), (3.0, 2.5, "#8064a2"))
_LEFT, _BOTTOM, _WIDTH, _HEIGHT = 50, 270, 480, 240


def figure() -> str:
    """The curves of `discard: 0.4, max: 7` for some powers, and sizes of a mix in times of the corpus."""
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 320" font-family="sans-serif" font-size="12">',
        f'<path d="M{_LEFT} {_BOTTOM - _HEIGHT}V{_BOTTOM}H{_LEFT + _WIDTH}" fill="none" stroke="#888"/>',
        f'<text x="{_LEFT + _WIDTH / 2:g}" y="{_BOTTOM + 38}" text-anchor="middle" fill="#888">quality quantile</text>',
        f'<text x="{_LEFT}" y="{_BOTTOM - _HEIGHT - 10}" fill="#888">copies of a document</text>',
    ]
    for copies in range(_TOP + 1):
        lines.append(f'<text x="{_LEFT - 8}" y="{_y(copies) + 4:g}" text-anchor="end" fill="#888">{copies}</text>')
    for tenth in range(0, 11, 2):
        x = _LEFT + _WIDTH * tenth / 10
        lines.append(f'<text x="{x:g}" y="{_BOTTOM + 18}" text-anchor="middle" fill="#888">{tenth / 10:g}</text>')
    for i, (power, total, colour) in enumerate(_CURVES):
        weights = curve_weights(_BUCKETS, Curve(power=power, discard=0.4))
        asked = int(total * _BUCKETS * _SIZE)
        factors = curve_factors([_SIZE] * _BUCKETS, weights, asked, Fraction(_TOP))
        steps = "".join(
            f"V{_y(float(factor)):g}H{_LEFT + _WIDTH * (at + 1) / _BUCKETS:g}" for at, factor in enumerate(factors)
        )
        y = _BOTTOM - _HEIGHT + 20 * i
        lines.append(f'<path d="M{_LEFT} {_BOTTOM}{steps}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(
            f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 4}" fill="{colour}">power {power:g}, total {total:g}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _y(copies: float) -> float:
    return round(_BOTTOM - _HEIGHT * copies / _TOP, 1)


if __name__ == "__main__":
    FIGURE.write_text(figure(), encoding="utf-8")
