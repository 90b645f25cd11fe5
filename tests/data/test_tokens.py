from __future__ import annotations

import csv
import gzip
import itertools
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.tokens import (
    TokenManifest,
    TokenShard,
    TokenShardWriter,
    open_tokens,
    read_csv_rows,
    read_rows,
    read_token_manifest,
    rows_path,
    whole_documents,
    write_token_manifest,
)
from dolma.errors import DataError

SHARD = {"path": "part-00000.npy", "tokens": 2, "documents": 1, "bytes": 4, "xxh3": "00"}


def write_shard(path: Path, *documents: list[int], names: list[str] | None = None) -> TokenShardWriter:
    n_docs = len(documents)
    rows = whole_documents(
        names or [f"id{i}" for i in range(n_docs)],
        paths=["books/documents/a.jsonl"] * n_docs,
        lines=list(range(1, n_docs + 1)),
    )
    with TokenShardWriter(str(path.parent), path.name) as writer:
        writer.write(
            [np.array(ids, "<u2").tobytes() for ids in documents], counts=[len(ids) for ids in documents], rows=rows
        )
    return writer


def test_ids_lie_raw_and_little_endian(tmp_path: Path) -> None:
    write_shard(tmp_path / "part-00000.npy", [1, 256], [2])
    assert (tmp_path / "part-00000.npy").read_bytes() == b"\1\0\0\1\2\0"


def test_rows_lie_as_csv_without_header_or_time_stamp(tmp_path: Path) -> None:
    write_shard(tmp_path / "part-00000.npy", [1, 2], [3], names=["a", 'b,"c"'])
    data = (tmp_path / "part-00000.csv.gz").read_bytes()
    assert data[4:8] == b"\0\0\0\0"
    lines = ["0,2,a,books/documents/a.jsonl,1", '2,3,"b,""c""",books/documents/a.jsonl,2']
    assert gzip.decompress(data).decode() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", ["", "NA", "null", '"', "a,b", "a\nb", "ünïcode \U0001f30d", "007", "\t x "])
def test_any_id_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "part-00000.npy"
    write_shard(path, [1], [2], names=[name, "last"])
    assert read_rows(str(path))["id"].to_pylist() == [name, "last"]


NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\r\n\\",\t\0\u2028\x85nr'), max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_a_row_is_a_line_and_any_id_and_path_comes_back(named: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/part-00000.npy"
        names, paths = ([pair[i] for pair in named] for i in (0, 1))
        n_docs = len(named)
        with TokenShardWriter(folder, "part-00000.npy") as writer:
            rows = whole_documents(names, paths=paths, lines=[1] * n_docs)
            writer.write([b"\1\0"] * n_docs, counts=[1] * n_docs, rows=rows)
        of_csv, of_parquet = read_csv_rows(path), read_rows(path)
        with gzip.open(rows_path(path), "rt", encoding="utf-8") as lines:  # as OLMo-core reads them
            bounds = [line.split(",")[:2] for line in lines]
        with gzip.open(rows_path(path), "rt", encoding="utf-8", newline="") as lines:
            standard = [len(row) for row in csv.reader(lines)]
    assert of_csv == of_parquet
    assert (of_csv["id"].to_pylist(), of_csv["path"].to_pylist()) == (names, paths)
    assert bounds == [[str(i), str(i + 1)] for i in range(n_docs)]
    assert standard == [5] * n_docs


def test_the_writer_tells_what_it_wrote(tmp_path: Path) -> None:
    writer = write_shard(tmp_path / "part-00000.npy", [1, 2], [3])
    assert writer.info is not None
    assert (writer.info.path, writer.info.tokens, writer.info.documents, writer.info.bytes) == (
        "part-00000.npy",
        3,
        2,
        6,
    )


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), TokenShardWriter(str(tmp_path), "part-00000.npy") as writer:
        writer.write([b"\1\0"], counts=[1], rows=whole_documents(["a"], paths=["s"], lines=[1]))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_documents_and_tokens_are_found(tmp_path: Path) -> None:
    path = str(tmp_path / "part-00000.npy")
    write_shard(tmp_path / "part-00000.npy", [1, 2], [3], [4, 5, 6])
    shard = TokenShard(path, "uint16")
    assert [shard.document(i).tolist() for i in range(3)] == [[1, 2], [3], [4, 5, 6]]
    assert [shard.trace(position)["id"] for position in range(6)] == ["id0", "id0", "id1", "id2", "id2", "id2"]
    with pytest.raises(IndexError, match="position 6 of 6 tokens"):
        shard.trace(6)


