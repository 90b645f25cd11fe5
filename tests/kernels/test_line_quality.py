"""Lines are judged as by `str` methods. Run: `pytest tests/kernels/test_line_quality.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.line_quality import Lines, first_words, has_bytes, line_sums, poor_lines
from dolma.kernels.reference import line_quality as reference
from dolma.kernels.repetition import line_copies
from dolma.kernels.views import code_points, line_spans

PIECES = ["a", "word ", "é", "漢", ".", '"', "!", "\n", " ", "\u3000", "\x1c", "long words here ", "🖕", "\r\n", "”"]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(exclude_categories=["Cs"])), max_size=30).map("".join)
# Near the end of the buffer bytes are read one by one: what comes after a document decides how it is read.
PADDING = "Words behind it, " * 8
documents_of = st.tuples(st.lists(texts, max_size=5), st.sampled_from([[], [PADDING]])).map(lambda p: p[0] + p[1])
checked = settings(max_examples=100, deadline=None)


def rows_of(lines: Lines) -> list[list[tuple[int, int]]]:
    bounds = np.cumsum([0, *lines.counts])
    pairs = list(zip(lines.starts.tolist(), lines.ends.tolist(), strict=True))
    return [pairs[a:b] for a, b in itertools.pairwise(bounds)]


@pytest.mark.property
@checked
@given(documents_of, st.integers(1, 4))
@example(["", "\n", "a\n", "é b c.\nd"], 3)
def test_poor_lines_equal_those_of_str_methods(documents, words):
    batch = TextBatch.of(documents)
    found = poor_lines(
        batch.utf8, batch.offsets, batch.view(line_spans), batch.view(code_points), endings='.?!"', words=words
    )
    expected = [reference.poor_lines(text, endings='.?!"', words=words) for text in documents]
    assert list(zip(*map(rows_of, found), strict=True)) == expected


@pytest.mark.property
@checked
@given(texts, st.integers(1, 5))
def test_first_words_equal_those_of_split(text, most):
    batch = TextBatch.of([text])
    lines = text.split("\n")[: None if text and not text.endswith("\n") else -1]
    found = first_words(batch.utf8, batch.view(line_spans), most=most)
    assert found.tolist() == [reference.first_words(line, most=most) for line in lines]


@pytest.mark.property
@checked
@given(documents_of, st.integers(0, 12))
@example(["a.\na.\n a.\na.", "\n\n", "é。\né。"], 2)
def test_line_sums_equal_those_of_str_methods(documents, short):
    batch = TextBatch.of(documents)
    endings = np.zeros(1 << 21, dtype=np.uint8)
    endings[[ord(ending) for ending in ".!。"]] = 1
    found = line_sums(
        batch.utf8, batch.view(line_spans), batch.view(line_copies, line_spans), endings=endings, short=short
    )
    assert found.tolist() == [reference.line_sums(text, endings=".!。", short=short) for text in documents]


@pytest.mark.property
@checked
@given(documents_of)
def test_bytes_are_found_in_their_documents_alone(documents):
    batch = TextBatch.of(documents)
    found = has_bytes(batch.utf8, batch.offsets, "é".encode(), b"!!")
    assert found.tolist() == [["é" in text, "!" in text] for text in documents]


def test_a_line_of_a_million_letters_is_one_word():
    batch = TextBatch.of(["a" * 1_000_000])
    assert first_words(batch.utf8, batch.view(line_spans), most=3).tolist() == [1]
