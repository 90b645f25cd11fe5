"""Labels of documents. Run: pytest tests/mixers/test_labels.py"""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.errors import ConfigError, DataError
from dolma.mixers.labels import read_labels


def test_labels_are_read_of_json_csv_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id": "x", "keep": true}\n{"id": "y", "keep": false}\n'))
    (tmp_path / "a.csv").write_text("keep,id\nTrue,x\n0,y\n")
    pq.write_table(pa.table({"id": ["x", "y"], "keep": [True, False]}), tmp_path / "a.parquet")
    for name in ("a.jsonl.gz", "a.csv", "a.parquet"):
        assert read_labels(str(tmp_path / name)) == {"x": True, "y": False}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"id": "x", "keep": "maybe"}', r"a.jsonl:1: has id 'x' and keep 'maybe', expected an id and true or false"),
        ('{"keep": true}', r"a.jsonl:1: has id None"),
        ('{"id": "x", "keep": true}\n{"id": "x", "keep": false}', r"a.jsonl:2: 'x' is to be kept and to be dropped"),
        ("x", r"a.jsonl:1: no JSON object"),
    ],
)
def test_what_is_no_label_is_told_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=why):
        read_labels(str(tmp_path / "a.jsonl"))


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^--labels: no such file: nowhere\.csv"):
        read_labels("nowhere.csv")


def test_labels_in_another_encoding_are_refused_and_a_mark_of_utf_8_is_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,keep\n\xff,true\n")
    with pytest.raises(DataError, match=r"a\.csv: is no UTF-8"):
        read_labels(str(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfid,keep\nx,true\n")
    assert read_labels(str(tmp_path / "a.csv")) == {"x": True}
