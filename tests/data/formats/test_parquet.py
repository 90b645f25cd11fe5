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
            "fine": "1970-01-01T00:00:00.000000001",
            "score": 0.5,
            "price": "1.50",
            "raw": "bytes",
            "metadata": {"lang": "en", "tags": ["x"]},
        },
        {
            "text": "b",
            "id": 2,
            "fine": "1970-01-01T00:00:00.000000002",
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


BYTES = {
    "binary": pa.array([b"alpha", None, "\u00e9".encode()]),
    "large": pa.array([b"alpha", None, "\u00e9".encode()], pa.large_binary()),
    "dictionary": pa.array([b"alpha", None, "\u00e9".encode()]).dictionary_encode(),
    "view": pa.array([b"alpha", None, "\u00e9".encode()], pa.binary_view()),
    "string view": pa.array(["alpha", None, "\u00e9"], pa.string_view()),
    "dictionary of strings": pa.array(["alpha", None, "\u00e9"]).dictionary_encode(),
}


@pytest.mark.parametrize("column", BYTES.values(), ids=BYTES)
def test_bytes_are_text_in_every_field_and_at_every_depth(tmp_path: Path, column: pa.Array) -> None:
    inner = pa.StructArray.from_arrays([column, pa.array([[b"x"], [], None])], names=["t", "tags"])
    path = foreign(tmp_path, text=column, id=column, source=column, metadata=inner, more=column)
    (batch,) = read_batches(shard_at(path), Reading(on_error="skip"), intake=Intake(), records=True, metadata=True)
    assert (batch.texts(), batch.ids, batch.sources) == (["alpha", "\u00e9"],) * 3
    assert [json.loads(record) for record in batch.records or []] == [
        {"text": t, "id": t, "source": t, "metadata": {"t": t, "tags": tags}, "more": t}
        for t, tags in (("alpha", ["x"]), ("\u00e9", None))
    ]
    (nested,) = read_batches(shard_at(path), Reading(text="metadata.t", on_error="skip"), intake=Intake())
    assert nested.texts() == ["alpha", "\u00e9"]


@pytest.mark.parametrize("type", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)], ids=str)
def test_ids_of_bytes_stay_apart(tmp_path: Path, type: pa.DataType) -> None:
    values = pa.array([b"\xff\xfe", b"\xfe\xff", b"ab"], type)
    path = foreign(tmp_path, text=["", "", ""], id=values, doc=pa.StructArray.from_arrays([values], names=["id"]))
    intake = Intake()
    for field in ("id", "doc.id"):
        (batch,) = read_batches(shard_at(path), Reading(id=field), intake=intake)
        assert batch.ids == ["0xfffe", "0xfeff", "ab"]
    assert intake.repaired == {"bytes_as_hex": 4}


def test_uuids_are_written_as_such(tmp_path: Path) -> None:
    path = foreign(tmp_path, text=[""], id=pa.array([bytes(range(16))], pa.uuid()))
    plain = pq.ParquetFile(path).schema_arrow.remove_metadata()
    (batch,) = read_batches(shard_at(path), Reading(), intake=Intake())
    assert plain.field("id").type in (pa.uuid(), pa.binary(16))
    assert batch.ids == ["00010203-0405-0607-0809-0a0b0c0d0e0f"]


@pytest.mark.parametrize("depth", ["list", "struct", "dictionary", "map"])
def test_damage_at_any_depth_is_repaired_and_counted(tmp_path: Path, depth: str) -> None:
    column = {
        "list": pa.array([[b"a\xff"], [b"b"]]),
        "struct": pa.array([{"t": b"a\xff"}, {"t": b"b"}]),
        "dictionary": pa.array([b"a\xff", b"b"]).dictionary_encode(),
        "map": pa.array([[(b"k\xff", b"a")], [(b"k", b"b")]], pa.map_(pa.binary(), pa.binary())),
    }[depth]
    path, intake = foreign(tmp_path, text=["", ""], x=column), Intake()
    damaged = {"list": ["a\ufffd"], "struct": {"t": "a\ufffd"}, "dictionary": "a\ufffd", "map": {"k\ufffd": "a"}}
    assert json.loads(records(path, intake)[0])["x"] == damaged[depth]
    assert intake.repaired == {"invalid_utf8": 1}
    with pytest.raises(RecordError, match=r"web\.parquet:1: damaged text: 1 invalid utf8"):
        records(path, invalid_unicode="error")


