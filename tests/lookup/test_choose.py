"""Documents to be looked at. Run: `pytest tests/lookup/test_choose.py`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Ask


def shown(ask: Ask, *arguments: str) -> list[dict[str, Any]]:
    result = ask("show", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.out.splitlines()]


def test_a_sample_is_drawn_from_those_that_a_condition_holds_for(ask: Ask) -> None:
    assert {one["id"] for one in shown(ask, "--sample", "9", "--where", "length.words > 5")} == {
        "keep",
        "copy",
        "mail",
        "whole",
    }


def test_a_condition_may_be_about_the_documents(ask: Ask) -> None:
    assert [one["id"] for one in shown(ask, "--sample", "9", "--where", "document.source = 'books'")] == ["whole"]


def test_the_seed_decides_the_sample(ask: Ask) -> None:
    samples = {tuple(one["id"] for one in shown(ask, "--sample", "2", "--seed", str(seed))) for seed in range(8)}
    assert len(samples) > 1
    assert shown(ask, "--sample", "2") == shown(ask, "--sample", "2", "--seed", "0")


def test_documents_on_both_sides_of_a_threshold(ask: Ask) -> None:
    found = shown(ask, "--nearest", "length.words = 11", "--pairs", "1")
    assert [(one["side"], one["id"], one["value"]) for one in found] == [
        ("below", "mail", 10.0),
        ("at or above", "whole", 12.0),
    ]


def test_documents_near_a_threshold_have_their_attributes(ask: Ask) -> None:
    found = shown(ask, "--nearest", "length.words = 11", "--pairs", "1")
    assert [one["attributes"]["length"]["words"] for one in found] == [10, 12]


def test_spans_stand_below_the_text(ask: Ask) -> None:
    result = ask("show", "mail")
    assert "  pii.email 9-26 (" in result.output and ": whale@example.org" in result.output


def test_a_long_text_is_cut_and_says_so(ask: Ask) -> None:
    assert "... 56 characters more; `--full` shows them" in ask("show", "mail", "--characters", "10").output
    assert "characters more" not in ask("show", "mail", "--full").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing says which documents to show"),
        (["mail", "--sample", "1"], "ID and --sample are both given"),
        (["mail", "--where", "true"], "--where: belongs to --sample"),
        (["--sample", "1", "--where", "length.word > 1"], "--where: no attribute 'length.word'"),
        (["--sample", "1", "--where", "length.words"], "--where: `length.words` is"),
        (["--nearest", "length.words > 1"], "is no attribute with a threshold"),
        (["--nearest", "length.words = 1.2.3"], "is no attribute with a threshold"),
        (["--nearest", "length.words = ."], "is no attribute with a threshold"),
        (["--nearest", "pii.email = 1"], "--nearest: "),
        (["web/documents/a.jsonl:9"], "has no document in line 9"),
    ],
)
def test_what_cannot_be_shown_is_said(ask: Ask, arguments: list[str], said: str) -> None:
    result = ask("show", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
