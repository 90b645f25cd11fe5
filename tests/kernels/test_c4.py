"""Lines, brackets and sentences equal those of Python and the twin. Run: `pytest tests/kernels/test_c4.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.c4 import brackets, ends_of_sentence, longest_words, sentence_counts, split_lines
from dolma.kernels.english_tokens import english_token_spans
from dolma.kernels.reference import c4 as reference
from dolma.kernels.reference.english_tokens import tokens_of

checked = settings(max_examples=150, deadline=None)
anything = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
breaks = st.text(alphabet=st.sampled_from("ab \n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029é漢"), max_size=40)
PIECES = ["[1]", "[", "]", "٣", "2", "[edit]", "[Edit]", "[citation needed]", "{", "{{", "a", " ", "é", "edit]"]
noted = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
ENDS = [".", "!", "?", "...", "”", '"', " ", " ", "word", "no", "。", "؟", "'", "..", "1", "%", "\u3000"]
ended = st.lists(st.sampled_from(ENDS), max_size=25).map("".join)


@pytest.mark.property
@checked
@given(st.lists(st.one_of(breaks, anything), max_size=4))
@example(["\r\n\r", "\n", "", "a\u2028", "\x85" * 9])
def test_lines_are_those_of_splitlines(texts):
    batch = TextBatch.of(texts)
    lines = batch.view(split_lines)
    whole = batch.utf8.tobytes()
    found = [whole[a:b].decode() for a, b in zip(lines.starts.tolist(), lines.ends.tolist(), strict=True)]
    trimmed = [whole[a:b].decode() for a, b in zip(lines.text_starts.tolist(), lines.text_ends.tolist(), strict=True)]
    expected = [text.splitlines() for text in texts]
    assert found == [line for lines in expected for line in lines]
    assert trimmed == [line.strip() for line in found]
    assert lines.per_document().tolist() == list(map(len, expected))


@pytest.mark.property
@checked
@given(st.lists(st.one_of(noted, anything), max_size=4))
def test_citations_and_curly_brackets(texts):
    batch = TextBatch.of(texts)
    found = brackets(batch.utf8, batch.offsets)
    spans = zip(found.documents.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True)
    each = [(doc, batch.utf8[a:b].tobytes().decode()) for doc, a, b in spans]
    assert [text for _, text in each if text != "{"] == [c for t in texts for c in reference.CITATION.findall(t)]
    assert [doc for doc, text in each if text == "{"] == [
        doc for doc, t in enumerate(texts) for _ in range(t.count("{"))
    ]
    assert found.curly.tolist() == [text == "{" for _, text in each]


@pytest.mark.property
@checked
@given(st.lists(st.one_of(ended, anything), max_size=4))
@example(["One.” Two!? Three", ". a", "a . . b"])
def test_sentences_and_their_ends(texts):
    batch = TextBatch.of(texts)
    starts, ends = batch.offsets[:-1], batch.offsets[1:]
    found = sentence_counts(batch.view(english_token_spans), starts, ends)
    assert found.tolist() == [reference.sentence_count(tokens_of(text)) for text in texts]
    ended = ends_of_sentence(batch.utf8, starts, ends)
    assert ended.tolist() == [t.endswith((".", "?", "!", '"', "'")) and not t.endswith("...") for t in texts]


@pytest.mark.property
@checked
@given(st.lists(st.one_of(breaks, anything), max_size=4), st.integers(0, 5))
def test_longest_words(texts, beyond):
    batch = TextBatch.of(texts)
    found = longest_words(batch.utf8, batch.offsets[:-1], batch.offsets[1:], beyond=beyond)
    longest = [max(map(len, text.split()), default=0) for text in texts]
    assert found.tolist() == [size if size > beyond else 0 for size in longest]


@pytest.mark.parametrize("text", ["[" * 2_000_000, "[1" * 1_000_000, "{" * 1_000_000, "[]" * 500_000, "a " * 1_000_000])
def test_hostile_texts_take_linear_time(text):
    batch = TextBatch.of([text])
    found = brackets(batch.utf8, batch.offsets)
    assert np.count_nonzero(~found.curly) == text.count("[]")
    assert longest_words(batch.utf8, batch.offsets[:-1], batch.offsets[1:], beyond=0)[0] == len(
        max(text.split(), key=len)
    )
