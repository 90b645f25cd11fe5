"""What rules drop, told without documents. Run: pytest tests/mixers/test_from_attributes.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma.config import MixConfig, TagConfig, convert
from dolma.data.dataset import Dataset
from dolma.errors import AlignmentError, DataError
from dolma.mixers import judge
from dolma.mixers.mix import mix, preview
from dolma.mixers.notes import MixNotes
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter
from dolma.runner.report import StageReport
from dolma.taggers.tag import tag

ONE = RunOptions(workers=1, progress=False)
RULES: dict[str, Any] = {
    "keep": ["length.words >= 20"],
    "drop": ["gopher.fraction_of_duplicate_lines > 0.3"],
    "rules": {"talk": {"sources": ["forum"], "keep": {"long": "length.words >= 200"}}},
}


class Notes(Reporter):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def tagged(tmp_path: Path) -> Dataset:
    """The sample corpus, measured."""
    data = Dataset(documents=("data/sample/*/documents/*.jsonl.gz",), attributes=str(tmp_path / "attributes"))
    tag(data, TagConfig(taggers=["length", "gopher"]), options=ONE)
    return data


def previewed(data: Dataset, **config: Any) -> tuple[StageReport[MixNotes], list[str]]:
    reporter = Notes()
    return preview(data, convert(config, MixConfig, path="$.mix"), options=ONE, reporter=reporter), reporter.notes


def test_attributes_alone_say_what_the_mix_drops(
    tagged: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mix(tagged, convert(RULES, MixConfig, path="$.mix"), output=str(tmp_path / "out"), options=ONE)

    def unread(*_: Any, **__: Any) -> Any:
        raise AssertionError("documents are read")

    monkeypatch.setattr(judge, "read_batches", unread)
    seen, notes = previewed(tagged, **RULES)
    assert notes == []
    assert seen.details.waterfall == made.details.waterfall
    assert seen.ledger.accounts == made.ledger.accounts
    assert seen.warnings == made.warnings


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"keep": ["length.words > 1", "document.source <> 'x'"]}, "the rule `keep: document.source <> 'x'` is about"),
        ({"keep": ["length.words > 1"], "min_length": 3}, "texts are edited, or documents are sampled"),
        ({"keep": ["length.words > 1"], "alpha": 1}, "texts are edited, or documents are sampled"),
        ({"keep": ["gopher.word_count > 1"], "attributes": ["gopher"]}, "no attribute says how long texts are"),
    ],
)
def test_what_needs_the_documents_is_said(tagged: Dataset, more: dict, why: str) -> None:
    _, notes = previewed(tagged, **more)
    assert len(notes) == 1
    assert notes[0].startswith("mix: documents are read, too: ")
    assert why in notes[0]


def corpus(folder: Path, sources: list[str]) -> Dataset:
    path = folder / "web" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True)
    lines = [json.dumps({"id": str(i), "source": source, "text": f"{i} x"}) for i, source in enumerate(sources)]
    path.write_text("\n".join(lines) + "\n")
    data = Dataset(documents=(str(path),))
    tag(data, TagConfig(taggers=["length", "gopher"]), options=ONE)
    return data


def test_documents_of_other_sources_than_their_folder_are_read(tmp_path: Path) -> None:
    seen, notes = previewed(corpus(tmp_path, ["web", "else"]), keep=["length.words > 5"])
    assert "some are of other sources than their folders are called after" in notes[0]
    assert {row.source for row in seen.details.waterfall} == {"web", "else"}


def test_a_rule_without_an_answer_names_the_document(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.jsonl:1: the rule `keep: .*` is NULL for document '0'"):
        previewed(corpus(tmp_path, ["web", "web"]), keep=["length.words / 0 > 1"])


def test_attribute_files_of_other_documents_are_refused(tmp_path: Path) -> None:
    data = corpus(tmp_path / "one", ["web", "web"])
    corpus(tmp_path / "two", ["web", "web", "web"])
    part = Path("web", "attributes", "gopher", "a.jsonl.parquet")
    (tmp_path / "one" / part).write_bytes((tmp_path / "two" / part).read_bytes())
    with pytest.raises(AlignmentError, match=r"are of other documents\n  measure again"):
        previewed(data, keep=["length.words > 1", "gopher.word_count > 1"])
