"""Columns keep every value, or are refused. Run: pytest tests/data/test_columns.py"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dolma.data.columns import (
    SPANS,
    DocBool,
    DocFloat,
    DocInt,
    DocText,
    DocVector,
    Output,
    Spans,
    as_declared,
    check_columns,
)

INT, FLOAT, BOOL, TEXT, SPAN = DocInt("n"), DocFloat("x"), DocBool("b"), DocText("t"), Spans("s")
VECTOR = DocVector("v", size=2)
ONE_SPAN = [[{"start": 0, "end": 1, "score": 1.0}]]
NARROW = pa.large_list(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())]))


@pytest.mark.parametrize(
    ("given", "output", "expected"),
    [
        (pa.array([1, None], pa.uint8()), INT, [1, None]),
        (pa.array([1.0, 2.0]), INT, [1, 2]),
        (pa.array([True]), INT, [1]),
        (pa.array([3]), FLOAT, [3.0]),
        (pa.array([0.5], pa.float32()), FLOAT, [0.5]),
        (pa.array(["a"]).dictionary_encode(), TEXT, ["a"]),
        (pa.array(["a"], pa.string_view()), TEXT, ["a"]),
        (pa.array(ONE_SPAN, NARROW), SPAN, ONE_SPAN),
        (pa.nulls(2), BOOL, [None, None]),
        (pa.array([[1, 2], None], pa.list_(pa.float32(), 2)), VECTOR, [[1.0, 2.0], None]),
        (pa.nulls(1), VECTOR, [None]),
    ],
)
def test_what_keeps_its_values_is_read(given: pa.Array, output: Output, expected: list[Any]) -> None:
    array = as_declared(given, output)
    assert (array.type, array.to_pylist()) == (output.arrow_type, expected)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        (pa.array([0], pa.timestamp("us")), INT),
        (pa.array([0], pa.duration("s")), INT),
        (pa.array([0], pa.date32()), INT),
        (pa.array(["5"]), INT),
        (pa.array([2**64 - 1], pa.uint64()), INT),
        (pa.array([1.5]), INT),
        (pa.array([2**53 + 1]), FLOAT),
        (pa.array(["0.5"]), FLOAT),
        (pa.array([2]), BOOL),
        (pa.array([0.5]), BOOL),
        (pa.array(["true"]), BOOL),
        (pa.array([1]), TEXT),
        (pa.array([b"a"]), TEXT),
        (pa.array([0], pa.timestamp("us")), TEXT),
        (pa.array([[1]]), SPAN),
        (pa.array([[1, 2, 3]], pa.list_(pa.float32(), 3)), VECTOR),
        (pa.array([[1.1, 2]], pa.list_(pa.float64(), 2)), VECTOR),
        (pa.array([[1.0, 2]]), VECTOR),
        (pa.array([[1, 2]], pa.list_(pa.float32(), 2)), SPAN),
        (pa.array([[{"start": 0, "end": 1}]]), SPAN),
        (pa.array([[{"start": 0.5, "end": 1.0, "score": 1.0}]]), SPAN),
    ],
)
def test_what_does_not_is_refused(given: pa.Array, output: Output) -> None:
    with pytest.raises(ValueError, match=r", expected|not in range|truncated|out of bounds"):
        as_declared(given, output)


def test_a_tagger_that_returns_times_for_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tagger 'my': 'n' is declared int: timestamp\[us\], expected int64"):
        check_columns({"n": pa.array([0], pa.timestamp("us"))}, outputs={"n": INT}, n_docs=1, tagger="my")


def test_chunks_are_one_array() -> None:
    assert as_declared(pa.chunked_array([], SPANS), SPAN) == pa.array([], SPANS)


def test_only_a_vector_says_its_size() -> None:
    assert INT.declared == {"kind": "int", "meaning": "n", "unit": "", "range": ">= 0"}
    assert VECTOR.declared == {"kind": "vector", "meaning": "v", "unit": "", "range": "", "size": 2}
