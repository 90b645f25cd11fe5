"""Counts of words, lines and paragraphs against their twins. Run: `pytest tests/kernels/test_counts.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.counts import count_blocks, count_words
from dolma.kernels.reference import counts as reference
from dolma.kernels.views import line_spans, paragraph_spans, word_spans

SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000"
# Near the end of the buffer bytes are read one by one: what comes after a document decides how it is read.
PADDING = "words behind it " * 8
_SOME = st.lists(
    st.text(
        st.sampled_from(SPACES + "ab\x00é\u200b\u2019\u3001\ufeff中\U0001f600")
        | st.characters(exclude_categories=["Cs"])
    )
)
TEXTS = st.tuples(_SOME, st.sampled_from([[], [PADDING]])).map(lambda both: both[0] + both[1])


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_counts_are_those_of_the_twins(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    lines, paragraphs = count_blocks(batch.utf8, batch.offsets).tolist()
    assert count_words(batch.utf8, batch.offsets).tolist() == [reference.words(text) for text in texts]
    assert lines == [reference.lines(text) for text in texts]
    assert paragraphs == [reference.paragraphs(text) for text in texts]
    assert paragraphs == batch.view(line_spans).paragraphs_per_document().tolist()


@pytest.mark.parametrize(
    "text",
    ["", "a" * 100_000, "\n" * 100_000, "中" * 30_000, "\u2003" * 30_000, "a\u2003" * 30_000, "a b\n" * 30_000],
    ids=["empty", "a", "newlines", "chinese", "wide spaces", "words between wide spaces", "lines"],
)
def test_counts_are_those_of_the_spans(text: str) -> None:
    batch = TextBatch.of([text, "x", text])
    found = [batch.view(view).per_document().tolist() for view in (word_spans, line_spans, paragraph_spans)]
    assert [count_words(batch.utf8, batch.offsets).tolist(), *count_blocks(batch.utf8, batch.offsets).tolist()] == found
