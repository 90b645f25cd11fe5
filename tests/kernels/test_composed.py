"""What is said to be in NFC is. Run: `pytest tests/kernels/test_composed.py`."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.composed import COMPOSED, UNCLEAR, UNKNOWN, forms_of
from dolma.kernels.pretokens import with_room

SPECIMENS = [*"aeA é\u0301\u0316\u0345가각\u1100\u1161\u11a8בֹ\u093cक़\u212b中😀", "\u0378", "word " * 15]


def forms(texts: list[str]) -> list[int]:
    batch = TextBatch.of(texts)
    return forms_of(with_room(batch.utf8), batch.offsets[:-1], batch.offsets[1:]).tolist()


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(SPECIMENS) | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join),
        max_size=5,
    )
)
def test_a_composed_text_is_in_nfc(texts: list[str]) -> None:
    for text, form in zip(texts, forms(texts), strict=True):
        assert form != COMPOSED or unicodedata.is_normalized("NFC", text)


def test_forms_of_some_texts() -> None:
    some = ["", "plain", "é", "e\u0301", "ק\u05b8", "a\u0378", "\u1100\u1161", "\u212b", "x" * 64 + "\u0301"]
    assert forms(some) == [COMPOSED] * 3 + [UNCLEAR, COMPOSED, UNKNOWN, UNCLEAR, UNCLEAR, UNCLEAR]


def test_the_table_says_of_each_character_what_python_says() -> None:
    """But for those that a later version of Unicode has assigned."""
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for point, form in zip(points, forms([chr(point) for point in points]), strict=True):
        if form == COMPOSED:
            assert unicodedata.is_normalized("NFC", chr(point))
        if form == UNKNOWN:
            assert unicodedata.category(chr(point)) == "Cn" or unicodedata.unidata_version > "14.0.0"
