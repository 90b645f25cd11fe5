"""Tokens and seeds of windows. Run: `pytest tests/kernels/test_substrings.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import substrings
from dolma.kernels.reference import substrings as reference
from dolma.kernels.reference.hashing import hash64

CHARACTERS = "ab_1 \n.-é\u0301\u3000東กʰ😀\u200d\ufe0f٣\x00\x1c"
ASCII = "ab_1 \n.-é"
TEXTS = st.lists(
    st.text(st.sampled_from(CHARACTERS) | st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.text(st.sampled_from(ASCII), max_size=300),
    max_size=4,
)
UNITS = st.lists(st.lists(st.integers(0, 3), max_size=30), max_size=4)


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS)
def test_tokens_are_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = substrings.tokens(batch.utf8, batch.offsets)
    pieces = [batch.utf8[i:j].tobytes() for i, j in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]
    expected = [[text[i:j].encode() for i, j in reference.tokens(text)] for text in texts]
    assert [pieces[i:j] for i, j in itertools.pairwise(found.index.tolist())] == expected
    assert found.hashes.tolist() == [hash64(piece) for piece in pieces]


@pytest.mark.property
@settings(deadline=None)
@given(UNITS, st.integers(1, 9), st.booleans())
def test_seeds_are_those_of_the_twin(documents: list[list[int]], size: int, as_bytes: bool) -> None:
    index = np.cumsum([0, *map(len, documents)])
    flat = [unit for document in documents for unit in document]
    found = substrings.seeds(np.array(flat, np.uint8 if as_bytes else np.uint64), index, size=size)
    for i, document in enumerate(documents):
        rows = slice(found.index[i], found.index[i + 1])
        assert np.repeat(found.hashes[rows], found.counts[rows]).tolist() == reference.seeds(document, size)
        ends = found.first[rows] + found.counts[rows]
        assert found.first[rows].tolist() == [index[i], *ends[:-1].tolist()][: len(ends)]


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 9))
def test_of_two_equal_windows_each_has_a_seed_of_its_own(units: list[int], size: int) -> None:
    found = substrings.seeds(np.array(units, np.uint8), np.array([0, len(units)]), size=size, apart=True)
    assert np.repeat(found.hashes, found.counts).tolist() == reference.seeds(units, size)
    for first, count in zip(found.first.tolist(), found.counts.tolist(), strict=True):
        windows = [tuple(units[i : i + size]) for i in range(first, first + count)]
        assert len(set(windows)) == count


def test_many_windows_have_few_seeds() -> None:
    units = np.random.default_rng(0).integers(0, 2**63, 100_000).astype(np.uint64)
    found = substrings.seeds(units, np.array([0, len(units)]), size=50)
    assert 0.9 < len(found.hashes) / (len(units) * 2 / 27) < 1.1
    assert 0.4 < np.mean(found.hashes < 1 << 63) < 0.6  # ranges of hashes hold alike many


def test_windows_of_no_unit_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 0 units"):
        substrings.seeds(np.zeros(3, np.uint8), np.array([0, 3]), size=0)
