"""`pytest tests/data/formats/test_arrow.py`: Arrow IPC, ours and others', whole and broken."""

from __future__ import annotations

import gzip
import random
import struct
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.feather
import pytest

from dolma.data.arrow_json import JsonForm
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import DocumentWriter, Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.errors import DataError, RecordError

SAMPLE = Path(__file__).parents[3] / "data" / "sample"
TABLE = pa.table({"id": [str(i) for i in range(5000)], "text": [f"text {i}" for i in range(5000)]})


def write(path: Path, table: pa.Table = TABLE, *, rows: int = 1000, stream: bool = False, **options: Any) -> Path:
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(path: Path, *, intake: Intake | None = None, piece_bytes: int = 1 << 30, **reading: Any) -> list[TextBatch]:
    (shard,) = Dataset(documents=(str(path),)).shards()
    options, intake = Reading(**reading), intake or Intake()
    return [
        batch
        for piece in pieces(shard, piece_bytes=piece_bytes)
        for batch in read_batches(piece, options, intake=intake, records=True, metadata=True)
    ]


def texts(path: Path, **options: Any) -> list[str]:
    return [text for batch in read(path, **options) for text in batch.texts()]


@pytest.mark.parametrize("suffix", [".arrow", ".ipc", ".feather"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_files_and_streams_of_others(tmp_path: Path, suffix: str, stream: bool, compression: str | None) -> None:
    path = write(tmp_path / f"a{suffix}", stream=stream, compression=compression)
    assert texts(path) == TABLE["text"].to_pylist()
    assert format_of(str(path)).count(str(path)) == 5000


def test_what_feather_writes(tmp_path: Path) -> None:
    pyarrow.feather.write_feather(TABLE, str(tmp_path / "a.feather"))
    assert len(texts(tmp_path / "a.feather")) == 5000


@pytest.mark.parametrize("stream", [False, True])
def test_pieces_have_each_row_once_with_its_number(tmp_path: Path, stream: bool) -> None:
    path = write(tmp_path / "a.arrow", stream=stream, rows=700)
    batches = read(path, piece_bytes=20_000)
    assert [text for batch in batches for text in batch.texts()] == TABLE["text"].to_pylist()
    assert [int(line) for batch in batches for line in batch.lines] == list(range(1, 5001))
    (shard,) = Dataset(documents=(str(path),)).shards()
    assert (len(pieces(shard, piece_bytes=20_000)) > 1) is not stream


@pytest.mark.parametrize("suffix", [".arrow", ".arrows", ".ipc", ".feather"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    source = sorted((SAMPLE / "books" / "documents").glob("*.jsonl.gz"))[0]
    records = gzip.decompress(source.read_bytes()).splitlines()
    path = str(tmp_path / f"a{suffix}")
    with DocumentWriter(path) as writer:
        writer.write(records)
    found = [msgspec.json.decode(record) for batch in read(Path(path)) for record in batch.records or ()]
    assert found == list(map(msgspec.json.decode, records))
    assert format_of(path).count(path) == len(records)
    format_of(path).concatenate([path, path], str(tmp_path / f"joined{suffix}"))
    assert len(texts(tmp_path / f"joined{suffix}")) == 2 * len(records)
    with DocumentWriter(str(tmp_path / f"again{suffix}")) as writer:
        writer.write(records)
    assert (tmp_path / f"again{suffix}").read_bytes() == Path(path).read_bytes()


def test_text_of_another_column_and_of_a_dictionary(tmp_path: Path) -> None:
    table = pa.table({"key": [1, 2], "body": pa.array(["one", "two"]).dictionary_encode()})
    (batch,) = read(write(tmp_path / "a.arrow", table), text="body", id="key")
    assert (batch.ids, batch.texts()) == (["1", "2"], ["one", "two"])


def test_bytes_that_are_not_utf8_are_repaired_and_counted(tmp_path: Path) -> None:
    text = pa.array([b"a\xffb", b"fine"], pa.binary()).view(pa.string())
    intake = Intake()
    assert texts(write(tmp_path / "a.arrow", pa.table({"text": text})), intake=intake) == ["a\ufffdb", "fine"]
    assert intake.repaired == {"invalid_utf8": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable Arrow IPC file"),
        (b"ARROW1", "not a readable Arrow IPC file"),
        (b"ARROW1\0\0" + b"\0" * 100, "not a readable Arrow IPC file"),
        (b"PAR1" + b"\0" * 100, r"this is parquet .*, not Arrow IPC\n  call it .*a\.parquet"),
        (b"FEA1" + b"\0" * 100, r"this is Feather of version 1 .*, not Arrow IPC\n  write it again"),
        (b'{"text":"a"}\n', r"this is JSON .*, not Arrow IPC"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "not a readable Arrow IPC file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.arrow").write_bytes(data)
    with pytest.raises(DataError, match=message):
        texts(tmp_path / "a.arrow")


def test_columns_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'text'; it has: body\n  name another with `--text-field`"):
        texts(write(tmp_path / "a.arrow", pa.table({"body": ["x"]})))
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    with pytest.raises(DataError, match="two columns are called 'text'"):
        texts(write(tmp_path / "b.arrow", twice))


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_that_is_cut_is_an_error(tmp_path: Path, stream: bool) -> None:
    whole = write(tmp_path / "whole.arrow", stream=stream).read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "a.arrow").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=r"a\.arrow: (not a readable|corrupt) Arrow IPC"):
            texts(tmp_path / "a.arrow")


def test_bounds_beyond_the_buffers_are_an_error(tmp_path: Path) -> None:
    offsets = pa.array([0, 1 << 30, 5], pa.int32()).buffers()[1]
    text = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"short"))
    with pytest.raises(DataError, match=r"corrupt Arrow IPC in record batch 0"):
        texts(write(tmp_path / "a.arrow", pa.table({"text": text})))


def test_damaged_files_are_errors_or_text_and_never_a_crash(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "whole.arrow", TABLE.slice(0, 50)).read_bytes())
    chance = random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "a.arrow").write_bytes(data)
        try:
            texts(tmp_path / "a.arrow")
        except DataError as error:
            assert error.file == str(tmp_path / "a.arrow")


