"""How many rows are decoded at once. Run: `pytest tests/data/test_parquet_rows.py`."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data import parquet_rows
from dolma.data.parquet_rows import rows_at_once


def rows_of(column: Any, **options: Any) -> int:
    raw = io.BytesIO()
    pq.write_table(pa.table({"text": column, "id": ["i"] * len(column)}), raw, compression="zstd", **options)
    file = pq.ParquetFile(raw)
    return rows_at_once(raw, range(file.metadata.num_row_groups), ["text"], most=1024)


def repeated(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])


def test_rows_of_ordinary_text_are_as_many_as_may_be() -> None:
    texts = [f"{i:05}" * 1000 for i in range(2000)]  # with a dictionary of more than a megabyte in each group
    assert rows_of(texts, row_group_size=500) == 1024


def test_rows_that_repeat_a_long_value_are_few() -> None:
    assert rows_of(repeated("x" * (4 << 20), 500), dictionary_pagesize_limit=1 << 30) == 64


def test_rows_whose_pages_are_long_are_few() -> None:
    assert rows_of(["x" * (4 << 20)] * 8, use_dictionary=False) == 63


def test_lists_that_repeat_a_long_value_are_few() -> None:
    lists = pa.ListArray.from_arrays(pa.array(range(0, 501, 5), pa.int32()), repeated("x" * (4 << 20), 500))
    assert rows_of(lists, dictionary_pagesize_limit=1 << 30) == 12


def test_one_list_of_many_long_values_is_not_the_mean_of_all() -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, *[900] * 500, 1800], pa.int32()), repeated("x" * (1 << 20), 1800))
    assert rows_of(lists, dictionary_pagesize_limit=1 << 30) == 1


@pytest.mark.parametrize("size", [1 << 20, 4 << 10])
def test_a_row_that_no_memory_holds_is_refused(size: int) -> None:
    values = repeated("x" * size, (2 << 30) // size)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, len(values) - 1, len(values)], pa.int32()), values)
    with pytest.raises(pa.ArrowInvalid, match=r"a row has [\d,]+ bytes in the column 'text.list.element', more than"):
        rows_of(lists, dictionary_pagesize_limit=1 << 30)


def test_values_in_structs_and_maps_are_counted() -> None:
    values = repeated("x" * (1 << 20), 2000)
    inside = pa.StructArray.from_arrays([values, pa.array(range(2000))], ["a", "b"])
    lists = pa.ListArray.from_arrays(pa.array([0, 2000], pa.int32()), inside)
    maps = pa.MapArray.from_arrays(pa.array([0, 2000], pa.int32()), pa.array(map(str, range(2000))), values)
    for column in (lists, maps):
        with pytest.raises(pa.ArrowInvalid, match="a row has 2,097,152,000 bytes"):
            rows_of(column, dictionary_pagesize_limit=1 << 30)


def test_a_page_that_is_none_is_corrupt() -> None:
    with pytest.raises(pa.ArrowInvalid, match="a page begins with something else"):
        parquet_rows._page_bytes(b"PAR1")
