"""Joins of pairs are those of the twin. Run: `pytest tests/kernels/test_pair_merges.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels.pair_merges import merge_pair
from dolma.kernels.reference import pair_merges as reference

WORDS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=6)


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(WORDS, st.integers(0, 2), st.integers(0, 2))
def test_words_and_changes_equal_those_of_the_twin(words: list[list[int]], left: int, right: int) -> None:
    symbols = np.array([symbol for word in words for symbol in word], np.int32)
    lengths = np.array([len(word) for word in words])
    starts = np.cumsum(lengths) - lengths
    pairs, changes, of = merge_pair(symbols, starts, lengths, np.arange(len(words)), pair=(left, right), new=3)
    twins = [reference.merge_pair(word, (left, right), 3) for word in words]
    joined = [symbols[start : start + n].tolist() for start, n in zip(starts, lengths, strict=True)]
    assert joined == [word for word, _ in twins]
    found = [
        ((pair >> 32, pair & 0xFFFFFFFF), change) for pair, change in zip(pairs.tolist(), changes.tolist(), strict=True)
    ]
    assert found == [change for _, changed in twins for change in changed]
    assert of.tolist() == [i for i, (_, changed) in enumerate(twins) for _ in changed]


def test_words_that_are_not_named_stay() -> None:
    symbols, lengths = np.array([1, 2, 1, 2], np.int32), np.array([2, 2])
    merge_pair(symbols, np.array([0, 2]), lengths, np.array([1]), pair=(1, 2), new=3)
    assert (symbols[:3].tolist(), lengths.tolist()) == ([1, 2, 3], [2, 1])
