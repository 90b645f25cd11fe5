"""Kernels of Dolma 1.x's Gopher against their twin. Run: `pytest tests/kernels/test_dolma1_gopher.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import dolma1_gopher
from dolma.kernels.reference import dolma1_gopher as reference
from dolma.kernels.repetition import line_copies
from dolma.kernels.views import line_spans, word_spans

# Near the end of the buffer bytes are read one by one: what comes after a document decides how it is read.
PADDING = "words behind it " * 8
_SOME = st.lists(
    st.one_of(
        st.text(),
        st.text(alphabet="ab \n*-…#.é"),
        st.lists(st.sampled_from(["a", "bb", "é", "#x", "…", "...", "\n", "- c"]), max_size=40).map(" ".join),
    ),
    max_size=4,
)
TEXTS = st.tuples(_SOME, st.sampled_from([[], [PADDING]])).map(lambda both: both[0] + both[1])


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS)
def test_ngrams(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = dolma1_gopher.ngram_fractions(batch.view(word_spans))
    expected = [[np.nan if share is None else share for share in reference.ngram_fractions(t)] for t in batch.texts()]
    assert np.allclose(found, np.array(expected).reshape(found.shape), equal_nan=True)


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS)
@pytest.mark.parametrize("runs", [False, True])
def test_lines(runs: bool, texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = dolma1_gopher.line_sums(
        batch.utf8, batch.offsets, batch.view(line_spans), batch.view(line_copies, line_spans), runs=runs
    )
    assert found.tolist() == [list(reference.line_sums(text, runs=runs)) for text in batch.texts()]


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS)
def test_symbols(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = dolma1_gopher.symbol_words(batch.utf8, batch.view(word_spans))
    assert found.tolist() == [reference.symbol_words(text) for text in batch.texts()]


def test_a_million_equal_words() -> None:
    batch = TextBatch.of(["a " * 1_000_000])
    found = dolma1_gopher.ngram_fractions(batch.view(word_spans))
    assert found.tolist() == [[1.0] * 9]