def test_offsets_beyond_31_bits_of_tokens_and_32_bits_of_bytes(tmp_path: Path) -> None:
    path, far = tmp_path / "part-00000.npy", 2**31 + 7
    with path.open("wb") as sparse:
        sparse.seek(far * 2)
        sparse.write(np.array([11, 12, 13, 14], "<u2").tobytes())
    bounds = [0, 5, far, far + 1, far + 4]
    rows = "".join(f"{start},{end},id{start},s,1\n" for start, end in itertools.pairwise(bounds))
    (tmp_path / "part-00000.csv.gz").write_bytes(gzip.compress(rows.encode(), mtime=0))
    shard = TokenShard(str(path), "uint16")
    assert (len(shard.ids), shard.ids.nbytes) == (far + 4, 2 * far + 8)
    assert shard.document(2).tolist() == [11]
    assert shard.document(3).tolist() == [12, 13, 14]
    row = {"start": far + 1, "end": far + 4, "id": f"id{far + 1}", "path": "s", "line": 1, "source": None}
    assert shard.trace(far + 1) == row | {"part": 0, "parts": 1, "offset": 0}


def test_a_numpy_header_is_not_read_as_tokens(tmp_path: Path) -> None:
    np.save(tmp_path / "part-00000.npy", np.arange(4, dtype=np.uint16))
    with pytest.raises(DataError, match="begins with a NumPy header"):
        open_tokens(str(tmp_path / "part-00000.npy"), "uint16")


def test_half_an_id_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "part-00000.npy").write_bytes(b"\0" * 6)
    with pytest.raises(DataError, match="6 bytes are no whole number of uint32 ids"):
        open_tokens(str(tmp_path / "part-00000.npy"), "uint32")


def test_a_row_may_be_longer_than_a_block_of_arrow(tmp_path: Path) -> None:
    names = ["before", "x" * (3 << 20), "after"]
    with TokenShardWriter(str(tmp_path), "part-00000.npy") as writer:
        rows = whole_documents(names, paths=["s"] * 3, lines=[1, 2, 3])
        writer.write([b"\0\0" * 3], counts=[1, 1, 1], rows=rows)
    assert read_csv_rows(str(tmp_path / "part-00000.npy"))["id"].to_pylist() == names
    assert read_rows(str(tmp_path / "part-00000.npy"))["id"].to_pylist() == names


@pytest.mark.parametrize("rows", [b"0,1,a\n", b"0,x,a,s,1\n", b"0,1,a,s,1,2\n"])
def test_rows_of_another_shape_are_an_error(rows: bytes, tmp_path: Path) -> None:
    path = tmp_path / "part-00000.npy"
    Path(rows_path(str(path))).write_bytes(gzip.compress(rows))
    with pytest.raises(DataError, match=r"part-00000.csv.gz: expected rows of start,end,id,src,loc"):
        read_rows(str(path))


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    info = write_shard(tmp_path / "part-00000.npy", [1, 2]).info
    assert info is not None
    manifest = TokenManifest(
        format_version=1,
        tokenizer="tokenizer.json",
        tokenizer_sha256="00",
        dtype="uint16",
        vocab_size=300,
        eos_id=2,
        bos_id=None,
        pad_id=None,
        seed=0,
        shards=[info],
    )
    write_token_manifest(str(tmp_path), manifest)
    assert read_token_manifest(str(tmp_path)) == manifest
    assert manifest.tokens == 2


def test_a_folder_without_a_manifest_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokens.json in this folder.*\n.*`dolma tokenize`"):
        read_token_manifest(str(tmp_path))


def test_a_damaged_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text('{"dtype": "uint8"}')
    with pytest.raises(DataError, match="not a description of token shards"):
        read_token_manifest(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, r"Expected `int` >= 1 - at `\$\.vocab_size`"),
        ({"vocab_size": 2**60}, r"Expected `int` <= 4294967296 - at `\$\.vocab_size`"),
        ({"eos_id": -1}, r"Expected `int` >= 0 - at `\$\.eos_id`"),
        ({"pad_id": 300}, "its `pad_id` 300 is outside its vocabulary"),
        ({"shards": [SHARD, SHARD]}, "it names a file twice"),
        ({"shards": [SHARD | {"tokens": -5}]}, r"Expected `int` >= 0 - at `\$\.shards\[0\]\.tokens`"),
        ({"shards": [SHARD | {"path": "../part-00000.npy"}]}, "it names a file outside of its folder"),
    ],
)
def test_a_manifest_of_impossible_values_is_an_error(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    ids = {"eos_id": 2, "bos_id": None, "pad_id": None, "vocab_size": 300, "seed": 0}
    fields = {"format_version": 1, "tokenizer": "tokenizer.json", "tokenizer_sha256": "00", "dtype": "uint16", **ids}
    (tmp_path / "tokens.json").write_bytes(msgspec.json.encode(fields | {"shards": [SHARD]} | changes))
    with pytest.raises(DataError, match=f"not a description of token shards: {message}"):
        read_token_manifest(str(tmp_path))
