"""The scan finds what `bytes.find` finds. Run: `pytest tests/kernels/test_positions.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels.positions import positions_of

texts = st.lists(st.sampled_from([b"a", b"b", b"ab" * 40, b"a" * 64, b"abc", b"\xff"]), max_size=40).map(b"".join)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(texts, st.binary(min_size=1, max_size=6) | st.sampled_from([b"a", b"ab", b"abc", b"aba", b"bcab", b"a" * 70]))
def test_places_are_those_of_the_twin(text, needle):
    expected = [i for i in range(len(text)) if text.startswith(needle, i)]
    assert positions_of(np.frombuffer(text, np.uint8), needle).tolist() == expected


def test_there_may_be_many_places():
    assert positions_of(np.frombuffer(b"a" * 1000, np.uint8), b"aa").tolist() == list(range(999))


def test_an_empty_needle_is_refused():
    with pytest.raises(ValueError, match="the needle is empty; expected at least one byte"):
        positions_of(np.frombuffer(b"a", np.uint8), b"")
