"""`pytest tests/data/test_row_bytes.py`: bytes of rows that share their values."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dolma.data.row_bytes import row_bytes

TEXTS = ["ab", None, "x" * 30, "ab"]
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4], pa.int32()), pa.array(TEXTS))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS, pa.string()),
        pa.array(TEXTS, pa.large_binary()),
        pa.array(TEXTS, pa.string_view()),
        RUNS,
        pa.StructArray.from_arrays([pa.array(TEXTS)], ["a"]),
        pa.array([[text] for text in TEXTS], pa.list_(pa.string())),
        pa.array([[text] for text in TEXTS], pa.large_list_view(pa.string())),
        pa.array([[text] for text in TEXTS], pa.list_(pa.string_view(), 1)),
        pa.array([[("", text)] for text in TEXTS], pa.map_(pa.string(), pa.string())),
    ],
    ids=lambda column: str(column.type),
)
def test_text_counts_wherever_it_stands(column: pa.Array) -> None:
    assert row_bytes(column).tolist() == [2, 0, 30, 2]
    assert row_bytes(column.slice(2)).tolist() == [30, 2]
    assert row_bytes(column.slice(1, 2)).tolist() == [0, 30]
    assert row_bytes(column.slice(4)).tolist() == []


def test_a_value_of_a_dictionary_counts_for_each_row() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 0], pa.int8()), ["x" * 10, "y"])
    assert row_bytes(column).tolist() == [10, 10, 1, 10]
    assert row_bytes(pa.array([None, None], column.type)).tolist()[1:] == [0]


def test_nulls_are_counted_without_room_for_each() -> None:
    nulls = pa.ListArray.from_arrays(pa.array([0, 1, 1_500_000_000], pa.int32()), pa.nulls(1_500_000_000))
    assert row_bytes(nulls).tolist() == [8, 8 * 1_499_999_999]


def test_a_null_counts_for_nothing_whatever_the_dictionary_begins_with() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int8()), ["x" * 10, "y"])
    assert row_bytes(column).tolist() == [10, 0, 1]
