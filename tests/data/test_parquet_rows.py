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
    return rows_at_once(file, raw, range(file.metadata.num_row_groups), ["text"], most=1024)


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


def test_a_page_that_is_none_is_corrupt() -> None:
    with pytest.raises(pa.ArrowInvalid, match="a page begins with something else"):
        parquet_rows._page_bytes(b"PAR1")