def repeated(value: str, rows: int, kind: str) -> pa.Array:
    """A column of `rows` rows of the same value, which stands in the file once."""
    if kind == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
    if kind == "runs":
        return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), [value])
    view = struct.pack("<i4sii", len(value), value[:4].encode(), 0, 0)
    buffers = [None, pa.py_buffer(view * rows), pa.py_buffer(value.encode())]
    return pa.Array.from_buffers(pa.string_view(), rows, buffers)


@pytest.mark.parametrize("kind", ["dictionary", "runs", "views"])
def test_rows_that_share_long_values_are_read_a_few_at_a_time(tmp_path: Path, kind: str, monkeypatch: Any) -> None:
    decoded, form = [], JsonForm.rows
    monkeypatch.setattr(JsonForm, "rows", lambda self, rows: decoded.append(len(rows)) or form(self, rows))
    table = pa.table({"text": repeated("x" * (1200 << 10), 7, kind), "id": [str(i) for i in range(7)]})
    assert texts(write(tmp_path / "a.arrow", table)) == ["x" * (1200 << 10)] * 7
    assert decoded == [3, 3, 1]


def test_a_row_that_no_memory_holds_is_a_bad_record(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1200], pa.int32()), repeated("x" * (1 << 20), 1200, "dictionary"))
    path = write(tmp_path / "a.arrow", pa.table({"text": ["a", "b"], "m": lists}))
    with pytest.raises(RecordError, match=r"a record of 1,257,242,625 bytes, over the limit of 268,435,456\n"):
        read(path)
    assert texts(path, on_error="skip") == ["a"]


def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(b"ARROW1\0\0")
    with pytest.raises(DataError, match=r"not a readable Arrow IPC file: .*\n  copy or write the file again"):
        texts(path)
