"""The loops of dedupe against their readable twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.dedupers.paragraphs import split_paragraphs, takes_part
from dolma.dedupers.reference import gate, paragraphs

text = st.text(alphabet=st.sampled_from("ab\n \t\r\x1c\x85\u3000\u2028é中😀\u0301"), max_size=40)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(text | st.text(max_size=20), max_size=4))
def test_paragraphs_are_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = split_paragraphs(batch.utf8, batch.offsets)
    cleaned = batch.texts()
    expected = [paragraphs(text) for text in cleaned]
    assert found.counts.tolist() == [len(pieces) for pieces in expected]
    assert found.characters.tolist() == [len(text) for text in cleaned]
    keys = [batch.utf8[start:end].tobytes().decode() for start, end in zip(found.starts, found.ends, strict=True)]
    assert list(zip(found.first.tolist(), found.last.tolist(), keys, strict=True)) == [
        piece for pieces in expected for piece in pieces
    ]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(text, max_size=4), st.booleans(), st.integers(0, 4), st.integers(0, 3))
def test_the_gate_is_that_of_the_twin(texts: list[str], skip_empty: bool, min_length: int, min_words: int) -> None:
    batch = TextBatch.of(texts)
    least = max(min_words, int(skip_empty))
    found = takes_part(batch.utf8, batch.offsets[:-1], batch.offsets[1:], min_length=min_length, min_words=least)
    twin = gate(skip_empty=skip_empty, min_length=min_length, min_words=min_words)
    assert found.tolist() == [twin(text) for text in texts]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(text | st.text(max_size=20), max_size=4), st.text("ab\né中😀", min_size=1, max_size=3))
def test_any_text_may_stand_between_paragraphs(texts: list[str], separator: str) -> None:
    batch = TextBatch.of(texts)
    found = split_paragraphs(batch.utf8, batch.offsets, separator)
    expected = [paragraphs(text, separator) for text in batch.texts()]
    keys = [batch.utf8[start:end].tobytes().decode() for start, end in zip(found.starts, found.ends, strict=True)]
    assert list(zip(found.first.tolist(), found.last.tolist(), keys, strict=True)) == [
        piece for pieces in expected for piece in pieces
    ]


def test_a_long_line_is_one_paragraph() -> None:
    batch = TextBatch.of(["é" * 100_000 + "\n"])
    found = split_paragraphs(batch.utf8, batch.offsets)
    assert (found.first.tolist(), found.last.tolist(), found.ends.tolist()) == ([0], [100_001], [200_000])


def test_the_last_paragraph_of_a_text_beyond_ascii_ends_with_it() -> None:
    batch = TextBatch.of(["é\né", "日本語\n日本語"])
    found = split_paragraphs(batch.utf8, batch.offsets)
    assert list(zip(found.first.tolist(), found.last.tolist(), strict=True)) == [(0, 2), (2, 3), (0, 4), (4, 7)]


def test_no_documents_have_no_paragraphs() -> None:
    found = split_paragraphs(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert (len(found.starts), len(found.counts)) == (0, 0)
