"""`pytest tests/data/formats/test_delimited.py`: CSV and TSV, ours and others', whole and broken."""

from __future__ import annotations

import csv
import gzip
import io
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.config import TagConfig
from dolma.data.attributes import read_attributes
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import DocumentWriter, Intake, Reading, read_batches
from dolma.data.formats.table import format_of
from dolma.data.intake import KEPT_BYTES
from dolma.errors import DataError, RecordError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

SAMPLE = Path(__file__).parents[3] / "data" / "sample"


def put(folder: Path, data: bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def read(path: Path, *, intake: Intake | None = None, **reading: Any) -> list[TextBatch]:
    (shard,) = Dataset(documents=(str(path),)).shards()
    options, intake = Reading(**reading), intake or Intake()
    return [
        batch
        for piece in pieces(shard, piece_bytes=1)
        for batch in read_batches(piece, options, intake=intake, records=True, metadata=True)
    ]


def rows(path: Path, **reading: Any) -> list[tuple[int, str, str]]:
    return [
        (int(line), id, text)
        for batch in read(path, **reading)
        for line, id, text in zip(batch.lines, batch.ids, batch.texts(), strict=True)
    ]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_cells_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text\n1,"a,b"\n2,"say ""hi"""\n3,"two\nlines"\n4,after\n')
    assert rows(path) == [(2, "1", "a,b"), (3, "2", 'say "hi"'), (4, "3", "two\nlines"), (6, "4", "after")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark(tmp_path: Path, end: bytes, mark: bytes) -> None:
    path = put(tmp_path, mark + end.join([b'"text",id', b"one,1", b"", b"two,2"]))
    assert rows(path) == [(2, "1", "one"), (4, "2", "two")]


def test_a_tab_stands_between_cells_of_tsv(tmp_path: Path) -> None:
    path = put(tmp_path, gzip.compress(b'text\tbody\na,b\t"c\td"\n', mtime=0), "a.tsv.gz")
    assert rows(path, text="body") == [(2, "a.tsv.gz:2", "c\td")]


def test_an_empty_cell_is_a_missing_field(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text,url\n,one,\n2,,http://x\n"",three,http://y\n')
    assert rows(path) == [(2, "a.csv:2", "one"), (3, "2", ""), (4, "a.csv:4", "three")]
    records = [msgspec.json.decode(record) for batch in read(path) for record in batch.records or ()]
    assert records[0] == {"text": "one"}


def test_metadata_is_json_in_a_cell(tmp_path: Path) -> None:
    path = put(tmp_path, b'text,metadata\none,"{""url"":""http://x""}"\n')
    assert [batch.metadata for batch in read(path)] == [[b'{"url":"http://x"}']]


def test_bytes_that_are_not_utf8_are_repaired_and_counted(tmp_path: Path) -> None:
    intake = Intake()
    path = put(tmp_path, b"id,text,more\n1,a\xff\xfeb,\xff\n")
    (batch,) = read(path, intake=intake)
    assert batch.texts() == ["a\ufffd\ufffdb"]
    assert intake.repaired == {"invalid_utf8": 3}


def test_a_nul_is_a_character(tmp_path: Path) -> None:
    assert rows(put(tmp_path, b"id,text\n1,a\0b\n")) == [(2, "1", "a\0b")]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv.zst", ".csv.lz4", ".tsv.bz2", ".csv.xz"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str) -> None:
    texts = ["", "a,b\tc", '"', 'say ""', "two\r\nlines\n\n", "\r", " é\u2028 ", "\0"]
    records = [
        msgspec.json.encode({"id": str(i), "text": text, "metadata": {"n": i}, "other": [1, None, "x"]})
        for i, text in enumerate(texts)
    ]
    with DocumentWriter(str(tmp_path / f"a{suffix}")) as writer:
        writer.write(records)
    (batch,) = read(tmp_path / f"a{suffix}")
    assert batch.texts() == texts
    assert [msgspec.json.decode(record) for record in batch.records or ()] == list(map(msgspec.json.decode, records))
    path = str(tmp_path / f"a{suffix}")
    assert format_of(path).count(path) == len(texts)
    joined = str(tmp_path / f"joined{suffix}")
    format_of(path).concatenate([path, path], joined)
    assert [text for batch in read(Path(joined)) for text in batch.texts()] == texts * 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".parquet", ".arrow", ".jsonl"])
def test_text_that_was_written_under_another_name_is_not_read_as_empty(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with DocumentWriter(str(path)) as writer:
        writer.write([b'{"id":"1","content":"some words"}'])
    with pytest.raises(RecordError, match=r"no text|missing required field `text`|Expected `str`, got `null`"):
        read(path)
    assert [text for batch in read(path, text="content") for text in batch.texts()] == ["some words"]


def test_real_text_has_the_attributes_that_it_has_as_json_lines(tmp_path: Path) -> None:
    source = sorted((SAMPLE / "books" / "documents").glob("*.jsonl.gz"))[0]
    records = [msgspec.json.decode(line) for line in gzip.decompress(source.read_bytes()).splitlines()][:200]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["url", "id", "body"])
    writer.writerows(["http://x", record["id"], record["text"]] for record in records)
    put(tmp_path, text.getvalue().encode())
    put(tmp_path, b"\n".join(msgspec.json.encode({"id": r["id"], "body": r["text"]}) for r in records), "b.jsonl")
    tables = []
    for name in ("a.csv", "b.jsonl"):
        dataset = Dataset(documents=(str(tmp_path / name),), attributes=str(tmp_path / "attributes" / name))
        tag(
            dataset,
            TagConfig(taggers=["length", "gopher"]),
            options=RunOptions(workers=1),
            reading=Reading(text="body"),
        )
        tables.append(read_attributes(str(tmp_path / "attributes" / name / "length" / f"{name}.parquet")))
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == len(records)


# --- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = [
    (b"id,text\n1,a\n2,b,c\n3,d\n", 3, "3 cells, expected 2 as in the first line"),
    (b"id,text\n1,a\n2\n3,d\n", 3, "1 cells, expected 2 as in the first line"),
    (b'id,text\n1,a\n2,"b"c\n3,d\n', 3, r'not valid: .*\n  a `"` inside a quoted cell is written twice'),
    (b"id,text\n1,a\n2,b\rc\n3,d\n", 3, r"a carriage return \(byte 0d\) outside quotes .*\n  quote the cell"),
    (b'id,text\n1,a\n3,d\n2,"b\nc\n', 4, 'a cell that begins with `"` is not closed before the file ends'),
]


