"""FineWeb's measures are datatrove's. Run: `pytest tests/taggers/test_fineweb.py`."""

from __future__ import annotations

import pytest

from dolma.data.batch import TextBatch
from dolma.taggers.fineweb import FineWeb

EXACT = ("line_punct_ratio", "short_line_ratio", "char_dup_ratio")


def pairs(datatrove):
    """Id, datatrove's answer and ours of each document."""
    rows = datatrove("fineweb")
    columns = FineWeb()(TextBatch.of([row["asked"] for row in rows]))
    values = {name: column.to_pylist() for name, column in columns.items()}
    return [(row["id"], row, {name: values[name][i] for name in values}) for i, row in enumerate(rows)]


@pytest.mark.golden
def test_shares_of_lines_and_characters_are_those_of_datatrove(datatrove):
    for id, theirs, ours in pairs(datatrove):
        for name in EXACT:
            expected = theirs[name]
            assert ours[name] == (None if expected is None else pytest.approx(expected, abs=1e-8)), (id, name)


@pytest.mark.golden
def test_newlines_per_token_are_close_to_those_of_datatrove(datatrove):
    both = [(theirs["new_line_ratio"], ours["new_line_ratio"]) for _, theirs, ours in pairs(datatrove)]
    assert all((theirs is None) == (ours is None) for theirs, ours in both)
    off = sorted(abs(ours / theirs - 1) for theirs, ours in both if theirs)
    assert off[len(off) // 2] < 0.002
    assert sum((theirs > 0.3) != (ours > 0.3) for theirs, ours in both if theirs) <= len(both) // 100


def test_a_repeated_line_counts_from_its_second_occurrence():
    columns = FineWeb()(TextBatch.of(["abc\nabc\nabc\nd\n"]))
    assert columns["char_dup_ratio"].to_pylist() == [0.6]


def test_space_after_the_last_mark_hides_it():
    columns = FineWeb()(TextBatch.of(["One. \nTwo.\r\nThree.\n四。"]))
    assert columns["line_punct_ratio"].to_pylist() == [0.5]


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_a_text_of_whitespace_has_no_values(text):
    assert {column.to_pylist()[0] for column in FineWeb()(TextBatch.of([text])).values()} == {None}
