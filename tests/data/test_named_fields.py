"""Ids and sources in fields that were named. Run: `pytest tests/data/test_named_fields.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dolma
from dolma.cli.main import run
from dolma.data import named_fields
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.named_fields import check_named_fields
from dolma.errors import ConfigError

RECORD = {"uid": "1", "text": "one two", "meta": {"from": "web"}}


def corpus(tmp_path: Path, *records: dict[str, object]) -> Dataset:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Dataset(documents=(str(path),))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (
            Reading(id="uidd"),
            r"\$\.fields\.id: .* \(1 looked at\) has a value in 'uidd'; they have: meta\.from, text, uid\n"
            r"  did you mean 'uid'\? `--id-field ''` takes file and line",
        ),
        (Reading(source="meta.fromm"), r"\$\.fields\.source: .*'meta\.fromm'.*\n  did you mean 'meta\.from'\?"),
    ],
)
def test_a_field_that_no_document_has_is_refused(tmp_path: Path, reading: Reading, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_named_fields(corpus(tmp_path, RECORD, RECORD), reading)


@pytest.mark.parametrize("reading", [Reading(), Reading(id="", source=""), Reading(id="uid", source="meta.from")])
def test_a_usual_name_may_be_absent_and_the_empty_one_is_no_field(tmp_path: Path, reading: Reading) -> None:
    check_named_fields(corpus(tmp_path, RECORD), reading)


def test_a_field_that_some_documents_have_is_taken(tmp_path: Path) -> None:
    check_named_fields(corpus(tmp_path, {"text": "a"}, {"text": "b", "uid": 5}), Reading(id="uid"))


def test_a_corpus_without_documents_has_no_wrong_fields(tmp_path: Path) -> None:
    check_named_fields(corpus(tmp_path), Reading(id="uid"))


def test_columns_are_fields(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uid": ["1"], "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="did you mean 'uid'"):
        check_named_fields(Dataset(documents=(str(tmp_path / "a.parquet"),)), Reading(id="uuid"))


@pytest.mark.parametrize(
    "command",
    [["tag", "--taggers", "length"], ["dedupe"], ["tokenize", "--tokenizer", "data/sample/tokenizer.json"], ["stat"]],
)
def test_a_command_says_so_before_it_writes(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (documents,) = corpus(tmp_path, RECORD).documents
    if command[0] == "tokenize":
        command = [*command, "--output", str(tmp_path / "out")]
    assert run([*command, "--documents", documents, "--id-field", "uidd"]) == 2
    assert "did you mean 'uid'?" in capsys.readouterr().err
    assert not (tmp_path / "web" / "attributes").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", [["tag", "--taggers", "length"], ["dedupe"], ["mix", "--keep", "document.bytes > 0"]]
)
def test_a_run_with_nothing_to_do_looks_for_no_field(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (documents,) = corpus(tmp_path, RECORD).documents
    output = ["--output", str(tmp_path / "out")] if command[0] == "mix" else []
    again = [*command, *output, "--documents", documents, "--id-field", "uid"]
    assert run(again) == 0
    monkeypatch.setattr(named_fields, "look_for", None)
    assert run(again) == 0


def test_a_corpus_of_python_says_so(tmp_path: Path) -> None:
    (documents,) = corpus(tmp_path, RECORD).documents
    with pytest.raises(ConfigError, match="did you mean 'uid'"):
        dolma.Corpus(documents, id="uidd").documents.head(1)


def test_no_field_gives_file_and_line(tmp_path: Path) -> None:
    (documents,) = corpus(tmp_path, {**RECORD, "id": 1.5}).documents
    (row,) = dolma.Corpus(documents, id="", source="").documents.select("id", "source").head(9).to_pylist()
    assert row == {"id": "a.jsonl:1", "source": "web"}
