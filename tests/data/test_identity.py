"""Readers that give out the bytes that were hashed and no others. Run: pytest tests/data/test_identity.py"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.data import identity, streams
from dolma.data.attributes import AttributeReader, read_attributes
from dolma.data.dataset import Dataset, Shard, identified, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.identity import CheckedFile, Content, content_of
from dolma.errors import DataError

CHANGED = "changed while it was being read"
BLOCK = 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "BLOCK_BYTES", BLOCK)


def checked(before: bytes, now: bytes) -> CheckedFile:
    return CheckedFile(io.BytesIO(now), content_of(io.BytesIO(before)), path="a.bin")


def test_a_content_is_size_checksum_and_a_digest_a_block(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 20)
    found = streams.content(str(tmp_path / "a"))
    assert (found.size, found.checksum, len(found.blocks)) == (20, streams.checksum(str(tmp_path / "a")), 3 * 8)


@given(st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 45), st.integers(-1, 45)), max_size=8))
def test_what_did_not_change_reads_as_any_file(data: bytes, reads: list[tuple[int, int]]) -> None:
    plain, file = io.BytesIO(data), checked(data, data)
    for position, n in reads:
        assert file.seek(position) == plain.seek(position)
        assert file.read(n) == plain.read(n)
        assert file.tell() == max(plain.tell(), position)


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 20))
def test_no_byte_of_another_file_is_given_out(before: bytes, now: bytes, n: int) -> None:
    file, seen = checked(before, now), b""
    try:
        while part := file.read(n):
            seen += part
        assert seen == before == now
    except DataError as error:
        assert before != now
        assert str(error).startswith(f"a.bin: {CHANGED}")
    assert before.startswith(seen)


def test_an_empty_file_that_grew_is_found() -> None:
    with pytest.raises(DataError, match=CHANGED):
        checked(b"", b"x").read()


def test_blocks_that_are_not_read_may_change() -> None:
    file = checked(b"a" * 8 + b"b" * 8, b"x" * 8 + b"b" * 8)
    file.seek(8)
    assert file.read(8) == b"b" * 8
    file.seek(4)
    with pytest.raises(DataError, match=CHANGED):
        file.read(1)


# --- every way of reading --------------------------------------------------------------------------------------------

LINES = [f'{{"id": "{i}", "text": "{"word " * 9}{i}"}}\n'.encode() for i in range(60)]


def write_documents(path: Path, lines: list[bytes]) -> None:
    if path.suffix == ".parquet":
        table = pa.table({"id": [str(i) for i in range(len(lines))], "text": [line.decode() for line in lines]})
        pq.write_table(table, path, row_group_size=20)
        return
    parts = [b"".join(lines[i : i + 20]) for i in range(0, len(lines), 20)]
    with streams.open_output(str(path)) as out:
        for part in parts:
            out.write(part)


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def replace_file(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    os.replace(other, path)


def shard_of(path: Path) -> Shard:
    return identified(Dataset(documents=(str(path),)).shards())[0]


def read(shard: Shard, piece_bytes: int = 1 << 30) -> list[str]:
    found = []
    for piece in pieces(shard, piece_bytes=piece_bytes):
        for batch in read_batches(piece, Reading(batch_bytes=64), intake=Intake()):
            found += batch.ids
    return found


SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.bz2", ".jsonl.xz", ".parquet"]


@pytest.mark.parametrize("change", [rewrite, replace_file])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_documents_that_are_others_than_were_hashed_are_an_error(
    tmp_path: Path, suffix: str, change: Callable[[Path, bytes], None]
) -> None:
    path, other = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_documents(path, LINES)
    write_documents(other, LINES[:10])
    shard, before = shard_of(path), path.read_bytes()
    change(path, other.read_bytes())
    with pytest.raises(DataError, match=CHANGED) as caught:
        read(shard)
    assert caught.value.file == str(path)
    change(path, before)
    assert len(read(shard)) == len(LINES)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet"])
def test_the_pieces_of_a_file_are_held_to_what_was_hashed(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_ZSTD_FRAME_BYTES", 1000)
    path = tmp_path / f"a{suffix}"
    write_documents(path, LINES)
    shard = shard_of(path)
    parts = pieces(shard, piece_bytes=100)
    assert len(parts) > 1
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)
    outcomes = []
    for piece in parts:
        try:
            outcomes.append([id for batch in read_batches(piece, Reading(), intake=Intake()) for id in batch.ids])
        except DataError as error:
            assert CHANGED in str(error)
            outcomes.append([])
    assert [] in outcomes
    with pytest.raises(DataError, match=CHANGED):
        pieces(shard, piece_bytes=100)  # lines are counted in the same bytes


def test_attributes_that_are_others_than_were_hashed_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "n": [1, 2]}), path)
    content = streams.content(str(path))
    pq.write_table(pa.table({"id": ["a", "b"], "n": [1, 3]}), path)
    with pytest.raises(DataError, match=CHANGED):
        read_attributes(str(path), content=content)
    with pytest.raises(DataError, match=CHANGED):
        AttributeReader(str(path), content=content).take(2)


def test_attributes_of_dolma_1_that_are_others_than_were_hashed_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "a", "attributes": {"x__y__n": [[0, 1, 2.0]]}}\n'))
    content = streams.content(str(path))
    path.write_bytes(gzip.compress(b'{"id": "a", "attributes": {"x__y__n": [[0, 1, 3.0]]}}\n'))
    with pytest.raises(DataError, match=CHANGED):
        read_attributes(str(path), content=content)


def test_a_shard_without_content_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_documents(path, LINES)
    shard = replace(shard_of(path), content=None)
    path.write_bytes(LINES[0])
    assert read(shard) == ["0"]


def test_a_content_travels() -> None:
    import pickle

    content = Content(size=1, checksum="a", blocks=b"12345678")
    assert pickle.loads(pickle.dumps(content)) == content
