"""What a notebook shows. Run: `pytest tests/api/test_display.py`."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

import dolma
from dolma.api.documents import FoundDocument
from dolma.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def corpus(tmp_path: Path) -> dolma.Corpus:
    (tmp_path / "documents").mkdir()
    records = [
        {"id": "<b>", "text": "Write to <i>whale@example.org</i>.", "source": "web", "metadata": {"url": "u"}},
        {"id": "long", "text": "x" * 5000, "source": "web"},
    ]
    (tmp_path / "documents" / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    dolma.tag(str(tmp_path / "documents" / "*"), taggers=["length", "pii"], workers=1)
    return dolma.Corpus(str(tmp_path / "documents" / "*"))


def test_a_corpus_shows_its_first_documents_with_texts_cut(corpus: dolma.Corpus) -> None:
    shown = corpus._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown
    assert f"{'x' * 200}…" in shown and "x" * 201 not in shown


def test_a_document_shows_its_spans(corpus: dolma.Corpus) -> None:
    (found,) = corpus.find("<b>")
    assert [(one.start, one.end, one.attribute) for one in found.spans] == [(12, 29, "pii.email")]
    assert found.metadata == {"url": "u"} and found.attributes["length"]["words"] == 3
    shown = found._repr_html_()
    assert "&lt;i&gt;<mark>whale@example.org</mark>&lt;/i&gt;" in shown and "length.words" in shown


def test_the_file_of_a_document_does_nothing_to_a_terminal() -> None:
    file, document = "a\x1b[2J.jsonl", cast(Any, None)
    found = FoundDocument(
        id="1", source="", file=file, line=1, text="", metadata=None, attributes={}, _document=document
    )
    assert repr(found) == "<document '1' of a\\x1b[2J.jsonl:1, 0 characters>"


def test_a_document_is_found_by_file_and_line(corpus: dolma.Corpus) -> None:
    assert corpus.find("documents/a.jsonl:2")[0].id == "long"
    with pytest.raises(ConfigError, match="no document of this corpus has the id"):
        corpus.find("nothing")


def test_a_report_shows_its_tables(corpus: dolma.Corpus, tmp_path: Path) -> None:
    report = dolma.mix(corpus.files[0], output=str(tmp_path / "mixed"), keep=["length.words > 1"], workers=1)
    shown = report._repr_html_()
    assert "2 documents in, 1 out" in shown and "keep: length.words &gt; 1" in shown


def test_the_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "docs" / "example.ipynb").read_text())
    for name in ("data", "configs"):
        os.symlink(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            *before, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(before, []), "cell", "exec"), names)
            assert isinstance(last, ast.Expr)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    displayed = [value for value in shown if hasattr(value, "_repr_html_")]
    assert ["<table>" in value._repr_html_() for value in displayed] == [False, True, True, True]
