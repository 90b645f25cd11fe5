"""Comparison of generated answers, table by table. Run: pytest tests/data/test_answers.py"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.data.answers import (
    METRICS,
    answer_in_math,
    drop_f1,
    normalised_drop,
    normalised_math,
    normalised_text,
    number_of,
    numbers_in,
    score,
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("a  an\tthe", ""),
        ("An apple, a pear & the plum!", "apple pear plum"),
        ("Theatre and another", "theatre and another"),
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        ("«Été»", "«été»"),  # ASCII punctuation only, as in the published script
        ("Apollo 11", "apollo 11"),
    ],
)
def test_the_form_of_squad(text: str, normalised: str) -> None:
    assert normalised_text(text) == normalised


@pytest.mark.parametrize(
    ("said", "expected", "exact", "f1"),
    [
        (" Apollo 11", ["Apollo 11"], True, 1.0),
        (" Gemini 11", ["Apollo 11"], False, 0.5),
        (" the apollo-11!", ["Apollo 11", "Apollo11"], True, 1.0),
        (" Paris\nQuestion: and then?", ["paris"], True, 1.0),
        ("\n\n Paris", ["Paris"], True, 1.0),
        (" New York", ["New York City", "NYC"], False, 0.8),
        (" New New York", ["New York"], False, 0.8),
        ("", ["Paris"], False, 0.0),
        (" the", ["a"], True, 1.0),  # nothing is left of either
        (" 1954", ["in 1954", "1954"], True, 1.0),
    ],
)
def test_words_shared_with_the_nearest_answer(said: str, expected: list[str], exact: bool, f1: float) -> None:
    found = score("squad", said, [(one,) for one in expected])
    assert (found.exact, found.f1) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("3.50 yards", "3.5 yards"),
        ("1,200", "1200.0"),
        ("twenty-one", "twenty one"),
        ("the 49ers", "49ers"),
        ("-7", "7.0"),  # split at the hyphen
        ("10%", "10.0"),
    ],
)
def test_the_form_of_drop(text: str, normalised: str) -> None:
    assert normalised_drop(text) == normalised


@pytest.mark.parametrize(
    ("found", "gold", "f1"),
    [
        (["12.0 yards"], ["12.0 yards"], 1.0),
        (["12.0 yards"], ["13.0 yards"], 0.0),  # a number is lacking
        (["yards"], ["12.0 yards"], 0.0),
        (["12.0"], ["12.0 yards"], 0.67),
        (["smith", "jones"], ["jones", "smith"], 1.0),
        (["smith"], ["jones", "smith"], 0.5),
        (["red blue", "blue"], ["blue", "red blue green"], 0.9),  # 1.0 and 0.8, not 0.67 and 0.5
        (["red red"], ["red"], 1.0),  # sets of words
    ],
)
def test_spans_are_paired_as_well_as_can_be(found: list[str], gold: list[str], f1: float) -> None:
    assert drop_f1(found, gold) == f1


def test_an_answer_of_drop_is_its_spans_in_any_order_and_any_annotators() -> None:
    assert score("drop", " 3-yard", [("3 yards",), ("3 yard",)]).exact
    assert not score("drop", " Smith", [("Smith", "Jones")]).exact
    assert score("drop", " Smith", [("Smith", "Jones")]).f1 == 0.5


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("18.00", ["18.00"]),
        ("(5-3=2 left)", ["5", "3", "2"]),
        ("5 - 3", ["5", "3"]),
        ("it is -3", ["-3"]),
        ("= - 10", ["-10"]),
        ("#### - 10", ["-10"]),
        ("- 10", ["-10"]),
        ("-$5", ["-5"]),
        ("$1,234,567.89.", ["1234567.89"]),
        ("1,2,3", ["1", "2", "3"]),
        ("12,5", ["12", "5"]),
        ("1,0000", ["1", "0000"]),
        (".5 and 3.", [".5", "3"]),
        ("f(x)-2", ["2"]),
        ("none", []),
    ],
)
def test_the_numbers_of_a_text(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == [Decimal(number) for number in numbers]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" 1,018 ", "1018"),
        ("$18.00.", "18"),
        ("- 10", "-10"),
        ("(5-3=2 left)", None),
        ("Apollo 11", None),
        ("5-3", None),
        ("", None),
    ],
)
def test_a_text_that_is_a_number(text: str, number: str | None) -> None:
    assert number_of(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("said", "gold", "exact"),
    [
        (" 6 * 3 = 18.00", "18", True),
        (" She makes $1,018 a day.", "1018", True),
        (" 18\n\nQuestion: How many are 3 and 4?\nAnswer: 7", "18", True),
        (" first 3,\nthen 4", "4", True),
        (" it is 8 - 18", "-18", False),
        (" none", "18", False),
        (" 181", "18", False),
    ],
)
def test_the_last_number_is_compared_by_value(said: str, gold: str, exact: bool) -> None:
    assert score("number", said, [(gold,)]).exact is exact


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: The final answer is $3\\pi$. I hope it is correct.", "$3\\pi$"),
        ("so \\boxed{1} or rather \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("thus \\boxed 7 holds", "7"),
        ("we get $x$, hence $y = 2$", "y = 2"),
        ("42", "42"),
    ],
)
def test_the_answer_in_a_solution(text: str, answer: str) -> None:
    assert answer_in_math(text) == answer


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("x = 5", "5"),
        ("10 \\text{ inches}", "10"),
        ("30 square units", "30"),
        ("a triangle", "triangle"),
        ("90^\\circ", "90"),
        ("90^{\\circ}", "90"),
        ("\\frac12", "\\frac{1}{2}"),
        ("\\sqrt2", "\\sqrt{2}"),
        ("10,\\!000", "10000"),
        ("10{,}000", "10000"),
        ("\\$3.50", "3.50"),
        ("the value $12$ here", "12"),
        ("\\textbf{(B)}", "(B)"),
        ("\\text{\\textbf{even}}", "even"),
    ],
)
def test_the_form_of_minerva(text: str, normalised: str) -> None:
    assert normalised_math(text) == normalised


@pytest.mark.parametrize(
    ("said", "gold", "exact"),
    [
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "\\boxed{\\dfrac12}", True),
        ("\\boxed{0.5}", "\\boxed{\\frac{1}{2}}", True),
        ("\\boxed{1/2}", "\\boxed{\\frac{1}{2}}", True),
        ("\\boxed{.75}", "0.75", True),
        ("\\boxed{50\\%}", "50", True),
        ("\\boxed{\\left(1, 2\\right)}", "(1,2)", True),
        ("\\boxed{(2,1)}", "(1,2)", False),
        ("\\boxed{\\frac{2}{4}}", "\\frac{1}{2}", False),  # equal only after algebra
        ("\\boxed{3}", "\\boxed{4}", False),
    ],
)
def test_formulas_are_compared_in_their_normal_form(said: str, gold: str, exact: bool) -> None:
    assert score("math", said, [(gold,)]).exact is exact


@given(metric=st.sampled_from(sorted(METRICS)), said=st.text(max_size=40), gold=st.text(max_size=40))
def test_any_text_has_a_score(metric: str, said: str, gold: str) -> None:
    found = score(metric, said, [(gold,)])
    assert 0 <= found.f1 <= 1
    assert found.f1 == 1 or not found.exact
