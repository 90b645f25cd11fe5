"""`pytest tests/data/test_parquet.py`: documents in parquet, ours and others'."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.data.dataset import Dataset, Shard, pieces
from dolma.data.documents import DocumentWriter, Intake, Reading, concatenate_documents, read_batches
from dolma.errors import DataError, RecordError


def shard_at(path: Path) -> Shard:
    (shard,) = Dataset(documents=(str(path),)).shards()
    return shard


def records(path: Path, intake: Intake | None = None, **reading: Any) -> list[bytes]:
    batches = read_batches(shard_at(path), Reading(**reading), intake=intake or Intake(), records=True)
    return [record for batch in batches for record in batch.records or []]


def write(path: Path, lines: list[bytes]) -> Path:
    with DocumentWriter(str(path)) as writer:
        writer.write(lines)
    return path


def through_parquet(folder: Path, lines: list[bytes]) -> list[Any]:
    """The records after JSONL -> parquet -> JSONL."""
    jsonl = write(folder / "from.jsonl", lines)
    there = write(folder / "there.parquet", records(jsonl))
    back = write(folder / "back.jsonl", records(there))
    return [json.loads(line) for line in back.read_bytes().splitlines()]


# --- ours ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"text": "a"},
        {"text": "a", "id": 5},
        {"text": "", "id": "", "source": "", "added": "", "created": ""},
        {"text": "a", "id": None, "source": None, "metadata": None, "added": None, "extra": None},
        {"text": "a", "added": 5, "created": {"at": 1}},
        {"text": "a", "metadata": {"deep": [{"x": None, "y": 1.5}, []]}, "more": {"z": [1, "2"]}, "extra": "own"},
        {"text": "a\r\n\u2028b\x85\x0b\x0c", "id": "\U0001f600", "metadata": {"t": "\ufffd"}},
    ],
    ids=str,
)
def test_every_field_survives(tmp_path: Path, document: dict[str, Any]) -> None:
    assert through_parquet(tmp_path, [msgspec.json.encode(document)]) == [document]


def test_fields_that_appear_late_or_change_type_survive(tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = [{"id": i, "text": "", "metadata": {"lang": None}} for i in range(10_000)]
    documents += [{"id": "x", "text": "", "metadata": {"lang": "en", "new": [1]}, "late": {"key": 1}}]
    assert through_parquet(tmp_path, list(map(msgspec.json.encode, documents))) == documents


def test_spaces_between_the_tokens_of_a_line_are_no_lines(tmp_path: Path) -> None:
    assert through_parquet(tmp_path, [b'{"text":\r"a",\r "id": "b"}']) == [{"text": "a", "id": "b"}]


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    line = b'{"text":"a","n":1.50,"big":123456789012345678901234567890}'
    assert records(write(tmp_path / "a.parquet", [line])) == [line]


def test_parts_are_put_together(tmp_path: Path) -> None:
    lines = [b'{"content":"%d"}' % n for n in range(10)]
    parts = [write(tmp_path / f"{n}.parquet", lines[n : n + 5]) for n in (0, 5)]
    concatenate_documents(list(map(str, parts)), str(tmp_path / "all.parquet"))
    assert records(tmp_path / "all.parquet", text="content") == lines


def test_same_documents_same_bytes(tmp_path: Path) -> None:
    files = [write(tmp_path / name, [b'{"text":"a"}'] * 100) for name in ("a.parquet", "b.parquet")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_error_while_the_last_rows_are_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="no space"), DocumentWriter(str(tmp_path / "a.parquet")) as writer:
        writer.write([b'{"text":""}'])
    assert list(tmp_path.iterdir()) == []


# --- others' ---------------------------------------------------------------------------------------------------------


def foreign(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "web.parquet")
    return folder / "web.parquet"


def test_columns_of_any_type_become_fields(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    path = foreign(
        tmp_path,
        text=pa.array(["a", "b"], pa.large_string()),
        id=pa.array([1, 2], pa.int32()),
        url=pa.array(["http://x", None]).dictionary_encode(),
        seen=pa.array([moment, None], pa.timestamp("ns", "UTC")),
        fine=pa.array([1, 2], pa.timestamp("ns")),
        score=pa.array([0.5, float("nan")]),
        price=pa.array([Decimal("1.50"), None]),
        raw=pa.array([b"bytes", b""], pa.large_binary()),
        metadata=pa.array([{"lang": "en", "tags": ["x"]}, {"lang": None, "tags": []}]),
    )
    assert [json.loads(record) for record in records(path)] == [
        {
            "text": "a",
            "id": 1,
            "url": "http://x",
            "seen": "2024-05-01T12:00:00Z",
            "fine": "1970-01-01T00:00:00",
            "score": 0.5,
            "price": "1.50",
            "raw": "bytes",
            "metadata": {"lang": "en", "tags": ["x"]},
        },
        {
            "text": "b",
            "id": 2,
            "fine": "1970-01-01T00:00:00",
            "score": None,
            "raw": "",
            "metadata": {"lang": None, "tags": []},
        },
    ]


def test_fields_by_dotted_path_into_a_struct(tmp_path: Path) -> None:
    path = foreign(tmp_path, page=[{"body": "a", "key": 7}], other=[1])
    (batch,) = read_batches(shard_at(path), Reading(text="page.body", id="page.key"), intake=Intake())
    assert (batch.texts(), batch.ids) == (["a"], ["7"])


@pytest.mark.parametrize("type", [pa.string(), pa.binary(), pa.large_string(), pa.binary(4)], ids=str)
def test_text_that_is_not_utf8_is_repaired_and_counted(tmp_path: Path, type: pa.DataType) -> None:
    path = foreign(
        tmp_path, text=pa.array([b"ab\xffc", b"abcd"], pa.binary(4) if type == pa.binary(4) else pa.binary())
    )
    if type in (pa.string(), pa.large_string()):
        column = pq.read_table(path).column("text").combine_chunks()
        column = pa.Array.from_buffers(pa.string(), 2, column.buffers())
        pq.write_table(pa.table({"text": column}), path)
    intake = Intake()
    assert records(path, intake) == [b'{"text":"ab\xef\xbf\xbdc"}', b'{"text":"abcd"}']
    assert intake.repaired == {"invalid_utf8": 1}


def test_a_bad_row_is_named_by_its_number(tmp_path: Path) -> None:
    path = foreign(tmp_path, text=["a", None, "c"])
    with pytest.raises(RecordError, match=r"web\.parquet:2: Expected `str`, got `null` - at `\$\.text`\n"):
        records(path)
    intake = Intake()
    assert records(path, intake, on_error="skip") == [b'{"text":"a"}', b'{"text":"c"}']
    assert [(record.line, record.offset) for record in intake.failed] == [(2, None)]


def test_a_file_without_a_text_column_says_what_it_has(tmp_path: Path) -> None:
    path = foreign(tmp_path, content=["a"], n=[1])
    for whole in (False, True):
        with pytest.raises(DataError, match=r"web\.parquet: no column 'text'; it has: content, n\n  name another with"):
            list(read_batches(shard_at(path), Reading(), intake=Intake(), records=whole))


def test_a_file_of_no_rows(tmp_path: Path) -> None:
    assert records(foreign(tmp_path, text=pa.array([], pa.string()))) == []


@pytest.mark.parametrize("kept", [0, 50, -30])
def test_a_cut_file_is_corrupt(tmp_path: Path, kept: int) -> None:
    path = foreign(tmp_path, text=["a" * 100] * 100)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"web\.parquet: not a readable parquet file"):
        records(path)


def test_a_flipped_byte_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "web.parquet"
    pq.write_table(
        pa.table({"text": [str(n) * 9 for n in range(9999)]}), path, compression="zstd", use_dictionary=False
    )
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"web\.parquet: corrupt parquet near row"):
        records(path)


def test_a_piece_of_a_cut_file_is_an_error_too(tmp_path: Path) -> None:
    path = foreign(tmp_path, text=["a" * 100] * 100)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"web\.parquet: not a readable parquet file"):
        pieces(shard_at(path), piece_bytes=10)
