"""SQL over a corpus. Run: `pytest tests/api/test_query.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dolma
from dolma.errors import AlignmentError, ConfigError


@pytest.fixture
def corpus(tmp_path: Path) -> dolma.Corpus:
    """Three documents in two files, with their lengths."""
    (tmp_path / "documents").mkdir()
    for name, texts in {"a": ["one two", "one"], "b": ["one two three four"]}.items():
        lines = [json.dumps({"id": f"{name}{i}", "text": text, "source": name}) for i, text in enumerate(texts)]
        (tmp_path / "documents" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    dolma.tag(str(tmp_path / "documents" / "*"), taggers=["length"], workers=1)
    return dolma.Corpus(str(tmp_path / "documents" / "*"))


def test_attributes_are_named_as_in_rules(corpus: dolma.Corpus) -> None:
    query = "select source, count(*) as n, max(length.words) as words from documents group by 1 order by 1"
    assert corpus.sql(query).to_pylist() == [
        {"source": "a", "n": 2, "words": 2},
        {"source": "b", "n": 1, "words": 4},
    ]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select count(*) as n from documents", [{"n": 3}]),
        ("select d.length.words as w from documents d where d.id = 'b0'", [{"w": 4}]),
        ("select length.Words as w from Documents where ID = 'a1'", [{"w": 1}]),
        ("select length->>'words' as w from documents where id = 'a1'", [{"w": "1"}]),
        ("with long as (select id, length.words as w from documents) select max(w) as w from long", [{"w": 4}]),
        ("select count(*) as n from documents x join documents y on x.source = y.source", [{"n": 5}]),
        ("select id from documents order by length(text) desc limit 1", [{"id": "b0"}]),
        ("select length.words as w from (select length from documents) order by 1 limit 1", [{"w": 1}]),
        ("select count(distinct d) as n from documents d", [{"n": 3}]),
        ("select count(distinct documents) as n from documents", [{"n": 3}]),
        ("select count(*) as n from documents a natural join documents b", [{"n": 3}]),
        ("select count(*) as n from documents a join documents b using (text)", [{"n": 3}]),
        ("select max(c) as c from documents d(a, b, c)", [{"c": "one two three four"}]),
        ("select count(*) as n from documents positional join documents", [{"n": 3}]),
        ("select count(*) as n from documents semi join documents b using (source)", [{"n": 3}]),
    ],
)
def test_what_a_query_gives(corpus: dolma.Corpus, query: str, rows: list[dict[str, object]]) -> None:
    assert corpus.sql(query).to_pylist() == rows


def test_every_column_is_read_where_all_are_asked_for(corpus: dolma.Corpus) -> None:
    (row,) = corpus.sql("select * from documents limit 1").to_pylist()
    assert row["text"] == "one two" and row["length"]["words"] == 2


def test_only_the_columns_that_are_named_are_read(corpus: dolma.Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    batches = dolma.Corpus._batches

    def noted(self: dolma.Corpus, columns: list[str]) -> object:
        read.append(list(columns))
        return batches(self, columns)

    monkeypatch.setattr(dolma.Corpus, "_batches", noted)
    corpus.sql("select avg(length.words) as mean from documents")
    assert read == [["length.words"]]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select * from read_text('/etc/hosts')", "disabled by configuration"),
        ("select * from '/etc/hosts'", "'/etc/hosts'|disabled|does not exist"),
        ("copy documents to 'x'", "no SELECT"),
        ("set threads = 4", "no SELECT"),
        ("install httpfs", "no SELECT"),
        ("attach 'x' as y", "no SELECT"),
        ("select 1; select 2", "has 2 statements, expected one"),
        ("", "has 0 statements|no SELECT"),
        ("select lenght.words from documents", "lenght"),
        ("select id, id from documents", "two columns are called 'id'"),
        ("select * from range(100000000) order by hash(range)", "Memory|memory|write a SELECT"),
        ("select max(length(repeat(text, 500000000))) from documents", "Memory|memory"),
    ],
)
def test_what_is_no_question_about_the_corpus(corpus: dolma.Corpus, query: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        corpus.sql(query)


def test_an_error_of_the_files_stays_one(corpus: dolma.Corpus, tmp_path: Path) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.write_text(path.read_text().replace("a0", "other"))
    with pytest.raises(AlignmentError):
        corpus.sql("select text, length.words from documents")


def test_after_an_error_the_next_query_works(corpus: dolma.Corpus) -> None:
    with pytest.raises(ConfigError):
        corpus.sql("select nothing from documents")
    assert corpus.sql("select count(*) as n from documents").to_pylist() == [{"n": 3}]


def test_options_that_would_do_nothing_are_refused(corpus: dolma.Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    from dolma.cli.main import run

    command = ["stat", "--documents", corpus.files[0], "--sql", "select 1 as a"]
    assert run([*command, "--bins", "3"]) == 2
    assert "--bins: does nothing beside --sql" in capsys.readouterr().err


def test_a_date_that_python_has_none_for_is_an_error(corpus: dolma.Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    from dolma.cli.main import run

    assert run(["stat", "--documents", corpus.files[0], "--sql", "select date '99999-01-01' as a", "--json"]) == 2
    assert "the column 'a' has a value that Python has none for" in capsys.readouterr().err
