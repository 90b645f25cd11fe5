"""Fields of the documents as they are written. Run: pytest tests/mixers/test_reshape.py"""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma.data.documents import Reading
from dolma.errors import ConfigError, DataError

LINES = [
    b'{"id": "w-0", "text": "a", "source": "web", "added": "x", "metadata": {"url": "u0", "n": 1.50}}',
    b'{ "id":"w-1" , "text":"b", "source":"web"}',
    b'{"id":"w-2","text":"c","source":"web","metadata":{"n":  [1]}, "added":null}',
]
IDS = ["w-0", "w-1", "w-2"]


@pytest.fixture
def web(corpus: Any) -> Any:
    corpus.write("web", LINES)
    corpus.tag(
        "web",
        ids=IDS,
        n=[1, None, 3],
        x=[0.5, float("nan"), 1e9],
        flag=[True, False, None],
        label=["é", "", "c"],
        spans=[[], [], []],
    )
    return corpus


def test_fields_are_left_out_and_renamed_and_records_without_them_stay_as_the_bytes_they_were(web: Any) -> None:
    web.mix(fields={"drop": ["added"], "rename": {"metadata.url": "url"}})
    assert web.lines() == [
        b'{"id":"w-0","text":"a","source":"web","metadata":{"n":1.50},"url":"u0"}',
        LINES[1],
        b'{"id":"w-2","text":"c","source":"web","metadata":{"n":  [1]}}',
    ]


def test_fields_may_change_places_with_others_through_a_third_name(web: Any) -> None:
    web.mix(fields={"rename": {"text": "content", "metadata.n": "metadata.m.k"}})
    assert [(record["content"], record.get("metadata")) for record in web.records()] == [
        ("a", {"url": "u0", "m": {"k": 1.5}}),
        ("b", None),
        ("c", {"m": {"k": [1]}}),
    ]


@pytest.mark.parametrize("format", [".jsonl", ".parquet"])
@pytest.mark.parametrize("sources", [{}, {"web": {"repeat": 2}}], ids=["in one pass", "sampled"])
def test_attributes_are_copied_into_the_metadata(web: Any, format: str, sources: Any) -> None:
    copied = {"n": "my.n", "more.x": "my.x", "flag": "my.flag", "label": "my.label"}
    web.mix(metadata=copied, fields={"drop": ["metadata.n"]}, sources=sources, format=format)
    if format == ".parquet":
        (path,) = (web.out / "documents").rglob("*.parquet")
        found = [(row["id"], json.loads(row["metadata"])) for row in pq.read_table(path).to_pylist()]
    else:
        found = [(record["id"], record["metadata"]) for record in web.records()]
    of = {
        "w-0": {"url": "u0", "n": 1, "more": {"x": 0.5}, "flag": True, "label": "é"},
        "w-1": {"n": None, "more": {"x": None}, "flag": False, "label": ""},
        "w-2": {"n": 3, "more": {"x": 1e9}, "flag": None, "label": "c"},
    }
    assert found == [(f"{id}{copy}", of[id]) for id in of for copy in (("", "#2") if sources else ("",))]


def test_an_attribute_takes_no_field_that_a_document_has(web: Any) -> None:
    with pytest.raises(DataError, match=r":1: document 'w-0' has the field 'metadata\.n' already, which an"):
        web.mix(metadata={"n": "my.n"})


def test_a_field_may_take_the_name_of_one_that_is_left_out(web: Any) -> None:
    web.mix(fields={"drop": ["metadata.n"], "rename": {"metadata.url": "metadata.n"}})
    assert web.records()[0]["metadata"] == {"n": "u0"}


def test_a_field_that_no_document_has_is_an_error_with_those_that_there_are(web: Any) -> None:
    for changes, path in (({"drop": ["added", "urk"]}, "drop[1]"), ({"rename": {"urk": "u"}}, "rename.urk")):
        with pytest.raises(
            ConfigError, match=r"no document at the beginnings of files .* has a value in 'urk'"
        ) as found:
            web.mix(fields=changes)
        assert f"$.mix.fields.{path}" in str(found.value)
        assert "metadata.url" in str(found.value)
    with pytest.raises(ConfigError, match=r"has a value in 'metadata\.urk'") as found:
        web.mix(spans=[{"attribute": "my.spans", "replace_field": "metadata.urk"}])
    assert not web.out.exists()


@pytest.mark.parametrize("name", ["text", "id", "source", "key"])
def test_what_later_stages_need_is_not_left_out(corpus: Any, name: str) -> None:
    corpus.write("web", [{"key": {"id": "a"}, "text": "a"}])
    reading = Reading(id="key.id") if name == "key" else Reading()
    with pytest.raises(ConfigError, match=rf"is '{name}', which holds a document's text, id or source") as found:
        corpus.mix(fields={"drop": [name]}, reading=reading)
    assert "$.mix.fields.drop[0]" in str(found.value)


def test_a_name_that_a_document_has_already_is_an_error_with_its_line(web: Any) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1: document 'w-0' has the field 'metadata' already"):
        web.mix(fields={"rename": {"added": "metadata"}})


def test_metadata_that_are_no_object_are_not_lost(corpus: Any) -> None:
    corpus.write("web", [{"id": "a", "text": "a", "metadata": "note"}])
    corpus.tag("web", ids=["a"], n=[1])
    with pytest.raises(DataError, match=r"a\.jsonl:1: the metadata of document 'a' are no object"):
        corpus.mix(metadata={"n": "my.n"})
    corpus.mix(metadata={"n": "my.n"}, fields={"rename": {"metadata": "note"}}, overwrite=True)
    assert corpus.records() == [{"id": "a", "text": "a", "source": "web", "note": "note", "metadata": {"n": 1}}]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"metadata": {"n": "my.m"}}, r"no attribute 'my\.m'"),
        ({"metadata": {"n": "my.spans"}}, r"'my\.spans' is spans, expected a number, a text or a truth value"),
        ({"metadata": {"n": "document.bytes"}}, r"'document\.bytes' is of the document itself"),
        ({"metadata": {"n": "n"}}, r"`metadata` takes 'n', expected `tagger\.output`"),
        ({"fields": {"drop": ["a"], "rename": {"a": "b"}}}, r"names the field 'a' twice"),
        ({"fields": {"rename": {"a": "c", "b": "c"}}}, r"names the field 'c' twice"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(corpus: Any, keys: Any, said: str) -> None:
    corpus.write("web", [{"id": "a", "text": "a", "a": 1, "b": 2}])
    corpus.tag("web", ids=["a"], n=[1], spans=[[]])
    with pytest.raises(ConfigError, match=said):
        corpus.mix(**keys)
