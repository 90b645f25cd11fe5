"""The scan finds what its twin finds. Run: `pytest tests/kernels/test_dolma1_pii.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.dolma1_pii import doubtful_1x, personal_data_1x
from dolma.kernels.reference import dolma1_pii as reference
from dolma.kernels.views import code_points_at

pieces = st.sampled_from(
    [
        *"aZ@@@@..-_ \n\r\t(),?!;:<>\"'/#é漢\u3000\x1c٣३🎉+9",
        *("..", "  ", "\n\n", "212", "555", "0100", "25", "256", "099", "a.b@c.de", "ISBN", "doi", ".com/"),
        *("212-555-0100", " (212) 555-0100", "1.2.3.4", "x" * 95, "é" * 97),
    ]
)
texts = st.lists(
    st.one_of(
        st.lists(pieces, max_size=30).map("".join),
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30),
        st.text(alphabet=st.sampled_from("0123456789.-. ()\n"), max_size=80),
        st.text(alphabet=st.sampled_from("ab.@,( <\n"), max_size=40),
    ),
    max_size=5,
)


def found(*documents: str) -> list[list[reference.Match]]:
    batch = TextBatch.of(documents)
    matches = batch.view(personal_data_1x)
    doubtful = doubtful_1x(batch.utf8, batch.offsets, matches).tolist()

    def points(k: int, position: int) -> int:
        return int(code_points_at(batch.utf8, batch.offsets, matches.documents[k : k + 1], [position])[0])

    answers: list[list[reference.Match]] = [[] for _ in documents]
    for k, kind in enumerate(matches.kinds.tolist()):
        bounds = (matches.starts[k], matches.ends[k], matches.paragraph_starts[k])
        answers[matches.documents[k]].append((kind, *(points(k, bound) for bound in bounds), doubtful[k]))
    return [sorted(answer) for answer in answers]


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(texts)
def test_matches_are_those_of_the_twin(documents):
    assert found(*documents) == [reference.personal_data_1x(text) for text in documents]


@pytest.mark.parametrize(
    "text", ["x" + "1" * 5_000_000, "@" * 5_000_000, "a@" * 2_500_000, "123 " * 1_250_000, "é" * 2_500_000]
)
def test_five_megabytes_of_nearly_matches_hold_none(text):
    assert len(TextBatch.of([text]).view(personal_data_1x).kinds) == 0


def test_matches_do_not_reach_across_documents():
    assert found("212-555", "-0100", "a@b", ".cd", "1.2.3", ".4") == [[]] * 6
