from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.tokens import read_rows
from dolma.runner.report import StageReport
from dolma.tokens.verify import verify_tokens


@pytest.fixture
def shards(tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]) -> Path:
    """A folder with one shard of `ab`, `c`, `def` in corpus order, each ended by 256."""
    run([documents(["ab", "c", "def"])], shuffle=False)
    return tmp_path / "tokens"


def change(folder: Path, at: int, id: int) -> None:
    ids = np.fromfile(folder / "part-00000.npy", "<u2")
    ids[at] = id
    ids.tofile(folder / "part-00000.npy")


def change_rows(folder: Path, *rows: str) -> None:
    """Let the shard have these rows, in csv.gz alone."""
    (folder / "part-00000.parquet").unlink()
    (folder / "part-00000.csv.gz").write_bytes(gzip.compress("".join(f"{row}\n" for row in rows).encode()))


def problems(folder: Path) -> str:
    found = verify_tokens(str(folder))
    assert all(line.startswith(str(folder)) for line in found)
    return "\n".join(found)


def test_what_was_just_written_is_well(shards: Path) -> None:
    assert verify_tokens(str(shards)) == []


def test_one_changed_id_is_seen(shards: Path) -> None:
    change(shards, 0, 98)
    assert "part-00000.npy: its bytes have changed (xxh3 differs from tokens.json)" in problems(shards)


def test_an_id_outside_the_vocabulary_is_named(shards: Path) -> None:
    change(shards, 3, 257)
    assert "id 257 at 3 is outside the vocabulary of 257" in problems(shards)


def test_a_missing_end_of_text_token_is_named(shards: Path) -> None:
    change(shards, 4, 97)
    found = problems(shards)
    assert "2 end-of-text tokens in 3 documents" in found
    assert "document 'books/a/1' (row 2) does not end with token 256" in found


def test_a_further_end_of_text_token_is_counted(shards: Path) -> None:
    change(shards, 0, 256)
    assert "4 end-of-text tokens in 3 documents" in problems(shards)


def test_a_missing_begin_token_is_named(
    tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]
) -> None:
    run([documents(["ab"])], bos="<|endoftext|>")
    folder = tmp_path / "tokens"
    change(folder, 0, 97)
    assert "does not begin with token 256" in problems(folder)


def test_a_short_shard_is_seen(shards: Path) -> None:
    data = (shards / "part-00000.npy").read_bytes()
    (shards / "part-00000.npy").write_bytes(data[:-2])
    found = problems(shards)
    assert "8 tokens in 16 bytes, tokens.json says 9 in 18" in found
    assert "part-00000.parquet:3: tokens 5 to 9 do not follow the row before, or leave the shard" in found


def test_a_shard_that_is_gone_is_named(shards: Path) -> None:
    (shards / "part-00000.npy").unlink()
    assert "part-00000.npy: no such file" in problems(shards)


def test_rows_that_do_not_follow_each_other_are_named(shards: Path) -> None:
    change_rows(shards, "0,3,a,s,1", "4,5,b,s,2", "5,9,c,s,3")
    assert "part-00000.csv.gz:2: tokens 4 to 5 do not follow the row before" in problems(shards)


def test_rows_that_end_early_are_seen(shards: Path) -> None:
    change_rows(shards, "0,3,a,s,1", "3,5,b,s,2")
    found = problems(shards)
    assert "2 rows, tokens.json says 3" in found
    assert "its rows end at token 5 of 9" in found


def test_rows_in_csv_that_are_not_those_in_parquet_are_seen(shards: Path) -> None:
    rows = gzip.decompress((shards / "part-00000.csv.gz").read_bytes()).replace(b"books/a/1", b"books/a/7")
    (shards / "part-00000.csv.gz").write_bytes(gzip.compress(rows))
    assert "part-00000.csv.gz: its rows are not those of part-00000.parquet" in problems(shards)


def replace_rows(shard: Path, **columns: list[Any]) -> None:
    """Let the rows in parquet have these values; csv.gz goes."""
    rows = read_rows(str(shard))
    for name, values in columns.items():
        i = rows.schema.get_field_index(name)
        rows = rows.set_column(i, rows.schema.field(i), pa.array(values, rows.schema.field(i).type))
    pq.write_table(rows, shard.with_suffix(".parquet"))
    shard.with_suffix(".csv.gz").unlink(missing_ok=True)


def test_a_row_of_another_source_than_its_shard_is_seen(
    tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]
) -> None:
    run([documents(["ab", "c"])], group_by="source")
    shard = tmp_path / "tokens" / "books" / "part-00000.npy"
    assert verify_tokens(str(tmp_path / "tokens")) == []
    replace_rows(shard, source=["books", "web"])
    assert "part-00000.parquet: has rows of other sources than 'books'" in problems(tmp_path / "tokens")


def test_a_document_with_an_empty_id_is_no_padding(
    tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]
) -> None:
    path = Path(documents(["ab", "c"], "books/documents/a.jsonl"))
    path.write_text(path.read_text().replace('"books/a/0"', '""'))
    run([str(path)])
    assert sorted(read_rows(str(tmp_path / "tokens" / "part-00000.npy"))["id"].to_pylist()) == ["", "books/a/1"]
    assert verify_tokens(str(tmp_path / "tokens")) == []


def test_padding_without_tokens_is_seen(shards: Path) -> None:
    change = {"id": ["a", "", "c"], "path": ["s", "", "s"], "line": [1, 0, 3]}
    replace_rows(shards / "part-00000.npy", **change, end=[3, 3, 9])
    assert "part-00000.npy: tokens 3 to 3 are of no document, and are no padding" in problems(shards)


@pytest.fixture
def parts(tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]) -> Path:
    """A folder with the document `aaa bbb ccc` in parts `aaa`, ` bbb`, ` ccc` and the end token."""
    run([documents(["aaa bbb ccc"])], max_tokens_per_shard=5, split_long_documents=True)
    return tmp_path / "tokens"


def test_parts_of_a_document_are_well(parts: Path) -> None:
    assert len(list(parts.glob("*.npy"))) == 3
    assert verify_tokens(str(parts)) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"part": [0]}, "part 1 of 3 of document 'books/a/0' does not follow the one before"),
        ({"offset": [2]}, "part 2 of 3 of document 'books/a/0' does not follow the one before"),
        ({"parts": [2]}, "part-00001.npy: document 'books/a/0' (row 1) does not end with token 256"),
    ],
)
def test_parts_that_do_not_follow_each_other_are_seen(parts: Path, columns: dict[str, list[int]], message: str) -> None:
    replace_rows(parts / "part-00001.npy", **columns)
    assert message in problems(parts)


def test_a_document_without_its_last_part_is_seen(parts: Path) -> None:
    described = json.loads((parts / "tokens.json").read_bytes())
    described["shards"].pop()
    (parts / "tokens.json").write_text(json.dumps(described))
    assert "document 'books/a/0' has 2 of 3 parts" in problems(parts)


def test_a_folder_without_shards_is_a_problem(tmp_path: Path) -> None:
    assert "no tokens.json in this folder" in problems(tmp_path)


def test_control_tokens_in_texts_are_well_where_they_were_allowed(
    tmp_path: Path, documents: Callable[..., str], run: Callable[..., StageReport[Any]]
) -> None:
    run([documents(["a<|endoftext|>b"])], allow_special_tokens=True)
    assert verify_tokens(str(tmp_path / "tokens")) == []
