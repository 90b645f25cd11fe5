"""Word segments are those of UAX #29. Run: `pytest tests/taggers/dolma1/test_segments.py`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.automata import counts_of
from dolma.kernels.code_points import table_of
from dolma.taggers.dolma1.segments import segments
from dolma.taggers.dolma1.unicode_tables import WORD_BREAK, ZWJ


def counts(text: str) -> tuple[int, int]:
    batch = TextBatch.of([text])
    (found,) = counts_of(batch.utf8, batch.offsets[:-1], batch.offsets[1:], segments()).tolist()
    return tuple(found)


@pytest.mark.parametrize(
    "parts",
    [
        ["The", " ", "quick", " ", "(", "“", "brown", "”", ")", " ", "fox", " ", "can’t", " ", "jump", " ", "32.3"],
        ["\r\n", "\n", "\r", "\x0b", "a"],  # WB3 to WB3b
        ["👩\u200d❤\ufe0f\u200d👩", "👩"],  # WB3c
        ["   ", "\t", "\t"],  # WB3d
        [" \u0308", " "],  # WB4: a mark makes of spaces one that is none
        ["\n", "\u0308\u0308", "a\u0308b"],
        ["a.b", ".", " "],  # WB6, WB7
        ["a", ".", "."],
        ["a\u0308.\u0308b"],
        ["a", ".", "1", " ", "1", ".", "a"],
        ["ש'", " ", 'ש"ש', '"'],  # WB7a to WB7c
        ["ש'", "."],
        ["a1b2"],  # WB8 to WB10
        ["1,2.3", ",", " ", "1", ";", ";", "2"],  # WB11, WB12
        ["カナ", "ひ", "ら"],  # WB13
        ["a_1_カ"],  # WB13a, WB13b
        ["_", "."],
        ["🇩🇪", "🇫🇷", "🇩"],  # WB15, WB16
        ["漢", "字"],
    ],
    ids="".join,
)
def test_boundaries_are_where_the_rules_put_them(parts):
    assert counts("".join(parts)) == (len(parts), sum(1 for part in parts if part.strip()))


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_there_are_no_more_segments_than_characters_and_none_only_in_empty_text(text):
    n, n_full = counts(text)
    assert (n > 0) == (text != "")
    assert n_full <= n <= len(text)
    assert (n_full == 0) == (text.strip() == "")


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="a1.'\u0308 ש_カ👩\u200d"), st.text(alphabet="a1.'\u0308 ש_カ👩\u200d"))
def test_there_is_always_a_boundary_at_a_newline(first, second):
    assert counts(f"{first}\n{second}")[0] == counts(first)[0] + 1 + counts(second)[0]


def test_the_joiner_is_where_the_property_says():
    assert (table_of(WORD_BREAK) & 31 == ZWJ).nonzero()[0].tolist() == [0x200D]
