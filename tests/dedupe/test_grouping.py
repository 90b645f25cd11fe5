"""Equal hashes, found by sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.dedupers.grouping import group_equal

words = st.sampled_from([0, 1, 2, 1 << 63, (1 << 64) - 1])


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(words, words), max_size=30))
def test_groups_are_those_of_a_dict(pairs: list[tuple[int, int]]) -> None:
    groups = group_equal(np.array(pairs, dtype=np.uint64).reshape(-1, 2))
    positions: dict[tuple[int, int], list[int]] = {}
    for i, pair in enumerate(pairs):
        positions.setdefault(pair, []).append(i)
    expected = sorted(positions.items())
    assert [tuple(pair) for pair in groups.hashes.tolist()] == [pair for pair, _ in expected]
    assert groups.firsts.tolist() == [found[0] for _, found in expected]
    assert groups.sizes.tolist() == [len(found) for _, found in expected]
    assert [expected[group][0] for group in groups.group.tolist()] == pairs


def test_hashes_that_share_their_first_word_are_told_apart() -> None:
    groups = group_equal(np.array([[7, 2], [7, 1], [7, 2], [7, 1]], dtype=np.uint64))
    assert groups.group.tolist() == [1, 0, 1, 0]


def test_the_first_of_a_group_leads_it() -> None:
    groups = group_equal(np.array([[5, 0], [3, 0], [5, 0]], dtype=np.uint64))
    assert groups.leads.tolist() == [True, True, False]
