"""Benchmark items. Run: pytest tests/data/test_items.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma.data.items import Choice, Question, read_items
from dolma.errors import DataError


def read(tmp_path: Path, *items: dict[str, Any], limit: int | None = None) -> list[Choice | Question]:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return read_items(str(path), limit=limit)


@pytest.mark.parametrize("answer", [1, "B", "blue", "2"])
def test_the_right_choice_may_be_named_in_four_ways(tmp_path: Path, answer: Any) -> None:
    (item,) = read(tmp_path, {"id": "q", "text": "Which?", "choices": ["red", "blue"], "answer": answer})
    assert item == Choice(id="q", prompt="Question: Which?\nAnswer:", continuations=(" red", " blue"), gold=1)


def test_a_sentence_is_continued(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {"text": "The sky is", "choices": ["red", "blue"], "answer": "B"})
    assert isinstance(item, Choice)
    assert (item.prompt, item.continuations) == ("The sky is", (" red", " blue"))


def test_a_gap_is_filled_and_the_rest_is_scored(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {"text": "Ann met Bea as _ was late.", "choices": ["Ann", "Bea"], "answer": "1"})
    assert isinstance(item, Choice)
    assert (item.prompt, item.continuations, item.gold) == ("Ann met Bea as ", ("Ann was late.", "Bea was late."), 0)


def test_a_passage_and_a_yes_no_question(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {"text": "is it wet", "choices": ["Water is wet."], "answer": "True"})
    assert isinstance(item, Choice)
    assert (item.prompt, item.gold) == ("Water is wet.\nQuestion: is it wet?\nAnswer:", 1)


@pytest.mark.parametrize("answer", ["True", "true", True])
def test_the_answer_about_a_passage_may_be_a_truth_value(tmp_path: Path, answer: Any) -> None:
    (item,) = read(tmp_path, {"text": "is it wet", "choices": ["Water is wet."], "answer": answer})
    assert isinstance(item, Choice)
    assert item.gold == 1


@pytest.mark.parametrize(
    ("answer", "answers", "metric"),
    [
        ("16 - 7 = 9\n#### 1,018", [("1,018",)], "number"),
        ("18.00", [("18.00",)], "number"),
        (18, [("18",)], "number"),
        (-0.5, [("-0.5",)], "number"),
        (1e-05, [("0.00001",)], "number"),
        ("Apollo 11", [("Apollo 11",)], "squad"),
        ("(5-3=2 left)", [("(5-3=2 left)",)], "squad"),
        ("It is $\\boxed{7}$.", [("It is $\\boxed{7}$.",)], "math"),
        (["Paris", "the city of Paris"], [("Paris",), ("the city of Paris",)], "squad"),
        (["1954", 1955], [("1954",), ("1955",)], "squad"),
        (True, [("true",)], "squad"),
    ],
)
def test_how_an_answer_is_compared_follows_from_it(
    tmp_path: Path, answer: Any, answers: list[tuple[str, ...]], metric: str
) -> None:
    (item,) = read(tmp_path, {"id": "g", "text": "How many?", "answer": answer})
    assert item == Question(id="g", prompt="Question: How many?\nAnswer:", answers=tuple(answers), metric=metric)


def test_how_an_answer_is_compared_may_be_said(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {"text": "Who?", "answer": [["Smith", "Jones"], "both"], "metric": "drop"})
    assert isinstance(item, Question)
    assert (item.metric, item.answers) == ("drop", (("Smith", "Jones"), ("both",)))


def test_the_first_items_may_be_enough(tmp_path: Path) -> None:
    items = [{"text": f"{i}?", "answer": "x"} for i in range(5)]
    assert [item.prompt for item in read(tmp_path, *items, limit=2)] == [
        "Question: 0?\nAnswer:",
        "Question: 1?\nAnswer:",
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"text": "a"}, "items.jsonl:1: is no item of a benchmark: `answer` is missing"),
        ({"text": "a?", "choices": ["x", "y"], "answer": "z"}, "`answer` is 'z': none of the 2 choices"),
        ({"text": "a?", "choices": ["x", "y"], "answer": 2}, "`answer` is 2: none of the 2 choices"),
        ({"text": "a?", "choices": ["x", "y"], "answer": True}, "`answer` is True, expected the index, text, letter"),
        ({"text": "a?", "choices": ["x", "y"], "answer": "3"}, "`answer` is '3': none of the 2 choices"),
        (
            {"text": "a?", "choices": ["B", "A"], "answer": "A"},
            "the letter of one of the choices and the text of another",
        ),
        ({"text": "a?", "choices": ["x"], "answer": 0}, "`answer` is 0: of a single choice, a passage"),
        ({"text": "a?", "choices": "xy", "answer": 0}, "`choices` is 'xy', expected a list of texts"),
        ({"text": "a?", "choices": [], "answer": 0}, "`choices` is [], expected a list of texts"),
        ({"text": 3, "answer": 0}, "`text` is 3, expected a text"),
        ({"text": "a?", "answer": []}, "`answer` is an empty list"),
        ({"text": "a?", "answer": {"x": 1}}, "`answer` holds {'x': 1}, expected texts or numbers"),
        ({"text": "a?", "answer": [["x", "y"]]}, "spans are for `metric` drop"),
        (
            {"text": "a?", "answer": "x", "metric": "bleu"},
            "`metric` is 'bleu', expected one of squad",
        ),
        ({"text": "a?", "answer": "x", "metric": "number"}, "`answer` is 'x': no number, as `metric` number needs"),
    ],
)
def test_what_is_no_item_is_named_with_its_line(tmp_path: Path, item: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, item)
    assert message in str(caught.value)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no items"):
        read(tmp_path)


def test_a_list_of_numbers_is_compared_as_numbers(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"text": "?", "answer": [18, 20]}\n{"text": "?", "answer": ["18", 20]}\n')
    assert [item.metric for item in read_items(str(path))] == ["number", "squad"]
