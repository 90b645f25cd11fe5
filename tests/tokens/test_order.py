from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.tokens.order import LAST_PLACE, corpus_places, cut, shuffled_places


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 120))
def test_no_part_is_empty_or_above_the_limit_unless_it_is_one_unit(sizes: list[int], limit: int) -> None:
    bounds = cut(lambda: [np.array(sizes)], limit=limit)
    assert bounds[0] == 0 and bounds[-1] == len(sizes)
    for start, end in itertools.pairwise(bounds):
        assert start < end
        assert sum(sizes[start:end]) <= limit or end == start + 1


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(1, 300),
)
def test_parts_are_the_same_however_many_units_come_at_a_time(series: list[list[int]], limit: int) -> None:
    whole = cut(lambda: [np.concatenate(series)], limit=limit)
    assert cut(lambda: map(np.array, series), limit=limit) == whole


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=200, max_size=600), st.integers(400, 900))
def test_parts_are_even_to_a_few_documents(sizes: list[int], limit: int) -> None:
    parts = [sum(sizes[start:end]) for start, end in itertools.pairwise(cut(lambda: [np.array(sizes)], limit=limit))]
    assert max(parts) - min(parts) <= 4 * 20


def test_documents_of_limit_size_get_a_shard_each() -> None:
    assert cut(lambda: [np.full(1000, 60)], limit=100) == list(range(1001))


def test_one_part_when_all_fits() -> None:
    assert cut(lambda: [np.array([5, 5])], limit=10) == [0, 2]


def test_places_of_a_shard_are_all_different_and_uniform() -> None:
    places = shuffled_places(0, "books/a.jsonl", np.arange(1, 100_001))
    assert len(np.unique(places)) == 100_000
    eighths = np.bincount((places >> np.uint64(61)).astype(np.int64), minlength=8)
    assert eighths.min() > 12_000 and eighths.max() < 13_000


def test_places_depend_on_seed_shard_and_line_only() -> None:
    lines = np.array([7, 3, 9])
    places = shuffled_places(1, "a", lines)
    assert shuffled_places(1, "a", lines[::-1]).tolist() == places.tolist()[::-1]
    assert shuffled_places(2, "a", lines).tolist() != places.tolist()
    assert shuffled_places(1, "b", lines).tolist() != places.tolist()


def test_corpus_places_go_by_piece_then_row() -> None:
    places = np.concatenate([corpus_places(0, 0, 3), corpus_places(0, 3, 2), corpus_places(1, 0, 2)])
    assert np.all(np.diff(places.astype(np.int64)) > 0)
    assert int(corpus_places(10_000_000, 0, 1)[0]) < LAST_PLACE


def test_a_number_of_parts_is_kept_whatever_their_size() -> None:
    sizes = [np.array([9, 1, 1]), np.array([1, 1, 1])]
    assert [len(cut(lambda: sizes, limit=3, n_parts=n)) - 1 for n in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert len(cut(lambda: sizes, limit=3, n_parts=9)) - 1 == 6


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=5), min_size=1, max_size=5), st.data())
def test_there_are_as_many_parts_as_were_asked_for_if_there_are_units(series: list[list[int]], data: st.DataObject):
    n = data.draw(st.integers(1, sum(map(len, series))))
    assert len(cut(lambda: map(np.array, series), limit=1, n_parts=n)) - 1 == n


def test_a_large_unit_at_the_end_leaves_the_number_of_parts() -> None:
    assert cut(lambda: [np.array([1, 1, 100])], limit=1, n_parts=3) == [0, 1, 2, 3]
