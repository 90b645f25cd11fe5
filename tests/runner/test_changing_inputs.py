"""Inputs that change while a stage runs: each stage ends with an error and finishes nothing.

Run: pytest tests/runner/test_changing_inputs.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.config import DedupeConfig, MixConfig, SourceShare, StatConfig, TagConfig, TaggerSpec, TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.data.manifest import NAME
from dolma.dedupers.dedupe import dedupe
from dolma.errors import DataError
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
CHANGED = "changed while it was being read"


class Meanwhile(NullReporter):
    """Does something once, when a phase begins."""

    def __init__(self, phase: str, action: Callable[[], Any]) -> None:
        self.phase, self.action = phase, action
        self.done = False

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        if stage == self.phase and not self.done:
            self.done = True
            self.action()


def records(n: int, word: str) -> bytes:
    lines = [{"id": str(i), "text": f"{word} number {i}", "metadata": {"url": f"https://a.org/{i}"}} for i in range(n)]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


class Corpus:
    """Two files of documents with attributes, a tokenizer, a list of domains; and the stages over them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.documents, self.tokenizer, self.list = home / "documents/a.jsonl", home / "tokenizer.json", home / "list"
        self.attributes = home / "attributes/length/a.jsonl.parquet"
        self.documents.parent.mkdir()
        self.documents.write_bytes(records(44, "one"))
        (home / "documents/b.jsonl").write_bytes(records(5, "two"))
        shutil.copy(TOKENIZER, self.tokenizer)
        self.list.write_text("a.org\n")
        self.dataset = Dataset(documents=(f"{home}/documents/*.jsonl",), attributes=f"{home}/attributes")
        self.tag()

    def tag(self, **more: Any) -> Any:
        return tag(self.dataset, TagConfig(taggers=["length"]), **self.running(more))

    def tag_again(self, **more: Any) -> Any:
        again = TaggerSpec(use="length", name="again")
        return tag(self.dataset, TagConfig(taggers=[again]), **self.running(more))

    def tag_urls(self, **more: Any) -> Any:
        urls = TaggerSpec(use="url_list", options={"lists": [str(self.list)]})
        return tag(self.dataset, TagConfig(taggers=[urls]), **self.running(more))

    def dedupe(self, **more: Any) -> Any:
        return dedupe(self.dataset, DedupeConfig(), **self.running(more))

    def mix(self, **more: Any) -> Any:
        config = MixConfig(keep=["length.words > 0"], format=".jsonl")
        return mix(self.dataset, config, output=f"{self.home}/out", **self.running(more))

    def sample(self, **more: Any) -> Any:
        shares = {self.home.name: SourceShare(share=1.0)}
        config = MixConfig(keep=["length.words > 0"], sources=shares, format=".jsonl")
        return mix(self.dataset, config, output=f"{self.home}/out", **self.running(more))

    def tokenize(self, **more: Any) -> Any:
        config = TokenizeConfig(tokenizer=str(self.tokenizer))
        return tokenize(self.dataset, config, output=f"{self.home}/out", **self.running(more))

    def stat(self, **more: Any) -> Any:
        return stat(self.dataset, StatConfig(), output=f"{self.home}/out", **self.running(more))

    def running(self, more: dict[str, Any]) -> dict[str, Any]:
        return {"options": RunOptions(workers=1), **more}

    def finished(self) -> set[str]:
        return {str(path) for path in self.home.rglob(NAME)}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


CASES = [
    ("tag_again", "tag: measure", "documents"),
    ("tag_urls", "tag: measure", "documents"),
    ("dedupe", "dedupe: hash", "documents"),
    ("mix", "mix: mix", "documents"),
    ("mix", "mix: mix", "attributes"),
    ("sample", "mix: decide", "documents"),
    ("sample", "mix: decide", "attributes"),
    ("sample", "mix: write", "documents"),
    ("tokenize", "tokenize: encode", "documents"),
    ("tokenize", "tokenize: write", "tokenizer"),
    ("stat", "stat: count", "documents"),
    ("stat", "stat: describe", "attributes"),
]


@pytest.mark.parametrize(("stage", "phase", "input"), CASES)
def test_a_changed_input_ends_the_stage_and_leaves_nothing_finished(
    corpus: Corpus, stage: str, phase: str, input: str
) -> None:
    path: Path = getattr(corpus, input)
    before, finished = path.read_bytes(), corpus.finished()
    another = records(10, "one") if input == "documents" else before[:-1] + b"?"
    reporter = Meanwhile(phase, lambda: path.write_bytes(another))
    with pytest.raises(DataError, match=CHANGED) as caught:
        getattr(corpus, stage)(reporter=reporter)
    assert caught.value.file == str(path)
    assert corpus.finished() == finished

    path.write_bytes(before)
    report = getattr(corpus, stage)()
    assert not report.complete_before
    documents = getattr(report, "report", report).ledger.total().taken.documents
    assert documents == 49


def test_another_input_is_read_by_the_rerun(corpus: Corpus) -> None:
    reporter = Meanwhile("mix: write", lambda: corpus.documents.write_bytes(records(10, "one")))
    with pytest.raises(DataError, match=CHANGED):
        corpus.sample(reporter=reporter)
    corpus.tag(options=RunOptions(workers=1, overwrite=True))
    assert corpus.sample().ledger.total().taken.documents == 15


def test_workers_find_it_as_well(corpus: Corpus) -> None:
    reporter = Meanwhile("dedupe: hash", lambda: corpus.documents.write_bytes(records(10, "one")))
    with pytest.raises(DataError, match=CHANGED):
        corpus.dedupe(reporter=reporter, options=RunOptions(workers=2))


def test_a_list_that_a_tagger_has_read_may_not_change(corpus: Corpus) -> None:
    finished = corpus.finished()
    reporter = Meanwhile("tag: measure", lambda: corpus.list.write_text("another.org\n"))
    with pytest.raises(DataError, match=CHANGED) as caught:
        corpus.tag_urls(reporter=reporter)
    assert caught.value.file == str(corpus.list)
    assert corpus.finished() == finished
