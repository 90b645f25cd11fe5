"""Numbers as people write them, and numbers shared out. Run: pytest tests/test_amounts.py"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.amounts import count_of, share_out


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("500k", 500_000),
        ("500K", 500_000),
        ("30M", 30_000_000),
        ("30m", 30_000_000),
        ("1.5B", 1_500_000_000),
        ("2T", 2_000_000_000_000),
        ("8.39 b", 8_390_000_000),
        ("1e9", 1_000_000_000),
        ("2.5e3", 2500),
        (1e9, 1_000_000_000),
        (7, 7),
        ("2_000_000", 2_000_000),
        (".5k", 500),
    ],
)
def test_an_amount_is_exactly_the_number_that_is_written(written: Any, number: int) -> None:
    assert count_of(written, key="total") == number


@pytest.mark.parametrize(
    "written",
    [
        *("", "many", "30G", "30MB", "1.5", "0", "-3", "1e-3", "1.2345k", "0x10", "²", "1e99", "inf", "1,000"),
        *(0, -1, 0.5, float("nan"), float("inf"), 10**19, True),
    ],
)
def test_anything_else_is_refused_with_what_to_write(written: Any) -> None:
    with pytest.raises(
        ValueError, match=r"`total` is .*, expected a whole number of at least 1\n  write 2000000, 1e9 or"
    ):
        count_of(written, key="total")


@given(st.integers(0, 10**12), st.lists(st.fractions(0, 9), min_size=1, max_size=9).filter(any))
def test_parts_add_up_and_are_less_than_one_from_their_proportion(total: int, weights: list[Fraction]) -> None:
    parts = share_out(total, weights)
    assert sum(parts) == total
    assert all(abs(n - total * weight / sum(weights)) < 1 for n, weight in zip(parts, weights, strict=True))


def test_of_equal_remainders_the_first_is_rounded_up() -> None:
    assert share_out(5, [1, 1, 1]) == [2, 2, 1]


def test_weights_are_the_numbers_that_are_written() -> None:
    assert share_out(1000, [0.1, 0.2, 0.7]) == [100, 200, 700]


def test_without_weights_there_is_nothing_to_share() -> None:
    assert share_out(0, []) == []
