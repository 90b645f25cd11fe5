"""MADLAD-400's questionable sentences. Run: `pytest tests/taggers/test_madlad.py`."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.reference import sentences as reference
from dolma.kernels.sentences import terminal_punctuation
from dolma.taggers.madlad import _CURSED, _CURSED_AT_END, Madlad

ROOT = Path(__file__).parents[2]
MARKS = frozenset(chr(c) for c in np.flatnonzero(terminal_punctuation())) | {"…"}
PLAIN = "This is a sentence of some words."


def twin(sentence: str) -> list[str]:
    """The rules as the module states them."""
    words = sentence.split()
    cursed = [
        re.search(re.escape(text), sentence, 0 if text != text.lower() else re.IGNORECASE | re.ASCII)
        for text in _CURSED
    ]
    at_end = any(sentence.lower().endswith(text) for text in (*_CURSED_AT_END, "|"))
    runs = "".join("1" if len(word) == 1 else "0" for word in words)
    found = {
        "case": len(words) >= 12 and sum(word[0].isupper() for word in words) * 2 > len(words),
        "length": not 20 <= len(sentence) <= 500,
        "technical": sum(c in "0123456789{}+/()>" for c in sentence) * 5 > len(sentence),
        "cursed": any(cursed) or at_end or "1" * 9 in runs,
    }
    return [rule for rule, broken in found.items() if broken]


def broken_by(text: str) -> dict[str, int]:
    columns = Madlad()(TextBatch.of([text]))
    return {rule: n for rule in ("case", "length", "technical", "cursed") if (n := columns[rule].to_pylist()[0])}


@pytest.mark.parametrize(
    ("sentence", "rules"),
    [
        (PLAIN, []),
        ("Too short.", ["length"]),
        ("One Two Three Four Five Six Seven eight nine ten eleven twelve", ["case"]),
        ("One Two Three Four Five Six Seven eight nine ten eleven", []),
        ("Call (0049) 30 123456 or +49/40/998877", ["technical"]),
        ("a word " * 80, ["length"]),
        ("You may download all of our songs here", ["cursed"]),
        ("We develop software for people like you", []),
        ("Developers are what we are looking for", ["cursed"]),
        ("Here are letters a b c d e f g h i as such", ["cursed"]),
        ("The first column | the second column |", ["cursed"]),
    ],
)
def test_which_rules_a_sentence_breaks(sentence: str, rules: list[str]) -> None:
    assert broken_by(sentence.strip()) == dict.fromkeys(rules, 1)
    assert twin(sentence.strip()) == rules


def test_spans_hold_how_many_rules_are_broken() -> None:
    text = f"{PLAIN} É 12 (34).\n{PLAIN}"
    columns = Madlad()(TextBatch.of([text, ""]))
    (span,) = columns["questionable"].to_pylist()[0]
    assert text[span["start"] : span["end"]] == "É 12 (34)."
    assert span["score"] == 2
    assert columns["sentences"].to_pylist() == [3, 0]
    assert columns["questionable_ratio"].to_pylist() == [pytest.approx(1 / 3), None]


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Word ", "word ", "a ", "12 ", "( ", "mp3 ", "Episode ", ". ", ".\n", " nr.", "|", PLAIN, "é"]
        ),
        max_size=30,
    ).map("".join)
)
def test_counts_are_those_of_the_twin(text: str) -> None:
    found: dict[str, int] = {}
    for sentence in reference.sentences(text, marks=MARKS):
        for rule in twin(sentence):
            found[rule] = found.get(rule, 0) + 1
    assert broken_by(text) == found


def test_real_text_has_questionable_sentences_and_others() -> None:
    path = sorted((ROOT / "data/sample").glob("*/documents/*.jsonl.gz"))[0]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][:40]
    columns = Madlad()(TextBatch.of(texts))
    for text, ratio in zip(texts, columns["questionable_ratio"].to_pylist(), strict=True):
        sentences = reference.sentences(text, marks=MARKS)
        assert ratio == pytest.approx(sum(bool(twin(sentence)) for sentence in sentences) / len(sentences))
