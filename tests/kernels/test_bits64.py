"""Counts agree with `bytes.count`. Run: `pytest tests/kernels/test_bits64.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.bits64 import byte_counts


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(alphabet="ab?\u00e9") | st.sampled_from(["?" * 64, "a?" * 100]), max_size=6))
def test_bytes_are_counted_in_each_document(documents):
    batch = TextBatch.of(documents)
    assert byte_counts(batch.utf8, batch.offsets, ord("?")).tolist() == [text.count("?") for text in documents]
