"""Sums of lines and sentences are those of the twin. Run: `pytest tests/kernels/test_block_sums.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.block_sums import block_sums
from dolma.kernels.reference import block_sums as reference

PIECES = st.sampled_from(["A", "b", " ", "\u3000", "É", "ß", "1", "٣", "(", "漢", "\n", "Word", " x y z "])
TEXTS = st.lists(st.one_of(PIECES, st.characters(exclude_categories=["Cs"])), max_size=20).map("".join)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_sums_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = block_sums(batch.utf8, batch.offsets[:-1], batch.offsets[1:])
    assert found.tolist() == [reference.block_sums(text) for text in texts]


def test_a_long_line() -> None:
    batch = TextBatch.of(["aB " * 400_000])
    assert block_sums(batch.utf8, batch.offsets[:-1], batch.offsets[1:]).tolist() == [
        [1_200_000, 400_000, 400_000, 0, 0, 400_000, 0, 0]
    ]
