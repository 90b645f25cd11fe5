"""Tokens are counted as by the twin. Run: `pytest tests/kernels/test_english_tokens.py`."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.english_tokens import english_token_spans, english_tokens
from dolma.kernels.hashing import hash64_spans
from dolma.kernels.reference import english_tokens as reference
from dolma.kernels.views import word_spans

CHARACTERS = st.one_of(
    st.sampled_from("aZ19.,-'’:/=+*^~–—s$%§#(“”_w …éÉ\n漢"), st.characters(exclude_categories=["Cs"])
)
PIECES = ["don't", "it's", "e.g.", "U.S.", "...", "http://", "www.", "3.5", "a-b", "1-2", "1--2", "x.Y", "'s", "ABC."]
texts = st.lists(st.one_of(st.sampled_from(PIECES), CHARACTERS), max_size=12).map("".join)


# Near the end of the buffer words are read character by character: what comes after one decides how it is read.
PADDING = "a" * 64


def counted(*documents: str) -> list[int]:
    batch, padded = TextBatch.of(documents), TextBatch.of([*documents, PADDING])
    counts = english_tokens(padded.utf8, padded.view(word_spans)).tolist()
    assert english_tokens(batch.utf8, batch.view(word_spans)).tolist() == counts[:-1]
    return counts[:-1]


words = st.text(alphabet="aZs1.,-'():/$%=+ww^", min_size=1, max_size=9)


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(texts, st.lists(words, max_size=20).map(" ".join)), max_size=4))
@example(["1--2", "a'bc'd", "..a..", "www.x", "'s", "a's"])
@example(["(" * 63 + "a", "a" * 62 + ".", "x" + ")" * 64, "(1$). (1%)$ (a$) U.S. (U.S.) SA. 1^-2 a://b/c www", ".x"])
def test_tokens_equal_those_of_the_twin(documents):
    assert counted(*documents) == [sum(map(reference.english_tokens, text.split())) for text in documents]


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["1--2", "a'bc'd", "..a..", "www.x", "'s", "a's", "a:b://c", "b-c,d.E/f", "10%$", "+1-+2", "a\u2028b"])
@example(["don't\x1b" * 40, "a" * 99])
def test_the_tokens_themselves_are_those_of_the_twin(documents):
    batch = TextBatch.of(documents)
    found = batch.view(english_token_spans)
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    expected = [reference.tokens_of(text) for text in documents]
    every = list(itertools.chain.from_iterable(expected))
    assert [batch.utf8[start:end].tobytes().decode() for start, end in spans] == every
    assert found.per_document().tolist() == list(map(len, expected)) == counted(*documents)
    assert found.n_characters.tolist() == list(map(len, every))
    assert found.hashes.tolist() == hash64_spans(batch.utf8, found.starts, found.ends).tolist()


@pytest.mark.parametrize("letter", ["a", ".", "(", "-", "'", "a-"])
def test_a_word_of_a_million_characters_takes_linear_time(letter):
    word = letter * (1_000_000 // len(letter))
    batch = TextBatch.of([word])
    assert counted(word) == [reference.english_tokens(word)] == batch.view(english_token_spans).per_document().tolist()
