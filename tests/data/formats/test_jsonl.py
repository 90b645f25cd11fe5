"""`pytest tests/data/formats/test_jsonl.py`: lines that are no JSON, and files that are no lines."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.intake import KEPT_BYTES
from dolma.errors import DataError, RecordError
from tests.data.formats.memory import measured, needs_proc

LINES = b'{"id":"a","text":"one"}\n{"id":"b","text":"two"}\n'
GZIPPED = gzip.compress(LINES, mtime=0)  # the names of tests hold it, and must be the same in each process
MARK = b"\xef\xbb\xbf"


def put(folder: Path, data: bytes, name: str = "a.jsonl") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def read(path: Path, *, intake: Intake | None = None, piece_bytes: int = 1 << 30, **reading: Any) -> list[TextBatch]:
    (shard,) = Dataset(documents=(str(path),)).shards()
    options, intake = Reading(**reading), intake or Intake()
    return [
        batch
        for piece in pieces(shard, piece_bytes=piece_bytes)
        for batch in read_batches(piece, options, intake=intake, records=True, metadata=True)
    ]


def texts(path: Path, **reading: Any) -> list[str]:
    return [text for batch in read(path, **reading) for text in batch.texts()]


# --- byte order marks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [MARK + LINES, LINES + MARK + LINES, MARK + LINES + MARK + b'{"text":"x"}\n'])
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_byte_order_marks_are_passed_over(tmp_path: Path, data: bytes, batch_bytes: int) -> None:
    path = put(tmp_path, data)
    plain = put(tmp_path, data.replace(MARK, b""), "plain.jsonl")
    assert texts(path, batch_bytes=batch_bytes) == texts(plain)
    records = [record for batch in read(path, batch_bytes=batch_bytes) for record in batch.records or ()]
    assert records == data.replace(MARK, b"").splitlines()


@pytest.mark.parametrize("data", [MARK, MARK + b"\n", MARK + b"\n" + LINES, LINES + MARK])
@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_a_line_of_a_byte_order_mark_alone_is_blank(tmp_path: Path, data: bytes, batch_bytes: int) -> None:
    path = put(tmp_path, data)
    assert texts(path, batch_bytes=batch_bytes) == (["one", "two"] if LINES in data else [])
    assert format_of(str(path)).count(str(path)) == (2 if LINES in data else 0)


def test_of_an_error_behind_a_mark_the_line_is_known(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"a\.jsonl:2: not valid JSON: \D+ \(byte 39\)\n"):
        read(put(tmp_path, MARK + b'{"id":"a","text":"one"}\n{"text":"x",}\n'))


# --- numbers that JSON does not have ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_bytes", [1, 1 << 20])
def test_nan_and_infinity_become_null_and_are_counted(tmp_path: Path, batch_bytes: int) -> None:
    records = [
        {"text": "NaN, -Infinity", "score": float("nan"), "metadata": {"x": [float("inf"), float("-inf"), 1.5]}},
        {"text": 'say "NaN" \\', "score": 1.0, "metadata": {"NaN": "Infinity"}},
    ]
    path = put(tmp_path, b"".join(json.dumps(record).encode() + b"\n" for record in records))
    intake = Intake()
    batches = read(path, intake=intake, batch_bytes=batch_bytes)
    found = [json.loads(record, parse_constant=pytest.fail) for batch in batches for record in batch.records or ()]
    assert found[0] == {"text": "NaN, -Infinity", "score": None, "metadata": {"x": [None, None, 1.5]}}
    assert found[1] == records[1]
    metadata = [json.loads(one or b"") for batch in batches for one in batch.metadata or ()]
    assert metadata == [found[0]["metadata"], found[1]["metadata"]]
    assert (intake.documents, intake.n_failed, intake.repaired) == (2, 0, {"not_finite": 3})


def test_a_text_that_is_nan_is_a_bad_record(tmp_path: Path) -> None:
    intake = Intake()
    assert texts(put(tmp_path, b'{"text":NaN}\n' + LINES), intake=intake, on_error="skip") == ["one", "two"]
    assert [failure.reason for failure in intake.failed] == ["Expected `str`, got `null` - at `$.text`"]


@pytest.mark.parametrize("line", [b'{"text":"a","x":nan}', b'{"text":"a","x":NaNa}', b'{"text":"a","x":"NaN}'])
def test_what_looks_like_nan_is_a_bad_record(tmp_path: Path, line: bytes) -> None:
    assert texts(put(tmp_path, LINES + line + b"\n"), on_error="skip") == ["one", "two"]


def test_a_text_of_escaped_quotes_without_an_end_takes_linear_time(tmp_path: Path) -> None:
    line = b'{"text":"a","x":NaN,"y":"' + b'\\"' * 300_000 + b"\n"
    assert texts(put(tmp_path, LINES + line), on_error="skip") == ["one", "two"]


# --- files that are something else -----------------------------------------------------------------------------------


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a"]}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", GZIPPED, r"this is gzip \(1f 8b\), not JSON lines\n  call it \S+/a\.jsonl\.gz$"),
        ("a.jsonl", zstandard.compress(LINES), r"zstd \(28 b5 2f fd\), not JSON lines\n  call it \S+/a\.jsonl\.zst$"),
        ("a.jsonl", bz2.compress(LINES), r"this is bzip2 \(42 5a 68\), not JSON lines\n  call it \S+/a\.jsonl\.bz2$"),
        ("a.jsonl", lzma.compress(LINES), r"this is xz \(.*\), not JSON lines\n  call it \S+/a\.jsonl\.xz$"),
        ("a.jsonl", parquet(), r"this is parquet \(50 41 52 31\), not JSON lines\n  call it \S+/a\.parquet$"),
        ("a.jsonl.gz", LINES, r"this is JSON that is not compressed \(7b 22\), not gzip\n  call it \S+/a\.jsonl$"),
        ("a.jsonl.zst", LINES, r"this is JSON that is not compressed \(7b 22\), not zstd\n  call it \S+/a\.jsonl$"),
        ("a.jsonl.gz", zstandard.compress(LINES), r"this is zstd \(.*\), not gzip\n  call it \S+/a\.jsonl\.zst$"),
        ("a.jsonl.zst", GZIPPED, r"this is gzip \(1f 8b\), not zstd\n  call it \S+/a\.jsonl\.gz$"),
        ("a.jsonl.xz", GZIPPED, r"this is gzip \(1f 8b\), not xz\n  call it \S+/a\.jsonl\.gz$"),
        ("a.jsonl.bz2", GZIPPED, r"this is gzip \(1f 8b\), not bzip2\n  call it \S+/a\.jsonl\.gz$"),
        ("a.jsonl.gz", gzip.compress(GZIPPED, mtime=0), r"this is gzip .* when decompressed\n  decompress it once"),
        (
            "a.jsonl",
            LINES.decode().encode("utf-16"),
            r"this is UTF-16 \(ff fe\), .*\n  convert it: `iconv -f UTF-16 -t",
        ),
        ("a.jsonl", LINES.decode().encode("utf-16-le"), r"this is UTF-16LE \(7b 00\), .*\n  convert it: `iconv"),
        ("a.jsonl", LINES.decode().encode("utf-32"), r"this is UTF-32 \(ff fe 00 00\), .*\n  convert it: `iconv"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", r"a pointer of Git LFS .*\n  .* `git lfs pull`"),
        ("a.parquet", LINES, r"this is JSON that is not compressed .*, not parquet\n  call it \S+/a\.jsonl$"),
        ("a.parquet", GZIPPED, r"this is gzip \(1f 8b\), not parquet\n"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [8, 1 << 30])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_file_that_is_something_else_is_named(
    tmp_path: Path, name: str, data: bytes, said: str, piece_bytes: int, on_error: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(put(tmp_path, data, name), piece_bytes=piece_bytes, on_error=on_error)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b'[{"text":"a"},{"text":"b"}]\n',
            r"a\.jsonl:1: a JSON array, expected an object a line \(byte 0\)\n  `jq -c '\.\[\]'",
        ),
        (b'{\n  "text": "a"\n}\n', r"a\.jsonl:1: not valid JSON: the line ends within a value .*\n.*`jq -c \. FILE"),
        (LINES + b'{"text":"a",}\n', r"a\.jsonl:3: not valid JSON: \D+ \(byte 60\)\n"),
        (LINES + b'{"id":"c"}\n', r"a\.jsonl:3: Object missing .*; it has: id \(byte 48\)\n"),
        (b'{"text":"a","x":' + b"[" * 200_000 + b"\n", r"a\.jsonl:1: JSON nested too deeply \(byte 0\)\n"),
    ],
)
def test_a_line_that_is_no_record_is_explained_with_one_byte(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(RecordError, match=said) as raised:
        read(put(tmp_path, data))
    assert str(raised.value).count("(byte ") == 1


# --- long lines ------------------------------------------------------------------------------------------------------


def long_line(n_bytes: int) -> bytes:
    return b'{"text":"' + b"x" * (n_bytes - 11) + b'"}'


@pytest.mark.parametrize("n_bytes", [101, 5_000, 3_000_000])
@pytest.mark.parametrize("batch_bytes", [10, 1 << 21])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_long_line_is_a_bad_record(tmp_path: Path, n_bytes: int, batch_bytes: int, end: bytes) -> None:
    long = long_line(n_bytes)
    path = put(tmp_path, LINES + long + b"\n" + LINES + b'{"text":"' + b"x" * 89 + b'"}\n' + long + end)
    options = {"max_line_bytes": 100, "batch_bytes": batch_bytes}
    with pytest.raises(
        RecordError, match=rf"a\.jsonl:3: a record of {n_bytes:,} bytes, over the limit of 100 \(byte 48\)\n"
    ):
        read(path, **options)
    intake = Intake()
    batches = read(path, intake=intake, on_error="quarantine", quarantine=str(tmp_path / "kept"), **options)
    assert [line for batch in batches for line in batch.lines.tolist()] == [1, 2, 4, 5, 6]
    assert [(failure.line, failure.offset) for failure in intake.failed] == [(3, 48), (7, 48 + n_bytes + 1 + 48 + 101)]
    assert f"{n_bytes:,} bytes" in intake.failed[1].reason
    kept = (tmp_path / "kept" / "a.jsonl.jsonl").read_bytes().split(b"\n")
    assert kept == [long[:KEPT_BYTES], long[:KEPT_BYTES], b""]


def test_a_long_value_of_parquet_is_a_bad_record(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b" * 5000, "c"]}), tmp_path / "a.parquet")
    intake = Intake()
    assert texts(tmp_path / "a.parquet", intake=intake, on_error="skip", max_line_bytes=1000) == ["a", "c"]
    assert [failure.line for failure in intake.failed] == [2]


@needs_proc
@pytest.mark.parametrize("records", [False, True])
def test_a_byte_of_a_line_takes_four_bytes_of_memory_at_most(tmp_path: Path, records: bool) -> None:
    n_bytes = 64 << 20
    line = b'{"text":"' + ("xé\U0001f600z" * (n_bytes // 8)).encode() + b'"}\n'
    path, small = put(tmp_path, LINES + line + LINES, "long.jsonl"), put(tmp_path, LINES * 100_000, "small.jsonl")
    grown, documents, failed = measured(path, small, records=records, max_line_bytes=256 << 20)
    assert (documents, failed) == (5, 0)
    assert grown <= 4 * n_bytes


@needs_proc
@pytest.mark.parametrize(("suffix", "more"), [(".gz", 64 << 20), (".zst", 576 << 20)])
def test_a_bomb_takes_little_more_memory_than_the_limit(tmp_path: Path, suffix: str, more: int) -> None:
    compress = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress}[suffix]
    limit = 64 << 20
    bomb = put(tmp_path, compress(LINES + long_line(400 << 20) + b"\n" + LINES), f"bomb.jsonl{suffix}")
    small = put(tmp_path, LINES * 100_000, "small.jsonl")
    grown, documents, failed = measured(bomb, small, records=True, max_line_bytes=limit)
    assert (documents, failed) == (4, 1)
    assert grown <= limit + more
