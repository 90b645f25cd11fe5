"""Lists, headings, tables, code and links. Run: `pytest tests/taggers/test_structure.py`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dolma.data.batch import TextBatch
from dolma.kernels.reference import structure as reference
from dolma.taggers.structure import Structure

SAMPLE = Path(__file__).parents[2] / "data/sample"


def sample_texts(source: str) -> list[str]:
    texts = []
    for path in sorted(SAMPLE.glob(f"{source}/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def of(text: str, name: str) -> float:
    return Structure()(TextBatch.of([text]))[name].to_pylist()[0]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("- item", "list_item"),
        ("  • item", "list_item"),
        ("* **Bold**: text", "list_item"),
        ("12) item", "list_item"),
        ("(a) item", "list_item"),
        ("<li>item", "list_item"),
        ("## Title", "heading"),
        ("== Title ==", "heading"),
        ("<h3>Title</h3>", "heading"),
        ("| a | b |", "table"),
        ("a\t\tb\tc", "table"),
        ("- [x](y) | a | b", "list_item"),
        ("#hashtag", None),
        ("* * *", None),
        ("-5 degrees", None),
        ("1984. A year", None),
        ("J. Doe", None),
        ("if (a || b || c)", None),
    ],
)
def test_the_kind_of_a_line(line: str, kind: str | None) -> None:
    kinds = {name: of(line, f"{name}_line_share") for name in ("list_item", "heading", "table", "fenced")}
    assert kinds == {name: float(name == kind) for name in kinds}


def test_what_stands_in_fences_is_code_alone():
    text = "Text\n```python\n# no heading\n- no item\n```\n~~~\nopen"
    assert (of(text, "fenced_line_share"), of(text, "fences"), of(text, "heading_line_share")) == (6 / 7, 2, 0.0)


def test_a_link_is_counted_once_and_its_url_measured():
    text = 'A [b](https://c.d/e). <a href="http://f.g">h</a> (www.i.j)'
    assert of(text, "links") == 3
    assert of(text, "url_share") == len("https://c.d/ehttp://f.gwww.i.j") / len(text)


def test_an_empty_text_has_no_structure():
    assert {of("", name) for name in Structure.outputs} == {0}


@pytest.mark.parametrize("source", ["techdocs", "code", "multilingual"])
def test_real_text_is_measured_as_by_the_twin(source: str) -> None:
    texts = sample_texts(source)[::5]
    columns = Structure()(TextBatch.of(texts))
    expected = [reference.link_sums(text)[0] for text in texts]
    assert columns["links"].to_pylist() == expected
    kinds = [reference.line_kinds(text) for text in texts]
    shares = [(bullets + numbers) / max(n, 1) for n, bullets, numbers, *_ in kinds]
    assert columns["list_item_line_share"].to_pylist() == pytest.approx(shares)
