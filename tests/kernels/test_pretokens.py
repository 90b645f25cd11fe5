"""Pre-tokens are those of the published expressions. Run: `pytest tests/kernels/test_pretokens.py`."""

from __future__ import annotations

import functools
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.pretokens import CL100K, GPT2, O200K, UNLIMITED, classes_of, pattern_of, pretoken_ends
from dolma.kernels.reference import pretokens as reference

FORMS = [(GPT2, UNLIMITED), (CL100K, 3), (CL100K, 1), (CL100K, 2), (O200K, 3)]
SPECIMENS = (
    *"aAbsSdtTlrReEzZ0123456789 \n\r\t'.,!/(-\"\x00\x1f\x0b\x0c\x7f",
    *"éßÑſ中日本ー“—\u0085\u00a0\u3000\u2028\u0301\u0345ǅⅫ٣１²ªʰאबा\u200d😀🏽\U0001d7d8\U0010ffff\u0558\u088f",
    *(
        "'s",
        "'S",
        "'ll",
        "'RE",
        "'ſ",
        "''",
        "  ",
        "\n\n",
        "\r\n",
        " \n ",
        "\t\t",
        ". \n",
        "//\n/",
        "12345",
        "HTTPServer",
        "word",
    ),
)


@functools.cache
def expression(form: int, digits: int, unicode: int) -> re.Pattern[str]:
    return reference.compiled(pattern_of(form, digits=digits), classes_of(unicode)[:0x110000].tolist())


def pretokens(texts: list[str], form: int, digits: int, unicode: int) -> list[str]:
    batch = TextBatch.of(texts)
    ends = pretoken_ends(batch.utf8, batch.offsets, form=form, digits=digits, classes=classes_of(unicode))
    return [batch.utf8[start:end].tobytes().decode() for start, end in itertools.pairwise([0, *ends.tolist()])]


texts = st.lists(
    st.lists(
        st.sampled_from(SPECIMENS)
        | st.builds(lambda one, n: one * n, st.sampled_from(SPECIMENS), st.integers(1, 80))
        | st.text("abcXYZ ", max_size=8)
        | st.characters(exclude_categories=["Cs"]),
        max_size=40,
    ).map("".join),
    max_size=4,
)


@pytest.mark.property
@pytest.mark.parametrize(("form", "digits"), FORMS)
@pytest.mark.parametrize("unicode", [16, 17])
@settings(max_examples=100, deadline=None)
@given(documents=texts)
def test_texts_are_cut_as_by_the_expression(form: int, digits: int, unicode: int, documents: list[str]) -> None:
    cut = expression(form, digits, unicode)
    assert pretokens(documents, form, digits, unicode) == [
        one for text in documents for one in reference.pretokens(text, cut)
    ]


@pytest.mark.parametrize("size", range(55, 75))
@pytest.mark.parametrize(("form", "digits"), FORMS)
def test_what_is_decided_at_the_end_of_a_block_is_right(form: int, digits: int, size: int) -> None:
    cut = expression(form, digits, 17)
    for tail in itertools.product(["'", "l", " ", "\n", "!", "é", "7", "“"], repeat=3):
        text = ("ab " * 30)[:size] + "".join(tail) + "ll x"
        assert pretokens([text], form, digits, 17) == reference.pretokens(text, cut), text


def test_a_pretoken_of_a_megabyte_is_one() -> None:
    assert [len(one) for one in pretokens(["a" * 1_000_000 + " b"], CL100K, 3, 17)] == [1_000_000, 2]


def test_patterns_are_those_that_are_published() -> None:
    assert pattern_of(GPT2, digits=UNLIMITED) == (
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )
    assert pattern_of(CL100K, digits=3) == (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    assert r"|\p{N}| ?" in pattern_of(CL100K, digits=1)


def test_no_text_has_no_pretokens() -> None:
    batch = TextBatch.of(["", ""])
    ends = pretoken_ends(batch.utf8, batch.offsets, form=GPT2, digits=UNLIMITED, classes=classes_of(17))
    assert ends.dtype == np.int64 and len(ends) == 0
