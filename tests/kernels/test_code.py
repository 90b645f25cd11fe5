"""Source code is measured as by the readable twin. Run: `pytest tests/kernels/test_code.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import code
from dolma.kernels.reference import code as reference

OF_LINES = [
    "\n",
    "\r",
    "\r\n",
    "\v",
    "\x1c",
    "\x1e",
    "\x1f",
    "\x85",
    "\u2028",
    "a",
    "1",
    "é",
    "漢",
    "²",
    "_",
    " ",
    "ab12 cd" * 20,
]
lines = st.lists(st.one_of(st.sampled_from(OF_LINES), st.text(max_size=2)), max_size=30).map("".join)


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=4))
@example(["\r", "\n", "\r\n\n\r", "abcdefg\r\nabcdefgh\n", "\n\r\r\n", "a\r\x85\nb"])
def test_sums_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    assert code.text_sums(batch.utf8, batch.offsets).tolist() == [reference.text_sums(text) for text in batch.texts()]
