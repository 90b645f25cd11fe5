"""Errors of calls advise arguments. Run: `pytest tests/api/test_arguments.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dolma
from dolma.errors import DolmaError


@pytest.mark.parametrize(
    ("call", "advised"),
    [
        (lambda path: dolma.stat(path, text="body"), '`text="text"`'),
        (lambda path: dolma.stat(path), '`on_error="skip"` or `on_error="quarantine"`'),
        (lambda path: dolma.Corpus(path).documents.head(1), '`on_error="skip"`'),
        (lambda path: dolma.Corpus(path, id="idd").documents.head(1), '`id=""` takes file and line'),
        (lambda path: dolma.tag(path, taggers="length"), "`attributes=DIR`"),
        (lambda path: dolma.mix(path, keep=["document.bytes > 0"]), "`output=DIR`"),
        (lambda path: dolma.run({"documents": [path], "stat": {}}), "`output=DIR`"),
        (lambda path: dolma.mix(path, keep="length.words > 3"), 'write a list: ["length.words > 3"]'),
    ],
)
def test_what_to_type_next_is_an_argument(tmp_path: Path, call: Callable[[str], Any], advised: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\n{"id": "2"}\n')
    with pytest.raises(DolmaError) as caught:
        call(str(tmp_path / "a.jsonl"))
    assert advised in str(caught.value)
    assert "`--" not in str(caught.value)
    assert "`--" not in getattr(caught.value, "message", "")


@dolma.document_tagger(name="shout", n=dolma.DocInt("exclamation marks"))
def shout(text: str) -> dict[str, int]:
    return {"n": text.count("!")}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda path: dolma.tag(path, taggers=["length", shout]),
            'works with `texts` only: a run over files is recorded by name.*\n.*"FILE.py:shout"',
        ),
        (lambda path: dolma.tag(path, taggers=shout), 'works with `texts` only: .*\n.*"FILE.py:shout"'),
        (lambda path: dolma.tag(text=["a"], taggers=["length"]), "`text` is list, .*\n  did you mean `texts`"),
        (lambda path: dolma.Corpus(path, text_field="body"), "dolma.Corpus has no argument 'text_field'.*'text'"),
        (lambda path: dolma.stat(path, id_field="url"), "dolma.stat has no argument 'id_field'; did you mean 'id'"),
    ],
)
def test_an_argument_that_cannot_be_used_names_the_one_that_can(
    tmp_path: Path, call: Callable[[str], Any], said: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    with pytest.raises(DolmaError, match=said):
        call(str(tmp_path / "a.jsonl"))