@pytest.mark.parametrize(("data", "line", "reason"), WRONG)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, data: bytes, line: int, reason: str) -> None:
    with pytest.raises(RecordError, match=rf"a\.csv:{line}: {reason}"):
        rows(put(tmp_path, data))


@pytest.mark.parametrize(("data", "line", "reason"), WRONG)
def test_a_broken_row_may_be_left_out(tmp_path: Path, data: bytes, line: int, reason: str) -> None:
    intake = Intake()
    batches = read(put(tmp_path, data), intake=intake, on_error="skip")
    assert [id for batch in batches for id in batch.ids] == ["1", "3"]
    assert [(failed.line, intake.n_failed) for failed in intake.failed] == [(line, 1)]


def test_a_broken_row_is_kept_as_it_was(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text\n2,"b\nb",c\n3,d\n')
    read(path, on_error="quarantine", quarantine=str(tmp_path / "kept"))
    assert (tmp_path / "kept" / "a.csv.jsonl").read_bytes() == b'2,"b\nb",c\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r":1: no header\n  write the names of the columns into the first line"),
        (b"\n1,a\n", r":1: no header"),
        (b"id,id\n1,a\n", r":1: two columns are called 'id'"),
        (b"id,body\n1,a\n", r"no column 'text'; it has: id, body\n  name another with `--text-field`"),
        (b"id;text\n1;a\n", r"no column 'text'; it has: id;text\n"),
        (b'"id,text\n1,a\n', r":1: its header cannot be read: unexpected end of data"),
        (
            b"id,text\r1,a\r",
            r":1: its header cannot be read: a carriage return .*\n  .*, and line feeds",
        ),
        (b"PAR1\0\0", r"this is parquet .*, not CSV\n  call it .*a\.parquet"),
        (b"\xff\xfei\0d\0", r"this is UTF-16 .*, not CSV\n  convert it"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(put(tmp_path, data))


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    data = gzip.compress(b"id,text\n" + b"1,some text\n" * 10_000, mtime=0)
    with pytest.raises(DataError, match="truncated gzip"):
        rows(put(tmp_path, data[:-20], "a.csv.gz"))


def test_a_huge_cell_is_a_bad_record(tmp_path: Path) -> None:
    path = put(tmp_path, b"id,text\n1,a\n2," + b"x" * 3_000_000 + b"\n3,d\n")
    intake = Intake()
    batches = read(path, intake=intake, on_error="skip", max_line_bytes=100_000)
    assert [id for batch in batches for id in batch.ids] == ["1", "3"]
    assert intake.failed[0].reason == "a record of 3,000,002 bytes, over the limit of 100,000"
    read(path, on_error="quarantine", quarantine=str(tmp_path / "kept"), max_line_bytes=100_000)
    assert len((tmp_path / "kept" / "a.csv.jsonl").read_bytes()) == KEPT_BYTES + 1


def test_a_quote_that_is_not_closed_takes_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text\n1,a\n2,"' + b"some text\n" * 100_000)
    with pytest.raises(RecordError, match=r'a\.csv:3: a row over the limit of [\d,]+ bytes; a `"` that is not closed'):
        rows(path, max_line_bytes=100_000)


def test_a_row_of_many_cells_takes_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text\n1,a\n2,"' + b'a","b\n' * 100_000)
    with pytest.raises(RecordError, match=r"a\.csv:3: a row over the limit of [\d,]+ bytes"):
        rows(path, max_line_bytes=100_000)


def test_short_lines_in_a_cell_take_no_more_memory_than_long_ones(tmp_path: Path) -> None:
    path = put(tmp_path, b'id,text\n1,"' + b"x\n" * (2 << 20) + b'"\n')
    tracemalloc.start()
    try:
        read(path)
        assert tracemalloc.get_traced_memory()[1] < 90 << 20  # half of it are the characters of csv, of 4 bytes each
    finally:
        tracemalloc.stop()
