"""Shares of sources in a stage. Run: pytest tests/training/data/test_mixture.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import ConfigError
from dolma.training.config import SourceConfig
from dolma.training.data.mixture import MixedSource, plan_mixture, taken_windows


def sources_of(*ratios: float, **settings: float) -> dict[str, SourceConfig]:
    return {f"s{i}": SourceConfig(tokens=f"s{i}", share=ratio, **settings) for i, ratio in enumerate(ratios)}


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(1, 5000))
def test_shares_add_up_and_are_within_a_window_of_what_was_asked(weights: list[int], n_windows: int) -> None:
    ratios = [weight / sum(weights) for weight in weights]
    shares = plan_mixture({f"s{i}": n_windows for i in range(len(ratios))}, sources_of(*ratios), n_windows=n_windows)
    assert sum(share.taken for share in shares) == n_windows
    assert all(abs(share.taken - ratio * n_windows) <= 1 for share, ratio in zip(shares, ratios, strict=True))


def test_a_ratio_of_a_thousandth_is_met() -> None:
    shares = plan_mixture({"s0": 1000, "s1": 1000}, sources_of(0.001, 0.999), n_windows=1000)
    assert [share.taken for share in shares] == [1, 999]


def test_too_few_windows_are_named_with_what_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"'s0' has 10 windows, of which 10 may be used 1 times; 70 are needed"):
        plan_mixture({"s0": 10, "s1": 100}, sources_of(0.7, 0.3), n_windows=100)


def test_a_fraction_of_a_source_bounds_what_is_used() -> None:
    with pytest.raises(ConfigError, match=r"'s1' has 100 windows, of which 20 may be used 1 times; 50 are needed"):
        plan_mixture(
            {"s0": 100, "s1": 100}, sources_of(0.5, 0.5, max_source_fraction=0.2) | sources_of(0.5), n_windows=100
        )


def share(*, available: int, usable: int, taken: int) -> MixedSource:
    return MixedSource(source="books", available=available, usable=usable, taken=taken, repetitions=taken / usable)


def test_windows_are_taken_once_before_any_is_taken_twice() -> None:
    found = taken_windows(share(available=50, usable=20, taken=50), seed=0)
    counts = np.bincount(found, minlength=50)
    assert sorted(counts[counts > 0].tolist()) == [2] * 10 + [3] * 10
    assert set(found[:20]) == set(found[20:40])
    assert found[:20].tolist() != found[20:40].tolist()


def test_windows_are_a_sample_not_the_first_ones() -> None:
    found = taken_windows(share(available=10_000, usable=10_000, taken=1000), seed=0)
    assert len(set(found.tolist())) == 1000
    assert 4500 < found.mean() < 5500
    assert found.tolist() != taken_windows(share(available=10_000, usable=10_000, taken=1000), seed=1).tolist()


def test_a_longer_run_takes_the_same_windows_first() -> None:
    short, long = (taken_windows(share(available=100, usable=80, taken=n), seed=3) for n in (30, 60))
    assert short.tolist() == long[:30].tolist()
