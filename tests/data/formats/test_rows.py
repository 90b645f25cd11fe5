"""`pytest tests/data/formats/test_rows.py`: rows over the limit of bytes, and the memory that long values take."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.dataset import Dataset
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.rows import cuts
from dolma.errors import RecordError
from tests.data.formats.memory import measured, needs_proc

SUFFIXES = (".parquet", ".arrow", ".arrows", ".csv")


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, **options)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as out:
            csv.writer(out).writerows([table.schema.names, *zip(*table.to_pydict().values(), strict=True)])
    else:
        new = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return path


def read(path: Path, *, records: bool = False, **reading: Any) -> tuple[list[str], list[int], list[str]]:
    """Ids of the documents; rows that were left out, and why."""
    (shard,) = Dataset(documents=(str(path),)).shards()
    intake = Intake()
    batches = list(read_batches(shard, Reading(**reading), intake=intake, records=records))
    failed = sorted(intake.failed, key=lambda failure: failure.line)
    ids = [id for batch in batches for id in batch.ids]
    return ids, [failure.line for failure in failed], [failure.reason for failure in failed]


# --- which rows are over the limit -----------------------------------------------------------------------------------

IDS = [str(i) for i in range(3000)]
LONG = {7: "x" * 900, 1500: "y" * 901, 2999: "z" * 5000}
COLUMNS: dict[str, pa.Array] = {
    "text": pa.array([LONG.get(i, "x") for i in range(3000)]),
    "metadata": pa.array([json.dumps({"a": LONG[i]}) if i in LONG else "{}" for i in range(3000)]),
    "dotted": pa.array([LONG.get(i) for i in range(3000)]),
    "dictionary": pa.array([LONG.get(i, "") for i in range(3000)]).dictionary_encode(),
    "bytes": pa.array([LONG.get(i, "").encode() for i in range(3000)], pa.large_binary()),
    "view": pa.array([LONG.get(i) for i in range(3000)], pa.string_view()),
    "lists": pa.array([[LONG[i], "a"] if i in LONG else None for i in range(3000)]),
    "equal items": pa.array([["ab" * 50] * 10 if i in LONG else ["ab" * 50] for i in range(3000)]),
    "numbers": pa.array([[1] * 120 if i in LONG else [] for i in range(3000)]),
    "deep": pa.array([[{"a": {"b": LONG.get(i)}}] for i in range(3000)]),
    "maps": pa.array([[(LONG[i], 1)] if i in LONG else [] for i in range(3000)], pa.map_(pa.string(), pa.int8())),
}


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_row_counts_with_all_its_columns(tmp_path: Path, name: str, suffix: str, records: bool) -> None:
    table = pa.table({"id": IDS, "text": ["t"] * 3000} | {name if name != "dotted" else "text.b": COLUMNS[name]})
    path = write(tmp_path / f"a{suffix}", table)
    ids, lines, reasons = read(path, records=records, on_error="skip", max_line_bytes=800)
    assert lines == [8, 1501, 3000]
    assert ids == [id for i, id in enumerate(IDS) if i not in LONG]
    sizes = sum(int(n) > 800 for n in (reason.split()[3].replace(",", "") for reason in reasons))
    assert sizes == 3


@pytest.mark.parametrize("records", [False, True])
def test_row_groups_are_looked_at_one_by_one(tmp_path: Path, records: bool) -> None:
    table = pa.table({"id": IDS, "text": ["t"] * 3000, "m": COLUMNS["text"]})
    path = write(tmp_path / "a.parquet", table, row_group_size=333, use_dictionary=False)
    assert read(path, records=records, on_error="skip", max_line_bytes=906)[1] == [3000]


@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_value_is_in_json_does_not_count(tmp_path: Path, suffix: str, records: bool) -> None:
    path = write(tmp_path / f"a{suffix}", pa.table({"id": ["1", "2"], "text": ["\x01\x02" * 60, "\x01" * 250]}))
    assert read(path, records=records, on_error="skip", max_line_bytes=200)[0] == ["1"]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_row_over_the_limit_is_named_with_its_size(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", pa.table({"id": ["1", "2"], "text": ["x", "y"], "more": ["z", "z" * 300]}))
    said = r"a record of 30\d bytes, over the limit of 250\n  `--max-line-bytes` sets another\n"
    with pytest.raises(RecordError, match=said) as caught:
        read(path, max_line_bytes=250)
    assert caught.value.line == 2


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_quarantine_keeps_the_beginning_of_a_row(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"id": ["1"], "text": ["é" * 4000], "list": [["x" * 9000]], "source": ["web"]})
    path = write(tmp_path / f"a{suffix}", table)
    options: dict[str, Any] = {"on_error": "quarantine", "quarantine": str(tmp_path / "q"), "max_line_bytes": 5000}
    read(path, records=True, **options)
    (kept,) = [found for found in (tmp_path / "q").rglob("*.jsonl") if "reasons" not in found.name]
    (line,) = kept.read_bytes().splitlines()
    assert line.startswith('{"id":"1","text":"éé'.encode())
    assert len(line) == 4096


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_damaged_text_in_any_column_is_an_error_if_asked_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        path.write_bytes(b"id,text,more\n1,x,\xff\n2,y,z\n")
    else:
        write(path, pa.table({"id": ["1", "2"], "text": ["x", "y"], "more": pa.array([b"\xff", b"z"])}))
    assert read(path, on_error="skip", invalid_unicode="error")[0] == ["2"]


def test_a_long_row_is_made_json_alone() -> None:
    assert cuts(np.array([1 << 20] * 9 + [5 << 20] + [1]), 1 << 30) == [0, 4, 8, 9, 10, 11]
    assert cuts(np.array([9, 1, 9, 9]), 8) == [0, 1, 2, 3, 4]
    assert cuts(np.array([], dtype=np.int64), 8) == [0]


# --- memory ----------------------------------------------------------------------------------------------------------

N_BYTES = 64 << 20
SMALL = pa.table({"id": list(map(str, range(100_000))), "text": ["xé" * 10] * 100_000, "metadata": ["{}"] * 100_000})


@needs_proc
@pytest.mark.parametrize("records", [False, True])
@pytest.mark.parametrize("column", ["text", "metadata"])
@pytest.mark.parametrize(("suffix", "times"), [(".arrow", 4), (".parquet", 6), (".csv", 10)])
def test_a_byte_of_a_row_takes_few_bytes_of_memory(
    tmp_path: Path, suffix: str, times: int, column: str, records: bool
) -> None:
    long = "xé\U0001f600z" * (N_BYTES // 8)
    columns = {"id": ["1", "2", "3"], "text": ["x", "y", "z"], "metadata": ["", "{}", ""]}
    path = write(tmp_path / f"long{suffix}", pa.table(columns | {column: ["a", long, "b"]}))
    small = write(tmp_path / f"small{suffix}", SMALL)
    grown, documents, failed = measured(path, small, records=records, max_line_bytes=256 << 20)
    assert (documents, failed) == (3, 0)
    assert grown <= times * N_BYTES


@needs_proc
@pytest.mark.parametrize("column", ["text", "metadata"])
@pytest.mark.parametrize(("suffix", "times"), [(".arrow", 3), (".parquet", 5), (".csv", 1)])
def test_a_row_over_the_limit_takes_what_its_columns_take(tmp_path: Path, suffix: str, times: int, column: str) -> None:
    columns = {"id": ["1", "2", "3"], "text": ["x", "y", "z"], "metadata": ["", "{}", ""]}
    path = write(tmp_path / f"long{suffix}", pa.table(columns | {column: ["a", "b" * N_BYTES, "b"]}))
    small = write(tmp_path / f"small{suffix}", SMALL)
    grown, documents, failed = measured(path, small, records=False, max_line_bytes=1 << 20)
    assert (documents, failed) == (2, 1)
    assert grown <= times * N_BYTES


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_memory_that_runs_out_is_no_damage_of_the_file(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise pa.ArrowMemoryError("malloc of size 12 failed")

    path = write(tmp_path / f"a{suffix}", pa.table({"text": ["x"]}))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", out_of_memory)
    monkeypatch.setattr("dolma.data.formats.arrow._bytes_for_strings", out_of_memory)
    with pytest.raises(MemoryError, match="malloc"):
        read(path)
