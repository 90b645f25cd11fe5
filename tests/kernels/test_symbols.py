"""Symbols are counted as by `str.count`. Run: `pytest tests/kernels/test_symbols.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import symbols as reference
from dolma.kernels.symbols import symbol_counts

texts = st.one_of(st.text(alphabet=". #…é"), st.text(alphabet=st.characters(exclude_categories=["Cs"])))


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=4))
@example([".", "..", "", "..", ". . . . .", "\u2025…"])
def test_symbols(documents):
    assert TextBatch.of(documents).view(symbol_counts).tolist() == [reference.symbol_counts(d) for d in documents]


@pytest.mark.parametrize("text", ["." * 3_000_000, ". " * 3_000_000, "#" * 1_000_000])
def test_hostile_texts_take_linear_time(text):
    assert TextBatch.of([text]).view(symbol_counts).tolist() == [reference.symbol_counts(text)]
