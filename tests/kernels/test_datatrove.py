"""datatrove's arithmetic equals that of its twin. Run: `pytest tests/kernels/test_datatrove.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import datatrove as kernels
from dolma.kernels.c4 import split_lines
from dolma.kernels.english_tokens import english_token_spans
from dolma.kernels.reference import datatrove as reference
from dolma.kernels.reference.english_tokens import tokens_of
from dolma.kernels.views import line_spans

checked = settings(max_examples=150, deadline=None)
anything = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
# Few different words, so that long n-grams repeat.
repetitive = st.lists(st.sampled_from(["a", "bb", "é", "漢字", "🎉", "the", "the,"]), max_size=60).map(" ".join)
LINES = ["", " ", "a", " a", "b ", "漢", "\u3000", "a b", "\r", "\r\n", "-", "•a", "a...", "…", "....", "#"]
few_lines = st.lists(st.sampled_from(LINES)).map("\n".join)
breaks = st.text(alphabet=st.sampled_from("a-•#.… \n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029é"), max_size=40)
documents = st.lists(st.one_of(repetitive, few_lines, breaks, anything), max_size=5)


@pytest.mark.property
@checked
@given(documents)
@example(["a b a b a b a b a b a b a b"])
def test_repeated_ngrams(texts):
    found = kernels.ngram_characters(TextBatch.of(texts).view(english_token_spans))
    assert found.tolist() == [reference.ngram_characters(tokens_of(text)) for text in texts]


@pytest.mark.property
@checked
@given(documents)
@example(["\n", "", "\n\n", "a\n\n\na", "\n\na\n\na\n\n", "\u3000\n\na"])
def test_repeated_lines_and_paragraphs(texts):
    batch = TextBatch.of(texts)
    lines = batch.view(line_spans)
    found = kernels.repeated_lines(batch.utf8, batch.offsets, lines)
    assert found.tolist() == [reference.repeated_pieces(text, paragraphs=False) for text in texts]
    found = kernels.repeated_paragraphs(batch.utf8, batch.offsets, lines)
    assert found.tolist() == [reference.repeated_pieces(text, paragraphs=True) for text in texts]


@pytest.mark.property
@checked
@given(documents)
@example(["\r", "\r\n", "a\r\r\nb", "\x85", "....", "......"])
def test_signs_in_lines(texts):
    batch = TextBatch.of(texts)
    found = kernels.line_marks(batch.utf8, batch.view(split_lines))
    assert found.tolist() == [reference.line_marks(text) for text in texts]


@pytest.mark.property
@checked
@given(documents)
@example(["１ \x00 1 -- é— the of"])
def test_kinds_of_tokens(texts):
    batch = TextBatch.of(texts)
    found = kernels.token_sums(batch.view(english_token_spans), vocabulary=("the", "of"))
    expected = [reference.token_sums(tokens_of(text), vocabulary=("the", "of")) for text in texts]
    assert found.tolist() == expected


@pytest.mark.parametrize("text", ["a" * 1_000_000, "one two three " * 100_000, "\n" * 10_000_000, "a\n" * 2_000_000])
def test_hostile_texts_take_linear_time(text):
    batch = TextBatch.of([text])
    tokens = batch.view(english_token_spans)
    assert kernels.ngram_characters(tokens).shape == (1, 9)
    assert kernels.token_sums(tokens).shape == (1, 4)
    assert kernels.line_marks(batch.utf8, batch.view(split_lines)).shape == (1, 2)
    assert kernels.repeated_lines(batch.utf8, batch.offsets, batch.view(line_spans))[0, 0] >= 1
    assert kernels.repeated_paragraphs(batch.utf8, batch.offsets, batch.view(line_spans))[0, 0] == 1
