"""What a footer says of row groups. Run: `pytest tests/data/test_parquet_footer.py`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.parquet_footer import BYTE_ARRAY, row_groups
from dolma.data.shards import Shard
from dolma.errors import DataError

TABLE = pa.table(
    {"id": ["a", "b", "c"], "text": ["x", None, "y" * 5000], "metadata": [{"n": 1, "tags": ["t", "u"]}] * 3}
)


def written(**options: Any) -> bytes:
    raw = io.BytesIO()
    pq.write_table(TABLE, raw, **options)
    return raw.getvalue()


@pytest.mark.parametrize("options", [{}, {"row_group_size": 1}, {"use_dictionary": False, "write_page_index": True}])
def test_it_is_what_pyarrow_says(options: dict[str, Any]) -> None:
    data = written(**options, store_schema=True)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    found = row_groups(io.BytesIO(data))
    assert len(found) == metadata.num_row_groups
    for i, group in enumerate(found):
        facts = metadata.row_group(i)
        assert (group.n_rows, len(group.chunks)) == (facts.num_rows, facts.num_columns)
        for c, chunk in enumerate(group.chunks):
            column = facts.column(c)
            assert chunk[1:] == (
                column.path_in_schema,
                column.num_values,
                column.total_uncompressed_size,
                column.total_compressed_size,
                column.dictionary_page_offset or 0,
            )
            assert (chunk.physical_type == BYTE_ARRAY) == (column.physical_type == "BYTE_ARRAY")


def test_each_flipped_bit_is_read_or_refused(tmp_path: Path) -> None:
    data = written()
    size = int.from_bytes(data[-8:-4], "little")
    refused = 0
    for at in range(len(data) - 8 - size, len(data) - 8):
        for bit in (0, 3, 5):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                row_groups(io.BytesIO(bytes(damaged)))
            except pa.ArrowInvalid:
                refused += 1
    assert refused > 10


def test_a_footer_longer_than_the_file_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid, match=r"its footer has 4,294,967,295 bytes, and the file 12"):
        row_groups(io.BytesIO(b"PAR1\xff\xff\xff\xffPAR1"))


def test_documents_of_a_damaged_footer_end_no_process(tmp_path: Path) -> None:
    data = written()
    size = int.from_bytes(data[-8:-4], "little")
    path = tmp_path / "a.parquet"
    n_read = n_refused = 0
    for at in range(len(data) - 8 - size, len(data) - 8, 2):
        damaged = bytearray(data)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        shard = Shard(path=str(path), name="a.parquet", root="", inner="", size=len(data))
        try:
            n_read += sum(len(batch) for batch in read_batches(shard, Reading(on_error="skip"), intake=Intake()))
        except DataError:
            n_refused += 1
    assert n_read > 0
    assert n_refused > 10
