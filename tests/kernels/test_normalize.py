"""Text as it is compared. Run: `pytest tests/kernels/test_normalize.py`."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import normalize
from dolma.kernels.reference import normalize as reference

MIXED = st.text(alphabet="aZé .,\n\t\u30001٣2ȺİΣ漢가\u1100\u1161\u11a8e\u0301\u0327ﬁ①—$€😀", max_size=30)
PIECES = ["", "a", "Zed", "wordS", "[x]", "`@{", "é", "12", "two  ", "\t."]
LONG = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
WORDS = st.sets(st.sampled_from(normalize.WORDS))


def made(texts: list[str], words: set[str]) -> list[str]:
    batch = TextBatch.of(texts)
    utf8, offsets = normalize.normalized(batch.utf8, batch.offsets[:-1], batch.offsets[1:], words)
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return [utf8[start:end].tobytes().decode() for start, end in bounds]


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(MIXED | LONG | st.text(max_size=30), max_size=4), WORDS)
def test_it_is_that_of_the_twin(texts: list[str], words: set[str]) -> None:
    cleaned = TextBatch.of(texts).texts()
    assert made(texts, words) == [reference.normalized(text, words) for text in cleaned]


@pytest.mark.property
@settings(deadline=None)
@given(MIXED | LONG | st.text(max_size=30))
def test_what_is_normalized_twice_stays(text: str) -> None:
    words = {"lower", "punctuation", "digits", "spaces"}
    once = made([text], words)
    assert made(once, words) == once


@pytest.mark.parametrize("word", normalize.WORDS)
def test_every_code_point_is_as_the_twin_has_it(word: str) -> None:
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    found = made([f"a{one}b" for one in characters], {word})
    wrong = [
        one for one, text in zip(characters, found, strict=True) if text != reference.normalized(f"a{one}b", {word})
    ]
    assert wrong == []


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_no_pair_of_code_points_that_is_composed_is_missed(form: str) -> None:
    decomposed = [unicodedata.normalize("NFD", chr(i)) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    pairs = [text for text in decomposed if len(text) > 1]
    assert made(pairs, {form.lower()}) == [unicodedata.normalize(form, text) for text in pairs]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Hello,  World!\n", {"lower", "spaces", "punctuation"}, "hello world"),
        (" a - b ", {"spaces", "punctuation"}, "a b"),
        ("don't", {"punctuation"}, "dont"),
        ("1,234.5 and ٣٣", {"digits"}, "0,0.0 and 0"),
        ("1,234.5", {"digits", "punctuation"}, "0"),
        ("Café e\u0301", {"nfc"}, "Café é"),
        ("ﬁ", {"nfkc"}, "fi"),
        ("Çédille", {"accents", "lower"}, "cedille"),
        ("...", {"punctuation"}, ""),
    ],
)
def test_examples(text: str, words: set[str], expected: str) -> None:
    assert made([text], words) == [expected]


def test_no_spans_are_none() -> None:
    utf8, offsets = normalize.normalized(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64), {"nfc"})
    assert (len(utf8), offsets.tolist()) == (0, [0])
