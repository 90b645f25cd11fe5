"""Lines are those of the twin. Run: `pytest tests/kernels/test_samples.py`."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import samples as reference
from dolma.kernels.samples import sampled_lines
from dolma.kernels.views import code_points

CHANGING = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000 and chr(i).lower() != chr(i)]
parts = st.one_of(
    st.sampled_from(
        ["</s>", "</S>", "<", ">", "ΑΣ", "Σ'", "Σ", "İ", "K", "\x1c", "\xa0", "\u3000", "\0", "A" * 70, "投票"]
    ),
    st.sampled_from(CHANGING),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(max_codepoint=127), max_size=200),
)
texts = st.lists(parts, max_size=12).map("".join)


def lines(documents: list[str], *, max_characters: int, min_letters: int) -> list[bytes]:
    batch = TextBatch.of(documents)
    text, starts, ends = sampled_lines(
        batch.utf8,
        batch.offsets,
        batch.view(code_points),
        max_characters=max_characters,
        min_letters=min_letters,
    )
    return [text[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(
    documents=st.lists(texts, max_size=4),
    max_characters=st.one_of(st.integers(4, 300), st.just(10**9)),
    min_letters=st.integers(0, 12),
)
def test_lines_are_the_twins(documents, max_characters, min_letters):
    limits = {"max_characters": max_characters, "min_letters": min_letters}
    assert lines(documents, **limits) == [reference.line_of(text, **limits) for text in documents]


def test_every_character_has_pythons_lower_case():
    documents = [chr(i) + "." for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    limits = {"max_characters": 4, "min_letters": 0}
    assert lines(documents, **limits) == [reference.line_of(text, **limits) for text in documents]


@pytest.mark.parametrize(
    "text", ["ΟΔΥΣΣΕΥΣ", "ΣΑΣ Σ ΑΣ.", "ΑΣ</s>Α", "ΑΣ\u0301Β", "İΣ", "Σ" * 99 + "</S>", "Σ </s>", " Σ"]
)
def test_a_sigma_has_pythons_lower_case(text):
    limits = {"max_characters": 40, "min_letters": 0}
    assert lines([text], **limits) == [reference.line_of(text, **limits)]


def test_what_is_longest_in_lower_case_fits():
    documents = ["Ⱥ" * n for n in (1, 3, 7, 50)] + ["İ" * 40]
    limits = {"max_characters": 41, "min_letters": 0}
    assert lines(documents, **limits) == [reference.line_of(text, **limits) for text in documents]
