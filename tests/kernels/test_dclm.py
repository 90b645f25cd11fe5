"""DCLM's words and n-grams equal those of its twin. Run: `pytest tests/kernels/test_dclm.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import dclm as kernels
from dolma.kernels.automata import counts_of
from dolma.kernels.hashing import hash64_spans
from dolma.kernels.reference import dclm as reference
from dolma.kernels.views import word_spans
from dolma.taggers.dolma1.segments import segments
from dolma.taggers.gopher_dclm import STOP_WORDS, uniseg_words

checked = settings(max_examples=150, deadline=None)
anything = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
marked = st.text(alphabet="ab1.'’:, \n_カナ漢\u0308\u200dש\"-\r🇩👩é", max_size=40)
repetitive = st.lists(st.sampled_from(["a", "bb", "é", "漢", "the", "the,", "."]), max_size=60).map(" ".join)
LINES = ["", " ", "a", " a", "b ", "a b", "\r", "...", ". . .", ". . . .", "#", "…", "....", "\u3000"]
few_lines = st.lists(st.sampled_from(LINES), max_size=12).map("\n".join)
documents = st.lists(st.one_of(anything, marked, repetitive, few_lines), max_size=4)


def segmented(text: str) -> list[str]:
    """The segments of a text: there is a boundary where the count of a longer beginning of it is higher for good."""
    batch = TextBatch.of([text])
    ends = np.array([len(text[:i].encode()) for i in range(1, len(text) + 1)], dtype=np.int64)
    counts = counts_of(batch.utf8, np.zeros(len(ends), np.int64), ends, segments())[:, 0].tolist()
    starts = [i for i in range(len(counts)) if min(counts[i:]) > (min(counts[i - 1 :]) if i else 0)]
    return [text[a:b] for a, b in itertools.pairwise([*starts, len(text)])]


@pytest.mark.property
@checked
@given(documents)
@example(["can't a.b. 1,2.3; 'tis a:b:", "a.\u0308b", "a'", 'ש\'ש"ש ש"', "漢字カナ_a", "I.B.M.", "abcdefghijklmnop'q"])
def test_words_are_segments_that_begin_with_a_letter_or_digit(texts):
    batch = TextBatch.of(texts)
    words = batch.view(uniseg_words)
    expected = [[word for word in segmented(text) if word[0].isalnum()] for text in texts]
    spans = zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    found = [batch.utf8[start:end].tobytes().decode() for start, end in spans]
    assert found == [word for some in expected for word in some]
    assert words.per_document().tolist() == list(map(len, expected))
    assert words.n_characters.tolist() == list(map(len, found))
    assert words.hashes.tolist() == hash64_spans(batch.utf8, words.starts, words.ends).tolist()


@pytest.mark.property
@checked
@given(st.lists(repetitive, max_size=4))
@example(["a b a b a b", "x y x y longer pair longer pair"])
def test_ngram_shares(texts):
    found = kernels.ngram_shares(TextBatch.of(texts).view(word_spans))
    expected = [reference.ngram_shares(text.split()) for text in texts]
    assert found == pytest.approx(np.array(expected).reshape(-1, 9), abs=1e-12)


@pytest.mark.property
@checked
@given(documents)
@example(["", "\n", "\n\n", " \n\n ", "a\n\n\nb", "a\n \nb", "\n\n\na"])
def test_paragraphs(texts):
    batch = TextBatch.of(texts)
    found = kernels.paragraph_pieces(batch.utf8, batch.offsets)
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    expected = [reference.pieces(text, separator="\n\n") for text in texts]
    assert [batch.utf8[a:b].tobytes().decode() for a, b in spans] == [piece for some in expected for piece in some]
    assert found.per_document().tolist() == list(map(len, expected))


@pytest.mark.property
@checked
@given(st.lists(st.lists(st.sampled_from(["The", "OF", "of", "wiTh", "a", "\x14he", "thé"])).map(" ".join), max_size=3))
def test_stop_words(texts):
    batch = TextBatch.of(texts)
    stop = [[word.lower() for word in text.split() if word.lower() in STOP_WORDS] for text in texts]
    found = kernels.stop_word_counts(batch.utf8, batch.view(word_spans), STOP_WORDS)
    assert found.tolist() == [[len(words), len(set(words))] for words in stop]


@pytest.mark.parametrize("text", ["a" * 1_000_000, "one two three " * 100_000, "\n" * 10_000_000, "a'" * 500_000])
def test_hostile_texts_take_linear_time(text):
    batch = TextBatch.of([text])
    assert kernels.ngram_shares(batch.view(uniseg_words)).shape == (1, 9)
    assert kernels.paragraph_pieces(batch.utf8, batch.offsets).per_document()[0] <= 1
