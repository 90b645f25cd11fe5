"""Repetition counts agree with their twin. Run: `pytest tests/kernels/test_repetition.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import repetition as reference
from dolma.kernels.repetition import LONGEST, duplicate_fractions, line_copies, ngram_fractions
from dolma.kernels.views import line_spans, paragraph_spans, word_spans

# Few different words, so that long n-grams repeat.
repetitive = st.lists(st.sampled_from(["a", "bb", "é", "漢字", "🎉", "the"]), max_size=60).map(" ".join)
few_lines = st.lists(st.sampled_from(["", " ", "a", " a", "b ", "漢", "\u3000", "a b", "\r"]), max_size=12).map(
    "\n".join
)
anything = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
checked = settings(max_examples=100, deadline=None)


def ngrams(*texts: str) -> np.ndarray:
    return ngram_fractions(TextBatch.of(texts).view(word_spans))


@pytest.mark.property
@checked
@given(st.lists(st.one_of(repetitive, anything), max_size=5))
def test_ngram_fractions_equal_those_of_counted_tuples(documents):
    expected = [
        [reference.ngram_fraction(text.split(), n, most_common_only=n <= 4) for n in range(2, LONGEST + 1)]
        for text in documents
    ]
    assert ngrams(*documents) == pytest.approx(np.array(expected).reshape(-1, LONGEST - 1), abs=1e-12)


@pytest.mark.property
@checked
@given(st.lists(st.one_of(few_lines, anything), max_size=5))
def test_duplicate_lines_equal_those_of_counted_strings(documents):
    batch = TextBatch.of(documents)
    found = duplicate_fractions(batch.utf8, batch.view(line_spans))
    expected = [reference.duplicate_fractions(text.split("\n")) for text in documents]
    assert found == pytest.approx(np.array(expected).reshape(-1, 2), abs=1e-12)


@pytest.mark.property
@checked
@given(st.lists(st.one_of(few_lines, anything), max_size=5))
def test_copies_of_lines_equal_those_of_counted_strings(documents):
    lines = [text.removesuffix("\n").split("\n") if text else [] for text in documents]
    expected = [copies for of_document in lines for copies in reference.line_copies(of_document)]
    assert TextBatch.of(documents).view(line_copies, line_spans).tolist() == expected


def test_text_without_repetition_has_no_most_common_ngram():
    assert not ngrams("every word here is different").any()


def test_overlapping_occurrences_count_each_character_once():
    assert ngrams("a " * 50).tolist() == [[1.0] * 9]


def test_ngrams_do_not_reach_across_documents():
    assert not ngrams("a b", "a b", "a b").any()


def test_the_table_of_a_long_document_leaves_nothing_for_the_next():
    long = " ".join(map(str, range(5000)))
    assert ngrams(long, "a b a b", long).tolist() == ngrams("x", "a b a b", "x").tolist()


def test_a_million_equal_words_take_linear_time():
    assert ngrams("a " * 1_000_000).tolist() == [[1.0] * 9]


def test_paragraphs_are_compared_whole():
    batch = TextBatch.of(["a\nb\n\na\nb\n\na\nc"])
    assert duplicate_fractions(batch.utf8, batch.view(paragraph_spans)).tolist() == [[2 / 3, 6 / 9]]


def test_a_batch_without_documents_has_no_rows():
    assert ngrams().shape == (0, 9)
