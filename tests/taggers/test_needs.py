"""What taggers read of the metadata, and how many documents have it. Run: pytest tests/taggers/test_needs.py"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TagConfig, TaggerSpec
from dolma.data.attributes import read_attributes
from dolma.data.dataset import Dataset
from dolma.data.documents import DocumentWriter
from dolma.errors import Unfinished
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.taggers.tag import TagDetails, tag

pytest.importorskip("publicsuffixlist")
URL = "http://www.example.org/"
PAGES: list[dict[str, Any]] = [
    {"text": "a", "metadata": {"url": URL}},
    {"text": "b", "metadata": json.dumps({"url": URL})},
    {"text": "c", "metadata": {"url": None}, "lang": "en"},
    {"text": "d", "metadata": {"href": URL}},
    {"text": "e", "metadata": "no JSON"},
    {"text": "f"},
]


def put(folder: Path, records: list[dict[str, Any]], name: str = "a.jsonl") -> Dataset:
    path = folder / "web" / "documents" / name
    with DocumentWriter(str(path)) as writer:
        writer.write([json.dumps(record).encode() for record in records])
    return Dataset(documents=(str(path.parent / "*"),), attributes=str(folder / "attributes"))


def run(dataset: Dataset, *taggers: str | TaggerSpec, **options: Any) -> StageReport[TagDetails]:
    specs = [TaggerSpec(use=tagger) if isinstance(tagger, str) else tagger for tagger in taggers]
    return tag(dataset, TagConfig(taggers=specs), options=RunOptions(**{"workers": 1, "progress": False} | options))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_documents_with_the_field_are_counted_also_where_metadata_is_a_string(tmp_path: Path, name: str) -> None:
    report = run(put(tmp_path, PAGES, name), "url")
    assert report.ledger.fields == {"url: metadata.url": 2}
    assert (report.remarks, report.warnings) == (("url: 2 of 6 documents have metadata.url",), [])
    table = read_attributes(str(tmp_path / "attributes" / "url" / f"{name}.parquet"), ["host"])
    assert table["host"].to_pylist() == ["www.example.org"] * 2 + [None] * 4


def test_a_field_that_no_document_has_is_a_warning_with_the_fields_there_are(tmp_path: Path) -> None:
    report = run(put(tmp_path, PAGES[2:]), TaggerSpec(use="url", options={"field": "metadata.uri"}))
    assert report.remarks == ()
    assert report.warnings == [
        "url: none of 4 documents has metadata.uri\n  name the field with the option `field`; "
        "fields of the first documents: lang, text, metadata.href, metadata.url"
    ]


def test_one_of_several_fields_is_enough(tmp_path: Path) -> None:
    report = run(put(tmp_path, [{"text": "a", "metadata": {"ext": "py"}}, {"text": "b"}]), "code")
    (found,) = report.ledger.fields.values()
    assert (found, report.warnings) == (1, [])


def test_taggers_without_such_needs_say_nothing(tmp_path: Path) -> None:
    report = run(put(tmp_path, PAGES), "length")
    assert (report.ledger.fields, report.remarks, report.warnings) == ({}, (), [])


def test_without_documents_nothing_is_said(tmp_path: Path) -> None:
    report = run(put(tmp_path, []), "url")
    assert (report.remarks, report.warnings) == ((), [])


@pytest.mark.parametrize("workers", [1, 2])
def test_counts_are_those_of_all_pieces_and_workers(tmp_path: Path, workers: int) -> None:
    put(tmp_path, PAGES * 50)
    dataset = replace(put(tmp_path, PAGES * 20, "b.jsonl"), piece_bytes=3_000)
    assert len(dataset.pieces(dataset.shards())) > 5
    report = run(dataset, "url", "length", workers=workers)
    assert report.remarks == ("url: 140 of 420 documents have metadata.url",)


def test_a_run_that_is_complete_says_the_same_again(tmp_path: Path) -> None:
    dataset = put(tmp_path, PAGES)
    first = run(dataset, "url")
    again = run(dataset, "url")
    more = run(dataset, "url", "length")
    assert (again.complete_before, again.remarks) == (True, first.remarks)
    assert (more.complete_before, more.remarks) == (False, first.remarks)


def test_shards_of_a_run_say_it_once_all_are_done(tmp_path: Path) -> None:
    dataset = put(tmp_path, PAGES)
    put(tmp_path, PAGES, "b.jsonl")
    with pytest.raises(Unfinished):
        run(dataset, "url", shard=(1, 2), wait=False)
    with pytest.raises(Unfinished):
        run(dataset, "url", shard=(2, 2), wait=False)
    assert run(dataset, "url", shard=(1, 2), wait=False).remarks == ("url: 4 of 12 documents have metadata.url",)
