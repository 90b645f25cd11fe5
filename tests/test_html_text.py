"""Text and tables as HTML. Run: `pytest tests/test_html_text.py`."""

from __future__ import annotations

import math

from dolma.html_text import table


def test_numbers_that_are_not_finite_are_shown() -> None:
    shown = table(("x", "y", "z"), [(math.nan, math.inf, -math.inf)])
    assert all(f"<td class='number'>{one}</td>" in shown for one in ("nan", "inf", "-inf"))


def test_large_whole_numbers_keep_their_digits() -> None:
    assert "1,234,567,890,123" in table(("bytes",), [(1_234_567_890_123,)])
