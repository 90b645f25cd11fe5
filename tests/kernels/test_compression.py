"""Compressed sizes and entropies equal those of the twin. Run: `pytest tests/kernels/test_compression.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.compression import compressed_bits, entropies
from dolma.kernels.reference import compression as reference

few = st.text(alphabet="ab ", max_size=200)
pieces = st.lists(st.sampled_from(["one ", "two", "漢字", "é", "\n", "one two", "x" * 9]), max_size=40).map("".join)
texts = st.one_of(few, pieces, st.text(max_size=50))


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["", "aaaaa", "aaaaaaaaaaaaa", "abcdabc", "abcdabcd"])
@example(["abcd", "abcd"])
def test_sizes_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = compressed_bits(batch.utf8, batch.offsets)
    assert found.tolist() == pytest.approx([reference.compressed_bits(text) for text in batch.texts()], abs=1e-6)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=4))
def test_entropies_equal_those_of_the_twin(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = entropies(batch.utf8, batch.offsets)
    assert found[:, 0].tolist() == pytest.approx([reference.entropy(text.encode()) for text in batch.texts()])
    assert found[:, 1].tolist() == pytest.approx([reference.entropy(text) for text in batch.texts()])


def test_a_size_does_not_depend_on_the_other_documents():
    text = "something that is not long and not too short, that is to say"
    together, alone = TextBatch.of([text[::-1], text, text]), TextBatch.of([text])
    sizes = compressed_bits(together.utf8, together.offsets)
    assert sizes[1] == sizes[2] == compressed_bits(alone.utf8, alone.offsets)[0]


def test_a_million_letters_are_one_match():
    batch = TextBatch.of(["a" * 1_000_000])
    assert compressed_bits(batch.utf8, batch.offsets)[0] < 80
