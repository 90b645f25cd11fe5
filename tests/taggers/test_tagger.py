"""Taggers of one's own: what they may return, and where they failed. Run: pytest tests/taggers/test_tagger.py"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, DocInt, Spans
from dolma.errors import ConfigError, RecordError
from dolma.taggers.limits import Limits, measure
from dolma.taggers.registry import make_tagger
from dolma.taggers.tagger import DocumentTagger, document_tagger, raised_at


def tagger_of(returned: object, **outputs: object) -> DocumentTagger:
    return DocumentTagger(lambda text: returned, name="mine", outputs=outputs or {"count": DocInt("x")})  # type: ignore


def test_a_decorated_function_can_still_be_called_with_a_text() -> None:
    @document_tagger(name="shout", n=DocInt("marks"))
    def shout(text: str) -> dict[str, int]:
        return {"n": text.count("!")}

    assert shout("a!") == {"n": 1}
    assert shout(TextBatch.of(["a!", "b"]))["n"].to_pylist() == [1, 0]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"cuont": 1}, "returned 'cuont', expected 'count'; did you mean 'count'?"),
        ({"count": 1, "more": 2}, "returned 'more', expected 'count'"),
        ({}, "returned no 'count', expected 'count'"),
        (1, "returned int, expected a mapping of 'count'"),
        ({"count": "a"}, "'count' is an int or None; returned 'a'"),
        ({"count": 1.5}, "'count' is an int or None; returned 1.5"),
    ],
)
@pytest.mark.parametrize("given", ["text", TextBatch.of(["text"])], ids=["text", "batch"])
def test_what_a_function_returns_is_checked_by_name_and_kind(given: str | TextBatch, returned: object, message: str):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        tagger_of(returned)(given)


@pytest.mark.parametrize("spans", [[(1, 2)], [1], None, 3, [(1, "b", 0.5)], [(0, 1.5, 1.0)]])
def test_an_error_says_what_spans_are(spans: object) -> None:
    expected = "'s' is a list of (start, end, score): code points, `text[start:end]`, and a float; returned "
    with pytest.raises(TypeError, match=re.escape(expected)):
        tagger_of({"s": spans}, s=Spans("x"))(TextBatch.of(["abc"]))


@pytest.mark.parametrize(("start", "end"), [(0, 4), (-1, 2), (2, 1)])
def test_a_span_outside_its_text_is_an_error(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'s' has [{start}, {end}) in a text of 3 code points")):
        tagger_of({"s": [(start, end, 1.0)]}, s=Spans("x"))("äöü")


def test_a_value_outside_its_range_is_an_error() -> None:
    with pytest.raises(ValueError, match=re.escape("'x' is 1.5, declared 0-1")):
        tagger_of({"x": 1.5}, x=DocFloat("x", range="0-1"))("a")


def test_a_span_may_be_empty_and_end_with_its_text() -> None:
    spans = [(3, 3, 1.0), (0, 3, 0.5)]
    assert tagger_of({"s": spans}, s=Spans("x"))("äöü") == {"s": spans}


OWN = """
import re
from dolma.data.columns import DocInt
from dolma.taggers.tagger import document_tagger

def helper(text):
    return int(text)

@document_tagger(name="own", n=DocInt("x"))
def own(text):
    return {"n": helper(text)}

@document_tagger(name="pattern", n=DocInt("x"))
def pattern(text):
    return {"n": len(re.findall("(", text))}
"""


@pytest.mark.parametrize(("name", "line"), [("own", 7), ("pattern", 15)])
def test_an_error_has_the_line_of_the_tagger_s_own_file_and_the_document(tmp_path: Path, name: str, line: int) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    tagger = make_tagger(TaggerSpec(use=f"{path}:{name}"))
    batch = TextBatch.of(["one"], ids=["d1"], path="web/a.jsonl")
    assert measure(tagger, batch, Limits())["error"][0].as_py().endswith(f" (own.py:{line})")
    with pytest.raises(
        RecordError, match=rf"web/a.jsonl:1: the tagger '{name}' failed on document 'd1': .*own.py:{line}"
    ):
        measure(tagger, batch, Limits(stop=True))


def test_a_file_that_cannot_be_run_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("x = 1\n\ny = x / 0\n")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: division by zero\n  at bad.py:3"):
        make_tagger(TaggerSpec(use=str(path)))


def test_an_error_in_a_tagger_of_ours_has_no_place() -> None:
    with pytest.raises(AttributeError) as caught:
        make_tagger(TaggerSpec(use="length"))(None)  # type: ignore[arg-type]
    try:
        raise caught.value
    except AttributeError as error:
        assert raised_at(error.with_traceback(caught.tb.tb_next)) == ""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            TaggerSpec(use="fasttext"),
            "the tagger 'fasttext' needs the option 'path'\n  --set 'tag.taggers=[{use: fasttext",
        ),
        (TaggerSpec(use="fasttext", options={"pth": "x"}), "has no option 'pth'; did you mean 'path'?"),
    ],
)
def test_options_that_are_unknown_or_wanted_are_named(spec: TaggerSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_tagger(spec)
