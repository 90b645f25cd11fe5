"""Rules that do nothing, or everything, on the first documents. Run: pytest tests/mixers/test_first_look.py"""

from __future__ import annotations

from typing import Any

import pytest

from dolma.config import MixConfig, convert
from dolma.data.documents import Reading
from dolma.mixers import first_look as module
from dolma.mixers.first_look import first_look
from dolma.mixers.mix import mix
from dolma.mixers.subject import subject_of
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter

RULES: dict[str, Any] = {
    "keep": ["my.n >= 0", "my.n > 100"],
    "drop": ["my.n = 1"],
    "rules": {"b": {"drop": {"few": "my.n < 50"}, "sources": ["books"]}},
}


@pytest.fixture
def long(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two files, of which each is long enough to be looked at and has more than one batch."""
    monkeypatch.setattr(module, "LONG_BYTES", 1)
    for source in ("books", "web"):
        corpus.write_texts(source, ["word " * 20_000 for _ in range(50)])
        corpus.tag(source, n=list(range(50)))
    return corpus


def looked(corpus: Any, **config: Any) -> list[str]:
    made = convert(config, MixConfig, path="$.mix")
    return first_look(subject_of(corpus.dataset(), made, Reading(batch_bytes=10_000)))


def test_a_rule_that_drops_none_or_all_of_the_first_documents_is_said(long: Any) -> None:
    found = looked(long, **RULES)
    n_web = int(found[0].split()[-1])
    assert found == [
        f"mix: of the first documents of 2 files the rule `keep: my.n >= 0` drops no document of {n_web}",
        f"mix: of the first documents of 2 files the rule `keep: my.n > 100` drops {n_web} of {n_web} documents",
        f"mix: of the first documents of 2 files the rule `b: few` drops {n_web // 2} of {n_web // 2} documents",
    ]
    assert 0 < n_web < 100


def test_of_a_short_corpus_nothing_is_said_before_the_report(long: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_BYTES", 1 << 30)
    assert looked(long, **RULES) == []


def test_without_rules_nothing_is_looked_at(long: Any) -> None:
    assert looked(long) == []


def test_fields_of_the_records_are_looked_at(long: Any) -> None:
    assert looked(long, keep=["document.text <> ''"])[0].startswith("mix: of the first documents of 2 files the rule")


def test_the_mix_says_it_before_it_begins(long: Any) -> None:
    class Told(NullReporter):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def note(self, text: str) -> None:
            self.lines.append(text)

        def start(self, stage: str, tasks: int, bytes: int) -> None:
            self.lines.append("begun")

    told = Told()
    config = convert({"keep": ["my.n >= 0"]}, MixConfig, path="$.mix")
    mix(long.dataset(), config, output=str(long.out), options=RunOptions(workers=1), reporter=told)
    assert told.lines[0].startswith(
        "mix: of the first documents of 2 files the rule `keep: my.n >= 0` drops no document"
    )
    assert "begun" in told.lines[1:]
