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
        (lambda path: dolma.stat(path, text="body"), '`text="metadata.body"`'),
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