def test_numbers_that_json_does_not_have_are_null_and_counted(tmp_path: Path) -> None:
    values = [float("nan"), float("inf"), 1.0, None]
    path, intake = foreign(tmp_path, text=[""] * 4, x=values, y=[[value] for value in values]), Intake()
    assert records(path, intake) == [
        b'{"text":"","x":null,"y":[null]}',
        b'{"text":"","x":null,"y":[null]}',
        b'{"text":"","x":1.0,"y":[1.0]}',
        b'{"text":"","y":[null]}',
    ]
    assert intake.repaired == {"not_finite": 4}


def test_ids_and_sources_as_pandas_writes_them(tmp_path: Path) -> None:
    path = foreign(tmp_path, text=["", "", ""], id=[1.0, None, float("nan")], source=[3, 3, None])
    (batch,) = read_batches(shard_at(path), Reading(), intake=Intake())
    assert (batch.ids, batch.sources) == (["1", "web.parquet:2", "web.parquet:3"], ["3", "3", shard_at(path).source])


def test_a_column_with_a_dot_comes_before_a_way_into_a_struct(tmp_path: Path) -> None:
    path = foreign(tmp_path, **{"meta.text": ["a"], "meta": [{"text": "no", "id": 1}], "meta.id.x": [5]})
    for whole in (False, True):
        (batch,) = read_batches(shard_at(path), Reading(text="meta.text", id="meta.id"), intake=Intake(), records=whole)
        assert (batch.texts(), batch.ids) == (["a"], ["1"])
    with pytest.raises(DataError, match=r"no column 'other'; it has: meta\.text, meta, meta\.id\.x"):
        records(path, text="other.text")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "web.parquet")
    with pytest.raises(DataError, match=r"web\.parquet: two columns are called 'text'\n  rename one"):
        records(tmp_path / "web.parquet")


def test_our_file_edited_by_others_is_read_like_any_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b'{"text":"a","n":1,"metadata":{"k":[1]}}'])
    table = pq.read_table(path)
    table = table.set_column(5, "metadata", pa.array([b'{"k":\n[1]}'])).append_column(
        "seen", pa.array([1], pa.timestamp("ns"))
    )
    table = table.set_column(1, "text", table["text"].dictionary_encode())
    pq.write_table(table, path)
    assert [json.loads(record) for record in records(path)] == [
        {"text": "a", "n": 1, "metadata": {"k": [1]}, "seen": "1970-01-01T00:00:00.000000001"}
    ]


@pytest.mark.parametrize("name", ["metadata", "extra"])
def test_our_file_with_something_else_than_json_has_a_bad_record(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.parquet", [b'{"text":"a"}', b'{"text":"b"}'])
    table = pq.read_table(path)
    at = table.schema.get_field_index(name)
    pq.write_table(table.set_column(at, name, pa.array([None, "{no JSON"], pa.large_string())), path)
    with pytest.raises(RecordError, match=r"a\.parquet:2: not valid JSON"):
        records(path)
    assert records(path, on_error="skip") == [b'{"text":"a"}']


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


def test_a_long_value_that_many_rows_repeat_takes_no_memory_for_each_of_them(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.parquet", pa.array([0] * 1000, pa.int32())
    text = pa.DictionaryArray.from_arrays(rows, ["x" * (8 << 20)])
    pq.write_table(pa.table({"text": text}), path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    first = next(read_batches(shard_at(path), Reading(), intake=Intake()))
    assert len(first) < 1000
    assert pa.total_allocated_bytes() <= 2 * (256 << 20)
