"""Documents and attributes as tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dolma
from dolma.config import TagConfig
from dolma.data.dataset import Dataset
from dolma.errors import AlignmentError, ConfigError, DataError, RecordError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag

SAMPLE = "data/sample/*/documents/*"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("attributes"))
    dataset = Dataset(documents=(SAMPLE,), attributes=folder)
    tag(dataset, TagConfig(taggers=["length", "script"]), options=RunOptions(workers=1))
    return folder


@pytest.fixture
def corpus(measured):
    return dolma.Corpus(SAMPLE, attributes=measured)


def test_documents_have_their_text_and_their_place(corpus):
    rows = corpus.documents.to_arrow()
    assert rows.column_names == ["id", "source", "text", "file", "line"]
    assert len(rows) == corpus.documents.count() == 989
    assert set(rows["file"].to_pylist()) == set(corpus.files)
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["line"], first["source"]) == (1, "books")


def test_a_row_of_joined_is_of_one_document(corpus):
    rows = corpus.joined.to_pandas()
    assert list(rows["length.characters"]) == [len(text) for text in rows["text"]]


def test_attributes_without_their_documents_are_those_with_them(corpus):
    alone = corpus.attributes.to_arrow()
    assert alone.equals(corpus.joined.select(*alone.column_names).to_arrow())
    beside_text = corpus.joined.select("text", *alone.column_names).to_arrow()
    assert alone.equals(beside_text.drop_columns("text"))


def test_only_the_sets_that_are_asked_for_are_joined(measured):
    corpus = dolma.Corpus(SAMPLE, attributes=measured, sets=["length"])
    assert corpus.sets == ["length"]
    assert all(name == "id" or name.startswith("length.") for name in corpus.attributes.columns)


def test_documents_are_read_without_their_attributes(measured, tmp_path):
    shutil.copytree(measured, tmp_path / "attributes")
    for path in (tmp_path / "attributes" / "script").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    corpus = dolma.Corpus(SAMPLE, attributes=str(tmp_path / "attributes"))
    assert corpus.documents.head(1).num_rows == 1
    with pytest.raises(DataError, match=r"script"):
        _ = corpus.joined


def test_the_head_reads_no_more_than_it_shows(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    (tmp_path / "b.jsonl").write_text("damaged\n")
    documents = dolma.Corpus(str(tmp_path / "*")).documents
    assert documents.head(1)["text"].to_pylist() == ["a"]
    with pytest.raises(RecordError, match=r"b\.jsonl:1"):
        documents.to_arrow()


def test_a_bad_record_can_be_skipped(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\ndamaged\n')
    assert dolma.Corpus(str(tmp_path / "*"), on_error="skip").documents.count() == 1


def test_fields_have_the_names_they_have_in_the_file(tmp_path):
    pd.DataFrame({"content": ["é"], "url": ["u"], "meta": [{"src": "web"}]}).to_parquet(tmp_path / "a.parquet")
    rows = dolma.Corpus(str(tmp_path / "*"), text="content", id="url", source="meta.src").documents.head()
    assert rows.select(["id", "source", "text"]).to_pylist() == [{"id": "u", "source": "web", "text": "é"}]


def test_polars_takes_a_frame(corpus):
    rows = corpus.joined.select("id", "length.words").to_polars()
    assert rows.equals(pl.DataFrame(corpus.joined.select("id", "length.words")))
    assert rows.shape == (989, 2)


def test_a_relation_of_duckdb_names_attributes_as_rules_do_and_can_be_asked_twice(corpus):
    with duckdb.connect() as connection:
        relation = corpus.joined.to_duckdb(connection)
        words = corpus.joined.to_pandas()["length.words"]
        for least in (100, 1000):
            found = relation.filter(f"length.words > {least}").aggregate("count(*)").fetchall()
            assert found == [((words > least).sum(),)]


def test_a_column_that_is_not_there_is_named(corpus):
    with pytest.raises(ConfigError, match=r"no column 'length\.word'; did you mean 'length\.words'\?"):
        corpus.joined.select("length.word")
    with pytest.raises(ConfigError, match="no columns were given"):
        corpus.joined.select()


def test_a_set_that_is_not_there_is_named(measured):
    with pytest.raises(ConfigError, match=r"no attribute set is called 'lenght'\n  did you mean 'length'\?"):
        dolma.Corpus(SAMPLE, attributes=measured, sets=["lenght"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{0}x", r"no attributes of these documents in .*; it has: none\n  did you mean .*{1}\?"),
        ("{0}/..", r"no attributes of these documents in .*; it has: .*{1}"),
        ("{0}/length", r"no attributes of these documents in .*\n  did you mean .*{1}\?"),
    ],
)
def test_a_folder_without_attributes_of_the_documents_is_refused(measured, given, message):
    name = Path(measured).name
    with pytest.raises(ConfigError, match=message.replace("{1}", name)):
        dolma.Corpus(SAMPLE, attributes=given.format(measured))


def test_rows_of_other_documents_are_refused(tmp_path, measured):
    documents = tmp_path / "documents"
    documents.mkdir()
    lines = [f'{{"id": "{i}", "text": "a"}}\n' for i in range(3)]
    (documents / "a.jsonl").write_text("".join(lines))
    dataset = Dataset(documents=(str(documents / "*"),))
    tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    corpus = dolma.Corpus(str(documents / "*"))
    (documents / "a.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(AlignmentError, match=r"a\.jsonl:1"):
        corpus.joined.to_arrow()
    (documents / "b.jsonl").write_text(lines[0])
    with pytest.raises(AlignmentError, match="no attributes 'length' for this file"):
        _ = dolma.Corpus(str(documents / "*")).attributes


def test_files_without_attributes_are_a_corpus_too(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    corpus = dolma.Corpus(str(tmp_path / "a.jsonl"))
    assert (corpus.sets, corpus.joined.columns) == ([], corpus.documents.columns)
    assert corpus.attributes.to_arrow().to_pylist() == [{"id": "1"}]


def test_a_damaged_attribute_file_is_named(tmp_path):
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    tag(Dataset(documents=(str(documents / "*"),)), TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    (path,) = (tmp_path / "attributes").rglob("*.parquet")
    path.write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(DataError, match=r"a\.jsonl\.parquet"):
        _ = dolma.Corpus(str(documents / "*")).attributes


def test_what_is_shown_of_a_corpus(corpus):
    assert repr(corpus) == "<Corpus of 6 files, attributes: length, script>"
    assert repr(corpus.documents.select("id")) == "<documents of 6 files: id: string>"
    assert ", and " in repr(corpus.joined)


def test_a_frame_is_an_arrow_stream(corpus):
    assert pa.table(corpus.documents.select("id")).equals(corpus.documents.select("id").to_arrow())


def test_without_pandas_the_error_says_what_to_install():
    code = f"import sys; sys.modules['pandas'] = None; import dolma\ndolma.Corpus({SAMPLE!r}).documents.to_pandas()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "pip install 'dolma[frames]'" in found.stderr


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A folder of documents and attributes, where a dedupe named "ref" has failed."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.jsonl").write_text('{"id": "1", "text": "one", "link": "x"}\n')
    documents = str(tmp_path / "documents")
    dolma.tag(documents, taggers=["length"])
    with pytest.raises(DataError, match="lnik"):
        dolma.dedupe(documents, by="lnik", name="ref")
    return tmp_path


def test_a_set_of_which_nothing_was_written_is_left_out(failed):
    corpus = dolma.Corpus(str(failed / "documents"))
    assert corpus.sets == ["length"]
    assert len(corpus.joined.head(5)) == 1


def test_an_unfinished_set_is_a_problem_of_verify(failed):
    found = dolma.verify(str(failed / "attributes"))
    assert found.problems == [
        f"{failed / 'attributes' / 'ref'}: unfinished: run its command again, or remove the folder"
    ]


def test_a_file_that_an_unfinished_set_lacks_is_told_with_what_to_do(failed):
    stray = failed / "attributes" / "ref" / "b.jsonl.parquet"
    shutil.copy(failed / "attributes" / "length" / "a.jsonl.parquet", stray)
    with pytest.raises(AlignmentError, match=r"the set is unfinished: run its command again, or remove .*ref"):
        dolma.Corpus(str(failed / "documents")).joined.head(5)
