"""Word and line statistics agree with their twin. Run: `pytest tests/kernels/test_quality.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.quality import line_marks, median_word_length, word_sums
from dolma.kernels.reference import quality as reference
from dolma.kernels.views import line_spans, word_spans

VOCABULARY = ("the", "be", "of", "漢字")
documents_of_words = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from([*VOCABULARY, "The", "#", "…", "...", "..", "é.", "\n", "- ", "•", "\x1c", "\u3000"]),
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12),
        ),
        max_size=15,
    ).map(" ".join),
    max_size=5,
)
checked = settings(max_examples=100, deadline=None)


@pytest.mark.property
@checked
@given(documents_of_words)
def test_word_sums_equal_those_of_str_methods(documents):
    found = word_sums(TextBatch.of(documents).view(word_spans), vocabulary=VOCABULARY)
    assert found.tolist() == [reference.word_sums(text.split(), vocabulary=VOCABULARY) for text in documents]


@pytest.mark.property
@checked
@given(st.lists(st.lists(st.integers(1, 700).map(lambda n: "a" * n), max_size=12).map(" ".join), max_size=5))
def test_the_median_length_is_that_of_the_statistics_module(documents):
    found = median_word_length(TextBatch.of(documents).view(word_spans))
    assert found.tolist() == [reference.median_word_length(text.split()) for text in documents]


@pytest.mark.property
@checked
@given(documents_of_words)
def test_line_marks_equal_those_of_str_methods(documents):
    batch = TextBatch.of(documents)
    found = line_marks(batch.utf8, batch.view(line_spans), bullets="-•")
    assert found.tolist() == [reference.line_marks(text.split("\n"), bullets="-•") for text in documents]


def test_a_word_of_a_hundred_thousand_characters_has_its_length_as_median():
    assert median_word_length(TextBatch.of(["a" * 100_000]).view(word_spans)).tolist() == [100_000.0]


def test_a_vocabulary_too_large_is_refused():
    words = TextBatch.of(["a"]).view(word_spans)
    with pytest.raises(ValueError, match="at most 64"):
        word_sums(words, vocabulary=tuple(map(str, np.arange(65))))
