"""What is checked before the first step. Run: pytest tests/training/data/test_shards.py"""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.tokens import ROWS, read_token_manifest, write_token_manifest
from dolma.errors import DataError
from dolma.training.data.shards import open_shards
from tests.training.conftest import by_source, some_ids, write_shards


def test_shards_of_several_folders_follow_each_other(tmp_path):
    a = write_shards(tmp_path / "a", [some_ids(40, seed=1), some_ids(20, seed=2)])
    b = write_shards(tmp_path / "b", [some_ids(30, seed=3)])
    found = open_shards([a, b])
    assert [file.name for file in found.files] == ["0/part-00000.npy", "0/part-00001.npy", "1/part-00000.npy"]
    expected = [some_ids(40, seed=1), some_ids(20, seed=2), some_ids(30, seed=3)]
    assert all(
        np.array_equal(ids, wanted) for ids, wanted in zip([shard.ids for shard in found.shards], expected, strict=True)
    )


def test_folders_of_different_tokenizers_are_refused(tmp_path):
    a = write_shards(tmp_path / "a", [some_ids(40)])
    b = write_shards(tmp_path / "b", [some_ids(40)], tokenizer=b"another")
    with pytest.raises(DataError, match=re.escape(f"{b}: is of another tokenizer than {a}")):
        open_shards([a, b])


def test_a_folder_without_shards_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no shards: nothing to train on"):
        open_shards(write_shards(tmp_path / "empty", []))


def test_an_empty_shard_is_fine(tmp_path):
    found = open_shards(write_shards(tmp_path / "tokens", [some_ids(40), np.zeros(0, dtype=np.int64)]))
    assert [len(shard.ids) for shard in found.shards] == [40, 0]


def test_a_shard_that_is_gone_is_named(tmp_path):
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    (tmp_path / "tokens" / "part-00000.npy").unlink()
    with pytest.raises(DataError, match=r"part-00000\.npy: no such file"):
        open_shards(tokens)


def test_a_cut_shard_is_not_what_was_written(tmp_path):
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    path = tmp_path / "tokens" / "part-00000.npy"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"78 bytes, expected 80"):
        open_shards(tokens)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (
            [30, 20, 40],
            r"\.csv\.gz:2: a document ends at token 20: expected 30, where the one before ends, to 40",
        ),
        ([10, 41], r"part-00000\.csv\.gz:2: a document ends at token 41: expected 10, .* to 40, where the shard does"),
        ([-1, 40], r"part-00000\.csv\.gz:1: a document ends at token -1: expected 0, "),
        ([10, 30], r"part-00000\.csv\.gz: its last document ends at token 30, expected 40, where the shard does"),
        ([], r"part-00000\.csv\.gz: its last document ends at token 0, expected 40, where the shard does"),
    ],
)
def test_rows_that_are_not_those_of_the_shard_are_named(tmp_path: Path, ends: list[int], message: str) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    rows = "".join(f"0,{end},id,src,1\n" for end in ends)
    (tmp_path / "tokens" / "part-00000.csv.gz").write_bytes(gzip.compress(rows.encode()))
    with pytest.raises(DataError, match=message):
        _ = open_shards(tokens).shards[0].boundaries


def test_missing_ends_of_text_are_counted_in_one_warning(tmp_path):
    unended = some_ids(40)
    unended[-1] = 5
    tokens = write_shards(tmp_path / "tokens", [some_ids(40), unended, unended])
    (warning,) = open_shards(tokens).warnings
    assert re.match(r"2 of 3 shards do not end with the end-of-text token \(first: .*part-00001\.npy\)", warning)


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    whole = {"id": "a", "source": "s", "path": "a.jsonl", "line": 1, "part": 0, "parts": 1, "offset": 0}
    pq.write_table(pa.Table.from_pylist([whole | row for row in rows], schema=ROWS), path)


def test_rows_in_parquet_come_before_those_in_csv(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    (tmp_path / "tokens" / "part-00000.csv.gz").write_bytes(gzip.compress(b"0,40,a,a.jsonl,1\n"))
    write_rows(tmp_path / "tokens" / "part-00000.parquet", [{"start": 0, "end": 10}, {"start": 10, "end": 40}])
    assert open_shards(tokens).shards[0].boundaries.tolist() == [0, 10, 40]


def test_parts_of_one_document_in_a_shard_are_one_document(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    rows = [
        {"start": 0, "end": 10, "part": 2, "parts": 4},
        {"start": 10, "end": 15, "part": 3, "parts": 4},
        {"start": 15, "end": 20},
        {"start": 20, "end": 40, "part": 0, "parts": 2},
    ]
    write_rows(tmp_path / "tokens" / "part-00000.parquet", rows)
    assert open_shards(tokens).shards[0].boundaries.tolist() == [0, 15, 20, 40]


def test_a_shard_that_ends_within_a_document_is_not_odd(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [np.append(some_ids(40), 5)])
    described = read_token_manifest(tokens)
    shards = [msgspec.structs.replace(shard, continued=1) for shard in described.shards]
    write_token_manifest(tokens, msgspec.structs.replace(described, shards=shards))
    assert open_shards(tokens).warnings == ()


def test_rows_of_other_columns_are_named(tmp_path: Path) -> None:
    tokens = write_shards(tmp_path / "tokens", [some_ids(40)])
    pq.write_table(pa.table({"end": [40]}), tmp_path / "tokens" / "part-00000.parquet")
    with pytest.raises(DataError, match=r"part-00000\.parquet: expected the columns id, source, .*, found end"):
        _ = open_shards(tokens).shards[0].boundaries


# --- shards of one source --------------------------------------------------------------------------------------------


def test_the_shards_of_one_source_are_opened_alone(tmp_path: Path) -> None:
    tokens = by_source(tmp_path / "tokens", "books", "web", "books")
    assert [len(shard.ids) for shard in open_shards(tokens, source="books").shards] == [20, 60]


@pytest.mark.parametrize(
    ("sources", "hint"),
    [(["books", "web"], "did you mean 'books'"), ([None], "its sources are mixed: tokenize with `--group-by source`")],
)
def test_a_source_without_shards_is_refused(tmp_path: Path, sources: list[str | None], hint: str) -> None:
    tokens = by_source(tmp_path / "tokens", *sources)
    with pytest.raises(DataError, match=f"{tokens}: has no shards of the source 'boks'\n  {hint}"):
        open_shards(tokens, source="boks")


# --- while a run reads them ------------------------------------------------------------------------------------------


def test_shards_that_were_only_touched_are_still_the_same(tmp_path: Path) -> None:
    shards = open_shards(write_shards(tmp_path, [np.arange(1, 9), np.arange(1, 5)]))
    os.utime(shards.shards[0].path)
    shards.check_unchanged()


@pytest.mark.parametrize("how", ["rewritten", "replaced", "gone"])
def test_a_shard_that_changed_since_it_was_opened_is_named(tmp_path: Path, how: str) -> None:
    shards = open_shards(write_shards(tmp_path, [np.arange(1, 9), np.arange(1, 5)]))
    path = Path(shards.shards[1].path)
    data = path.read_bytes()
    if how == "rewritten":
        with path.open("r+b") as file:
            file.write(data[::-1])
    else:
        path.unlink()
    if how == "replaced":
        path.write_bytes(data[::-1])
    with pytest.raises(DataError, match="changed while it was being read") as caught:
        shards.check_unchanged()
    assert caught.value.file == str(path)
