"""`pytest tests/data/test_dolma1.py`: the attribute files of Dolma 1.x, ours and those that 1.x wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dolma.data import dolma1, streams
from dolma.data.attributes import AttributeWriter, attribute_schema, read_attributes
from dolma.data.columns import Columns, DocBool, DocFloat, DocInt, DocText, Output, Spans, spans_of
from dolma.data.manifest import FileSet, manifest_of, write_manifest
from dolma.errors import DataError

OUTPUTS = {
    "n": DocInt("a number"),
    "x": DocFloat("a share"),
    "flag": DocBool("a truth"),
    "label": DocText("a name"),
    "spans": Spans("places"),
}
COLUMNS: Columns = {
    "n": pa.array([3, 2**60 + 1, None], pa.int64()),
    "x": pa.array([0.123456789, math.nan, None]),
    "flag": pa.array([True, False, None]),
    "label": pa.array(["zh-Hans", "a__b", None]),
    "spans": spans_of([[(0, 2, 0.5), (2, 4, 1.0)], [], []]),
}


def write(folder: Path, *, experiment: str | None = None, name: str = "a.jsonl.gz") -> str:
    path = str(folder / name)
    with AttributeWriter(path, OUTPUTS, tagger="my-tagger", format="dolma1", experiment=experiment) as writer:
        writer.write(["d1", "d2", "d3"], COLUMNS, characters=[10, 0, 7], sources=["web", "web", "books"])
    return path


def declare(folder: Path, *, experiment: str | None = None) -> None:
    """The manifest that the stage puts beside its files."""
    outputs = {name: asdict(output) for name, output in OUTPUTS.items()}
    config = {"outputs": outputs, "experiment": experiment}
    file_set = FileSet(folder=str(folder), stage="tag", name="my-tagger", config=config, inputs=[])
    write_manifest(str(folder), manifest_of(file_set, outputs=[], ledger={}, notes={}))


def foreign(folder: Path, *lines: str, name: str = "a.jsonl") -> str:
    path = str(folder / name)
    with streams.open_output(path) as out:
        out.write("".join(line + "\n" for line in lines).encode())
    return path


def rows(path: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    return read_attributes(path, columns).to_pylist()


# --- written ---------------------------------------------------------------------------------------------------------


@pytest.mark.golden
def test_the_records_are_those_of_dolma_1(tmp_path: Path) -> None:
    written = streams.open_input(write(tmp_path)).read().decode().splitlines()
    assert written == [
        '{"id":"d1","attributes":{"my_tagger__my_tagger__n":[[0,10,3]],"my_tagger__my_tagger__x":[[0,10,0.12346]],'
        '"my_tagger__my_tagger__flag":[[0,10,1.0]],"my_tagger__my_tagger__label__zh-Hans":[[0,10,1.0]],'
        '"my_tagger__my_tagger__spans":[[0,2,0.5],[2,4,1.0]]},"source":"web"}',
        '{"id":"d2","attributes":{"my_tagger__my_tagger__n":[[0,0,1152921504606846977]],'
        '"my_tagger__my_tagger__flag":[[0,0,0.0]],"my_tagger__my_tagger__label__a__b":[[0,0,1.0]]},"source":"web"}',
        '{"id":"d3","attributes":{},"source":"books"}',
    ]


def test_an_experiment_comes_first_in_the_key(tmp_path: Path) -> None:
    first = json.loads(streams.open_input(write(tmp_path, experiment="my.run")).read().splitlines()[0])
    assert "my_run__my_tagger__n" in first["attributes"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json.zst", "a.jsonl.bz2"])
@pytest.mark.parametrize("experiment", [None, "run-1", "my-tagger"])
def test_what_the_stage_wrote_comes_back_as_the_columns_it_was(
    tmp_path: Path, experiment: str | None, name: str
) -> None:
    path = write(tmp_path, experiment=experiment, name=name)
    declare(tmp_path, experiment=experiment)
    assert attribute_schema(path) == OUTPUTS
    assert rows(path) == [
        {
            "id": "d1",
            "n": 3,
            "x": 0.12346,
            "flag": True,
            "label": "zh-Hans",
            "spans": [{"start": 0, "end": 2, "score": 0.5}, {"start": 2, "end": 4, "score": 1.0}],
        },
        {"id": "d2", "n": 2**60 + 1, "x": None, "flag": False, "label": "a__b", "spans": []},
        {"id": "d3", "n": None, "x": None, "flag": None, "label": None, "spans": []},
    ]


# --- read ------------------------------------------------------------------------------------------------------------


@pytest.mark.golden
def test_files_that_dolma_1_wrote(tmp_path: Path) -> None:
    tagged = '{"id":"a","attributes":{"exp__gopher_v1__word_count":[[0,5,1.0]],"exp__jig____label__nsfw":[[0,5,0.25]]},'
    path = foreign(
        tmp_path,
        tagged + '"source":"web"}',
        '{"attributes":{"bff_duplicates":[[0,3,1],[3,5,1.0]],"empty":[]},"id":"b"}',
        '{"id":7,"attributes":{"gopher_v1__gopher_v1__word_count":[[0,2,9]]},"source":null,"more":{}}',
        '{"attributes":{},"id":"c"}',
    )
    assert rows(path) == [
        {
            "id": id,
            "bff_duplicates": [{"start": s, "end": e, "score": 1.0} for s, e in duplicates],
            "empty": [],
            "gopher_v1__word_count": [{"start": 0, "end": 5, "score": 1.0}] if id == "a" else [],
            "jig____label__nsfw": [{"start": 0, "end": 5, "score": 0.25}] if id == "a" else [],
            "word_count": [{"start": 0, "end": 2, "score": 9.0}] if id == "7" else [],
        }
        for id, duplicates in (("a", []), ("b", [(0, 3), (3, 5)]), ("7", []), ("c", []))
    ]


def test_outputs_of_a_foreign_file_are_spans(tmp_path: Path) -> None:
    path = foreign(tmp_path, '{"id":"a","attributes":{"x__x__b":[],"dups":[]}}')
    expected = Output(kind="spans", meaning="as read from a Dolma 1.x file", unit="code points")
    assert attribute_schema(path) == {"b": expected, "dups": expected}


def test_some_columns_only(tmp_path: Path) -> None:
    assert rows(foreign(tmp_path, '{"id":"a","attributes":{"x":[],"y":[]}}'), ["y"]) == [{"id": "a", "y": []}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id":"a"}', "missing required field `attributes`"),
        ('{"id":"a","attributes":{"x":[[0,1]]}}', "Expected `array` of length 3"),
        ('{"id":"a","attributes":{"x":[[0,1,"high"]]}}', "Expected `float`, got `str`|Expected `int | float`"),
        ('{"id":"a","attr', "Input data was truncated"),
    ],
)
def test_a_broken_record_is_named_by_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = foreign(tmp_path, '{"id":"a","attributes":{}}', "", line)
    with pytest.raises(DataError, match=rf"a\.jsonl:3: not an attribute record: .*({reason})"):
        read_attributes(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id":"a","attributes":{"x":[[0.5,1,1.0]]}}', "0.5 where a whole number is expected"),
        ('{"id":"a","attributes":{"x":[[0,1e300,1.0]]}}', r"1e\+300 is too large"),
        ('{"id":"a","attributes":{"x":[[0,9223372036854775808,1.0]]}}', r"9\.22.*e\+18 is too large"),
        ('{"id":1.5,"attributes":{}}', "1.5, no whole number below"),
    ],
)
def test_numbers_that_would_be_cut_are_refused(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"a\.jsonl: not an attribute file: .*{reason}"):
        read_attributes(foreign(tmp_path, line))


def test_ids_are_those_of_documents(tmp_path: Path) -> None:
    assert rows(foreign(tmp_path, '{"id":1.0,"attributes":{}}')) == [{"id": "1"}]


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    path = Path(foreign(tmp_path, '{"id":"a","attributes":{}}', name="a.jsonl.gz"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: truncated gzip"):
        read_attributes(str(path))


@pytest.mark.parametrize(
    ("key", "output"),
    [
        ("exp__tagger__out", "tagger__out"),
        ("tagger__tagger__out", "out"),
        ("exp__tagger____label__x", "tagger____label__x"),
        ("tagger__tagger__a__b", "a__b"),
        ("one__two", "one__two"),
        ("dups", "dups"),
    ],
)
def test_names_in_rules_of_keys(key: str, output: str) -> None:
    assert dolma1.output_of(key) == output


@pytest.mark.parametrize("key", ["id", "exp__exp__id"])
def test_an_output_that_would_hide_the_ids_has_another_name(key: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "d1", "attributes": {key: [[0, 3, 1.0]]}}) + "\n", encoding="utf-8")
    assert read_attributes(str(path)).column_names == ["id", "id_"]
