"""A series of numbers against NumPy, and the values that break such things."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.stats import numbers
from dolma.stats.numbers import NumberSummary, bar, order_statistics, summarise

QUANTILES = [0.0, 0.05, 0.5, 0.95, 1.0]
# Zero, or far enough from it that a square does not vanish, which is all that NumPy's own sums can take.
moderate = st.floats(-1e100, 1e100, allow_subnormal=False).map(lambda value: value if abs(value) > 1e-100 else 0.0)
integers = st.integers(-(2**63), 2**63 - 1)


def of(values: object, *, bins: int = 4, parts: int = 1, memory: int = 1 << 20) -> NumberSummary:
    array = np.asarray(values)
    return summarise(lambda: iter(np.array_split(array, parts)), bins=bins, quantiles=QUANTILES, memory=memory)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(moderate, min_size=1, max_size=40), st.integers(1, 7))
def test_moments_and_quantiles_are_those_of_numpy(values: list[float], parts: int) -> None:
    found = of(values, parts=parts)
    scale = max(map(abs, values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9 * scale)
    assert found.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-6 * scale)
    assert list(found.quantiles.values()) == pytest.approx(
        np.quantile(values, QUANTILES).tolist(), rel=1e-9, abs=1e-9 * scale
    )


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), max_size=40), st.integers(1, 9), st.integers(1, 3))
def test_the_histogram_holds_every_finite_value(values: list[float], bins: int, parts: int) -> None:
    found = of(np.array(values, dtype=np.float64), bins=bins, parts=parts)
    finite = [value for value in values if math.isfinite(value)]
    assert sum(found.counts) == len(finite)
    assert not finite or len(found.edges) == len(found.counts) + 1
    assert found.edges == sorted(found.edges)
    assert found.count == len(values)
    assert found.nan + found.infinite == len(values) - len(finite)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(integers, min_size=1, max_size=30) | st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_order_statistics_are_those_of_sorting(values: list) -> None:
    array = np.array(values, dtype=np.int64 if isinstance(values[0], int) else np.float64)
    found = order_statistics(lambda: iter(np.array_split(array, 3)), range(len(array)))
    assert found == sorted(array.tolist())


@pytest.mark.parametrize("values", [np.arange(50) % 7, np.linspace(-3, 5, 50), np.zeros(0)])
@pytest.mark.parametrize("parts", [1, 5, 49])
def test_neither_memory_nor_files_change_a_bit(monkeypatch: pytest.MonkeyPatch, values: np.ndarray, parts: int) -> None:
    monkeypatch.setattr(numbers, "_TOGETHER", 7)
    assert of(values, parts=parts, memory=10) == of(values)


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "_TOGETHER", 10_000)
    n_values = 1_000_000

    def series() -> Iterator[np.ndarray]:
        for start in range(0, n_values, 10_000):
            yield np.arange(start, start + 10_000)

    def peak(memory: int) -> int:
        tracemalloc.start()
        try:
            summarise(series, bins=2, quantiles=[0.5], memory=memory)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(2 * 8 * n_values) > 8 * n_values
    assert peak(1 << 14) < 4 * n_values


def test_a_long_series_is_read_again_and_not_held() -> None:
    reads = []

    def series() -> Iterator[np.ndarray]:
        reads.append(1)
        yield from np.array_split(np.arange(100), 10)

    assert summarise(series, bins=2, quantiles=[0.5], memory=4).quantiles == {"0.5": 49.5}
    assert len(reads) > 3


def test_a_constant_has_one_cell() -> None:
    found = of([7.5] * 5)
    assert (found.counts, found.edges, found.mean, found.std) == ([5], [7.5, 7.5], 7.5, 0.0)


def test_nan_and_infinities_are_counted_apart() -> None:
    found = of([1.0, math.nan, math.inf, -math.inf, 3.0])
    assert (found.count, found.nan, found.infinite) == (5, 1, 2)
    assert (found.mean, found.min, found.max, sum(found.counts)) == (2.0, 1.0, 3.0, 2)


def test_the_ends_of_the_range_of_a_float_do_not_overflow() -> None:
    found = of([1.7e308, -1.7e308])
    assert (found.mean, found.std, found.counts) == (0.0, 1.7e308, [1, 0, 0, 1])
    assert all(map(math.isfinite, found.edges))


def test_huge_integers_are_exact() -> None:
    found = of([2**63 - 1, -(2**63), 2**62 + 1])
    assert (found.min, found.max, found.quantiles["0.5"]) == (-(2**63), 2**63 - 1, 2**62 + 1)


def test_negative_numbers_keep_their_order() -> None:
    found = of([-1.5, -0.0, 0.0, -3.0])
    assert (found.min, found.quantiles["0"], found.quantiles["1"]) == (-3.0, -3.0, 0.0)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_nothing_finite_has_no_statistics(values: list[float]) -> None:
    found = of(np.array(values, dtype=np.float64))
    assert (found.mean, found.min, found.quantiles, found.counts, found.edges) == (None, None, {}, [], [])


@pytest.mark.parametrize(("counts", "expected"), [([], ""), ([0, 0], "  "), ([1, 8, 0], "▁█ "), ([1, 10**12], "▁█")])
def test_bars(counts: list[int], expected: str) -> None:
    assert bar(counts) == expected
