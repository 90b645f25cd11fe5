"""`pytest tests/data/test_ranges.py`"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from dolma.data.columns import SPANS, Columns, DocFloat, DocInt, DocText, Output, Spans, spans_of
from dolma.data.ranges import undeclared


def found(output: Output, column: pa.Array, points: list[int] | None = None) -> dict[int, str]:
    columns: Columns = {"x": column}
    return undeclared(columns, outputs={"x": output}, code_points=lambda: np.array(points))


@pytest.mark.parametrize(
    ("range", "inside", "outside"),
    [
        ("0-1", [0.0, 0.5, 1.0], [-0.001, 1.001, math.inf]),
        ("-0.5-1", [-0.5, 1.0], [-0.6]),
        (">= 0", [0.0, math.inf], [-1.0, -math.inf]),
        ("> 0", [1e-300], [0.0]),
        ("<= -1", [-1.0], [0.0]),
        ("< 5", [4.999], [5.0]),
        ("1", [1.0], [0.0, 2.0]),
        ("0-1, or -1", [-1.0, 0.5], [-0.5, 2.0]),
        ("0, 1", [0.0, 1.0], [0.5]),
        ("0 or 1", [0.0, 1.0], [0.5]),
        ("[0, 1)", [0.0, 0.999], [1.0, -0.1]),
        ("", [-1e9, 1e9], []),
        ("seconds, more or less", [-1.0], []),
    ],
)
def test_the_forms_of_a_range(range: str, inside: list[float], outside: list[float]) -> None:
    values = [*outside, *inside, None, math.nan]
    assert list(found(DocFloat("x", range=range), pa.array(values, pa.float64()))) == [*np.arange(len(outside))]
    assert found(DocFloat("x", range=range), pa.array([*inside, None, math.nan], pa.float64())) == {}


def test_what_is_said_of_a_number() -> None:
    assert found(DocInt("x"), pa.array([3, None, -2])) == {2: "range: 'x' is -2, declared >= 0"}


def test_rounding_at_a_bound_is_no_error() -> None:
    assert found(DocFloat("x", range="0-1"), pa.array([sum([0.1] * 10) + 3e-16, -1e-17])) == {}


def test_text_has_no_range() -> None:
    assert found(DocText("x"), pa.array(["a"])) == {}


@pytest.mark.parametrize(("start", "end"), [(0, 4), (-1, 2), (2, 1), (4, 4)])
def test_a_span_outside_the_text_of_its_document(start: int, end: int) -> None:
    column = spans_of([[(0, 9, 1.0)], [], [(0, 1, 1.0), (start, end, 1.0)]])
    assert found(Spans("x"), column, [9, 0, 3]) == {2: f"span: 'x' has [{start}, {end}) in a text of 3 code points"}


def test_spans_within_texts_empty_ones_too() -> None:
    column = pa.concat_arrays([spans_of([[(0, 3, 1.0), (3, 3, 0.5)]]), pa.nulls(1, SPANS), spans_of([[]])])
    assert found(Spans("x", range="0-1"), column, [3, 5, 0]) == {}
    assert found(Spans("x", range="1"), column, [3, 5, 0]) == {0: "span: 'x' has the score 0.5, declared 1"}


def test_a_span_without_a_start_is_outside() -> None:
    column = pa.array([[{"start": None, "end": 1, "score": 1.0}]], SPANS)
    assert found(Spans("x"), column, [3]) == {0: "span: 'x' has [None, 1) in a text of 3 code points"}


def test_texts_without_spans_are_not_counted() -> None:
    undeclared({"x": spans_of([[], []])}, outputs={"x": Spans("x")}, code_points=lambda: pytest.fail("counted"))
