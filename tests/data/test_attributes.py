"""`pytest tests/data/test_attributes.py`: attribute files in both forms, and whether they belong to their documents."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.data import attributes, streams
from dolma.data.attributes import (
    AttributeReader,
    AttributeWriter,
    attribute_schema,
    check_alignment,
    check_exhausted,
    concatenate_attributes,
    read_attributes,
)
from dolma.data.columns import SPANS, Columns, DocBool, DocFloat, DocInt, DocText, Spans, spans_of
from dolma.errors import AlignmentError, DataError

OUTPUTS = {
    "n": DocInt("a number", unit="words"),
    "x": DocFloat("a share", range="0-1"),
    "flag": DocBool("a truth"),
    "label": DocText("a name"),
    "spans": Spans("places", range="0-1"),
}


def columns_of(n_docs: int) -> Columns:
    return {
        "n": pa.array(range(n_docs), pa.int64()),
        "x": pa.array([i / 7 for i in range(n_docs)]),
        "flag": pa.array([i % 2 == 0 for i in range(n_docs)]),
        "label": pa.array([f"l{i}" for i in range(n_docs)]),
        "spans": spans_of([[(k, k + 1, 0.5) for k in range(i % 3)] for i in range(n_docs)]),
    }


def ids_of(n_docs: int) -> list[str]:
    return [f"id{i}" for i in range(n_docs)]


def write(path: Path, n_docs: int, *, format: Any = "parquet", batch: int = 100, first: int = 0) -> str:
    columns = columns_of(n_docs)
    with AttributeWriter(str(path), OUTPUTS, tagger="my", format=format) as writer:
        for at in range(first, n_docs, batch):
            part = {name: column.slice(at, batch) for name, column in columns.items()}
            ids = ids_of(n_docs)[at : at + batch]
            writer.write(ids, part, characters=[9] * len(ids), sources=["s"] * len(ids))
    return str(path)


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    columns = {
        "n": pa.array([1, -(2**62), None], pa.int64()),
        "x": pa.array([math.inf, math.nan, None], pa.float64()),
        "flag": pa.array([True, False, None], pa.bool_()),
        "label": pa.array(["", "\U0001f600", None], pa.string()),
        "spans": pa.array(
            [[(0, 3, 0.5), (5, 5, math.nan)], [], None], attributes.schema_of(OUTPUTS).field("spans").type
        ),
    }
    path = str(tmp_path / "a.parquet")
    with AttributeWriter(path, OUTPUTS, tagger="my", version=3, parameters={"k": 1}) as writer:
        writer.write(["a", "b", "c"], columns)
    table = read_attributes(path)
    assert table.column("id").to_pylist() == ["a", "b", "c"]
    for name, column in columns.items():
        assert str(table.column(name).to_pylist()) == str(column.to_pylist())
    assert writer.rows == 3
    assert writer.written is not None and writer.written.checksum == streams.checksum(path)


def test_the_file_says_what_is_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 3)
    assert attribute_schema(path) == OUTPUTS
    assert pq.read_schema(path).metadata == {b"dolma.attributes": b'{"parameters":{},"tagger":"my","version":1}'}


def test_a_file_of_other_programs_is_read_by_its_types(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["a"], "n": pa.array([1], pa.int8()), "x": [0.5], "flag": [True], "t": ["x"]}), path)
    assert {name: output.kind for name, output in attribute_schema(path).items()} == {
        "n": "int",
        "x": "float",
        "flag": "bool",
        "t": "text",
    }


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (pa.array([0], pa.timestamp("us")), b"int", r"'words' is timestamp\[us\]; it is declared int"),
        (pa.array(["5"]), b"int", "'words' is string; it is declared int"),
        (pa.array([0], pa.timestamp("us")), None, r"'words' is timestamp\[us\]; attributes are int, float"),
        (pa.array([[1]]), None, r"'words' is list<.*>; attributes are int, float"),
    ],
)
def test_a_column_of_another_type_is_refused(tmp_path: Path, column: pa.Array, kind: bytes, message: str) -> None:
    path = str(tmp_path / "a.parquet")
    notes = None if kind is None else {b"kind": kind}
    schema = pa.schema([("id", pa.string()), pa.field("words", column.type, metadata=notes)])
    pq.write_table(pa.table([pa.array(["a"]), column], schema=schema), path)
    with pytest.raises(DataError, match=rf"a\.parquet: the column {message}.*\n  write the file again"):
        attribute_schema(path)


def test_how_rows_are_cut_into_writes_leaves_the_same_rows(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.parquet", 250, batch=250), write(tmp_path / "b.parquet", 250, batch=7)
    assert read_attributes(one).equals(read_attributes(other))


def test_some_columns_only(tmp_path: Path) -> None:
    for format, name in (("parquet", "a.parquet"), ("dolma1", "a.jsonl")):
        path = write(tmp_path / name, 5, format=format)
        columns = [attribute for attribute in attribute_schema(path) if attribute in ("x", "spans")]
        assert read_attributes(path, columns).column_names == ["id", *columns]


def test_rows_that_repeat_a_long_value_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    path, n_rows, size = str(tmp_path / "a.parquet"), 6000, 100_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), ["x" * size])
    pq.write_table(pa.table({"id": list(map(str, range(n_rows))), "t": text}), path, dictionary_pagesize_limit=1 << 30)
    with attributes.AttributeReader(path) as reader:
        lengths = [len(batch) for batch in reader.batches()]
    assert sum(lengths) == n_rows
    assert max(lengths) * size <= 256 << 20


def test_a_file_of_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 0)
    assert len(read_attributes(path)) == 0
    with AttributeReader(path) as reader:
        assert (reader.rows, len(reader.take(5)), reader.take(0).column_names) == (0, 0, ["id", *OUTPUTS])


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), AttributeWriter(str(tmp_path / "a.parquet"), OUTPUTS, tagger="my") as writer:
        writer.write(ids_of(2), columns_of(2))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


# --- reading along ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 40), st.integers(1, 10), st.integers(0, 50), st.lists(st.integers(0, 30), max_size=6))
def test_takes_add_up_to_the_file(tmp_path: Path, n_docs: int, group: int, skip: int, takes: list[int]) -> None:
    path = str(tmp_path / "a.parquet")
    table = pa.table({"id": ids_of(n_docs), "n": list(range(n_docs))})
    pq.write_table(table, path, row_group_size=group)
    at = min(skip, n_docs)
    with AttributeReader(path, ["n"], skip=skip) as reader:
        for n in takes:
            assert reader.take(n).to_pydict() == table.slice(at, n).to_pydict()
            at = min(at + n, n_docs)
        assert reader.rows == n_docs


@pytest.mark.parametrize(("format", "name"), [("parquet", "a.parquet"), ("dolma1", "a.jsonl.gz")])
def test_reading_along_in_either_form(tmp_path: Path, format: str, name: str) -> None:
    path = write(tmp_path / name, 10, format=format)
    with AttributeReader(path, skip=3) as reader:
        assert reader.rows == 10
        assert reader.take(2).column("id").to_pylist() == ["id3", "id4"]
        assert reader.take(99).column("id").to_pylist() == ids_of(10)[5:]


@pytest.mark.parametrize("read", [read_attributes, AttributeReader])
@pytest.mark.parametrize(("format", "name"), [("parquet", "a.parquet"), ("dolma1", "a.jsonl")])
def test_a_column_that_is_not_there(tmp_path: Path, read: Any, format: str, name: str) -> None:
    path = write(tmp_path / name, 3, format=format)
    with pytest.raises(DataError, match=r"a\.\w+: no column 'labell'; did you mean 'label"):
        read(path, ["labell"])


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "[Errno 13] Failed to open local file")

    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "a.parquet")
    monkeypatch.setattr(pq, "ParquetFile", forbidden)
    with pytest.raises(DataError, match=r"a\.parquet: cannot read: Permission denied\n  allow yourself .*chmod u\+r"):
        attribute_schema(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("read", [read_attributes, AttributeReader, attribute_schema])
def test_a_file_without_ids_says_what_is_missing(tmp_path: Path, read: Any) -> None:
    pq.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: no column 'id', which tells whose row each is\n  write the file"):
        read(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("read", [read_attributes, AttributeReader, attribute_schema])
def test_damaged_files_are_named(tmp_path: Path, read: Any) -> None:
    path = Path(write(tmp_path / "a.parquet", 3))
    with pytest.raises(DataError, match=r"b\.parquet: no such file"):
        read(str(tmp_path / "b.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a\.parquet: not a readable attribute file"):
        read(str(path))


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.parquet", 3000))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"a\.parquet: corrupt attribute file"):
        read_attributes(str(path))
    with pytest.raises(DataError, match=r"a\.parquet: corrupt attribute file"), AttributeReader(str(path)) as reader:
        reader.take(3000)


@pytest.mark.parametrize(("format", "suffix"), [("parquet", ".parquet"), ("dolma1", ".jsonl.gz"), ("dolma1", ".jsonl")])
def test_parts_are_put_together(tmp_path: Path, format: str, suffix: str) -> None:
    parts = [write(tmp_path / f"{i}{suffix}", n, format=format) for i, n in enumerate((3, 0, 200))]
    written, rows = concatenate_attributes(parts, str(tmp_path / f"all{suffix}"))
    assert rows == 203
    assert read_attributes(written.path).column("id").to_pylist() == ids_of(3) + ids_of(200)
    if format == "parquet":
        assert attribute_schema(written.path) == OUTPUTS


# --- alignment -------------------------------------------------------------------------------------------------------

REMEDY = r"\n  the attributes are of other documents, or of another version of them: run their stage again"


def aligned(documents: list[str], found: list[str]) -> None:
    check_alignment(
        documents,
        pa.table({"id": pa.array(found, pa.string())}),
        documents="d.jsonl",
        attributes="a.parquet",
        lines=np.array([3, 5, 9][: len(documents)], dtype=np.int64),
    )


def test_the_same_ids_are_aligned() -> None:
    aligned(["a", "b"], ["a", "b"])
    aligned([], [])


def test_other_order_names_the_first_line() -> None:
    with pytest.raises(AlignmentError, match=r"^d\.jsonl:5: id 'b', but its row in a\.parquet has id 'c'" + REMEDY):
        aligned(["a", "b", "c"], ["a", "c", "b"])


def test_too_few_rows_name_the_first_document_without_one() -> None:
    with pytest.raises(
        AlignmentError,
        match=r"^d\.jsonl:9: no row for this document \(id 'c'\) in a\.parquet, which ends before" + REMEDY,
    ):
        aligned(["a", "b", "c"], ["a", "b"])


def test_too_many_rows_name_the_first_without_a_document(tmp_path: Path) -> None:
    with AttributeReader(write(tmp_path / "a.parquet", 5), skip=4) as reader:
        with pytest.raises(
            AlignmentError, match=r"^d\.jsonl: \S+a\.parquet goes on with id 'id4' after the last document" + REMEDY
        ):
            check_exhausted(reader, documents="d.jsonl")
        check_exhausted(reader, documents="d.jsonl")


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    damaged = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array(["1"]), "label": damaged}), path)
    with pytest.raises(DataError, match=r"corrupt attribute file: .*UTF8"):
        read_attributes(path)
    with AttributeReader(path) as reader, pytest.raises(DataError, match=r"corrupt attribute file: .*UTF8"):
        reader.take(1)


@pytest.mark.parametrize("span", [None, {"start": None, "end": 3, "score": 1.0}, {"start": 0, "end": None, "score": 1}])
def test_a_span_without_an_end_is_refused(span: dict[str, float | None] | None, tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array(["1"]), "spans": pa.array([[span]], SPANS)}), path)
    with pytest.raises(DataError, match="'spans' has a span without a start or an end"):
        read_attributes(path)
