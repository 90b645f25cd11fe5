"""The scan finds what its twin finds. Run: `pytest tests/kernels/test_candidates.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.candidates import IBAN_FORMS, find_candidates, iban_length, prefixes, stems
from dolma.kernels.reference import candidates as reference

words = sorted(word.decode(errors="ignore") for some in stems().values() for word in some)
pieces = st.sampled_from(
    [
        *"aZf@.-_%+ (/):é漢01\nx",
        *("..", "::", "Z9", "212", "555", "0100", "25", "fe80", "1a-2B-", "-3c", "1e:", "x" * 20, "Q7" * 5),
        *("4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", "378282246310005", "0000000000000"),
        *("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "no9386011117947", "531-21-7351", "AB12"),
        *words,
        *sorted(prefix.decode() for prefix in prefixes()),
    ]
)
texts = st.lists(
    st.one_of(
        st.lists(pieces, max_size=30).map("".join),
        st.lists(pieces, max_size=12).map(" ".join),
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30),
        st.text(alphabet=st.sampled_from("0123456789+-. ()"), max_size=60),
        st.text(alphabet=st.sampled_from("0123456789 -"), min_size=10, max_size=60),
        st.text(alphabet=st.sampled_from("01aF:-x"), max_size=60),
        st.tuples(st.integers(60, 70), st.integers(245, 260)).map(lambda n: "a" * n[0] + "@b." + "c" * n[1]),
    ),
    max_size=5,
)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(texts)
def test_candidates_are_those_of_the_twin(documents):
    batch = TextBatch.of(documents)
    found = batch.view(find_candidates)
    columns = (found.kinds, found.documents, found.starts, found.ends)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for i, text in enumerate(documents):
        base = int(batch.offsets[i])
        mine = sorted((kind, start - base, end - base) for kind, document, start, end in rows if document == i)
        assert mine == reference.find_candidates(text)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 5_000_000,
        "@" * 5_000_000,
        "a@" * 2_500_000,
        "+1" * 2_500_000,
        ":" * 5_000_000,
        "a1" * 2_500_000,
        "12 " * 1_600_000,
        "1:" * 2_500_000,
        "a-1-" * 1_250_000,
        "DE12 " * 1_000_000,
    ],
)
def test_five_megabytes_of_nearly_candidates_hold_none(text):
    assert len(TextBatch.of([text]).view(find_candidates).kinds) == 0


def test_candidates_do_not_reach_across_documents():
    texts = ["212-555", "-0100", "a@b", ".c", "tel ", "123 4567", "4111 1111", " 1111 1111", "fe80:", ":1"]
    assert len(TextBatch.of(texts).view(find_candidates).kinds) == 0


def test_every_account_number_has_fifteen_to_thirty_four_characters():
    assert {iban_length(country) for country in IBAN_FORMS} <= set(range(15, 35))
