"""RefinedWeb's lines. Run: `pytest tests/taggers/test_refinedweb.py`."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.taggers.refinedweb import RefinedWeb

ROOT = Path(__file__).parents[2]
KINDS = ("uppercase", "numeric", "counter", "one_word", "call")


def lines_of(text: str) -> dict[str, list[str]]:
    """By kind, the lines that were found, without the newline."""
    columns = RefinedWeb()(TextBatch.of([text]))
    return {
        kind: [text[span["start"] : span["end"]].rstrip("\n") for span in columns[f"{kind}_lines"].to_pylist()[0]]
        for kind in KINDS
    }


def kinds_of(line: str) -> set[str]:
    return {kind for kind, found in lines_of(f"A line of prose.\n{line}\nAnother one.").items() if found == [line]}


def twin(line: str) -> set[str]:
    """The rules as the module states them, one line at a time."""
    text, words = line.strip(), line.split()
    solid = "".join(words)
    if not solid:
        return set()
    counted = "like|share|comment|retweet|repost|quote|bookmark|upvote|downvote|download|view|follower"
    counter = rf"[\W_]*\d[\d.,]*[kmb]?\s+({counted})s?[\W_]*"
    calls = (
        r"(sign in|sign-in|sign up|log in|login)(?![^\W]).*",
        r"(.*(?<!\w))?(read more|see more|show more|continue reading)[\W_]{0,16}",
        r"(.*(?<!\w))?(items? in cart|add to cart)(?!\w).*",
    )
    found = {
        "uppercase": sum(map(str.isupper, solid)) * 2 > len(solid),
        "numeric": solid.isdecimal(),
        "counter": re.fullmatch(counter, text, re.IGNORECASE) is not None,
        "one_word": len(words) == 1,
        "call": len(words) <= 10 and any(re.fullmatch(call, text, re.IGNORECASE | re.DOTALL) for call in calls),
    }
    return {kind for kind, holds in found.items() if holds}


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("A line of prose, which is kept.", set()),
        ("BREAKING NEWS of the DAY", {"uppercase"}),
        ("NASA and ESA agree on a date", set()),
        ("12 34", {"numeric"}),
        ("1999", {"numeric", "one_word"}),
        ("3 likes", {"counter"}),
        ("· 1,204 Followers ·", {"counter"}),
        ("2.5K views", {"counter"}),
        ("3 likes and more", set()),
        ("Home", {"one_word"}),
        ("Sign in or register", {"call"}),
        ("To sign in, turn the page and read on until the very end.", set()),
        ("Read more...", {"call"}),
        ("You have 2 items in cart", {"call"}),
        ("Read more of what she had to say", set()),
    ],
)
def test_what_a_line_is(line: str, kinds: set[str]) -> None:
    assert kinds_of(line) == kinds == twin(line)


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["ABC", "abc", "12", "3", "likes", "views", " ", " ", "Read more", "Sign in", "É", "٣", "…"]
            ),
            max_size=8,
        ).map("".join),
        max_size=6,
    )
)
def test_lines_are_those_of_the_twin(lines: list[str]) -> None:
    text = "\n".join(lines)
    expected = {kind: [line for line in lines if kind in twin(line)] for kind in KINDS}
    assert lines_of(text) == expected


def test_ratios_are_of_lines_and_words_that_are_not_blank() -> None:
    columns = RefinedWeb()(TextBatch.of(["Home\n\nA line of prose.\n3 likes", "", " \n"]))
    assert columns["lines"].to_pylist() == [3, 0, 0]
    assert columns["removed_line_ratio"].to_pylist() == [pytest.approx(2 / 3), None, None]
    assert columns["removed_word_ratio"].to_pylist() == [pytest.approx(3 / 7), None, None]


def test_of_real_text_as_many_words_are_in_such_lines_as_the_twin_says() -> None:
    path = sorted((ROOT / "data/sample").glob("*/documents/*.jsonl.gz"))[0]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    columns = RefinedWeb()(TextBatch.of(texts))
    for text, ratio in zip(texts, columns["removed_word_ratio"].to_pylist(), strict=True):
        kept = [line for line in text.split("\n") if not twin(line)]
        words = len(text.split())
        assert ratio == pytest.approx(1 - sum(len(line.split()) for line in kept) / words)
