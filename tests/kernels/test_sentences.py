"""Sentences are those of the twin. Run: `pytest tests/kernels/test_sentences.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import sentences as reference
from dolma.kernels.sentences import sentence_spans, terminal_punctuation

MARKS = reference.TERMINAL_PUNCTUATION | {"…"}
PIECES = [
    "One",
    "two",
    " ",
    ". ",
    "! ",
    '?" ',
    "Mr",
    "J",
    "e.g",
    ".",
    "…",
    "。",
    "？」",
    "\n",
    "\u3000",
    "é",
    "É",
    "漢",
    ")",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(exclude_categories=["Cs"])), max_size=30).map("".join)


def found_in(*documents: str) -> list[list[str]]:
    batch = TextBatch.of(documents)
    found = batch.view(sentence_spans)
    whole = batch.utf8.tobytes()
    spans = [whole[start:end].decode() for start, end in zip(found.starts, found.ends, strict=True)]
    return [spans[found.index[i] : found.index[i + 1]] for i in range(len(documents))]


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["Mr. X. e.g. Y. A", ". . A", "a.\u3000B", "一。二！」三"])
def test_sentences_equal_those_of_the_twin(documents):
    assert found_in(*documents) == [reference.sentences(text, marks=MARKS) for text in documents]


def test_initials_titles_and_abbreviations_end_no_sentence():
    assert found_in("Mr. J. Doe of the U.S. Army came. He left.") == [["Mr. J. Doe of the U.S. Army came.", "He left."]]


@pytest.mark.parametrize("unit", [".", "a.", ". A", "漢", "One. ", "a" * 50])
def test_a_million_characters_take_linear_time(unit):
    few = reference.sentences(unit * 50, marks=MARKS)
    per_unit = (len(reference.sentences(unit * 100, marks=MARKS)) - len(few)) // 50
    n = 1_000_000 // len(unit)
    assert len(found_in(unit * n)[0]) == len(few) + per_unit * (n - 50)


def test_kernel_and_twin_know_the_same_punctuation() -> None:
    assert {chr(code) for code in np.flatnonzero(terminal_punctuation()).tolist()} == reference.TERMINAL_PUNCTUATION
    assert len(reference.TERMINAL_PUNCTUATION) == 159
