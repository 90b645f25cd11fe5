"""Documents labelled by file or by rule. Run: pytest tests/classifier/test_labelled.py"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from dolma.classifier.labelled import Labelled, by_rule, by_source
from dolma.config import TagConfig
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.errors import AlignmentError, ConfigError
from dolma.runner.options import RunOptions
from dolma.taggers.tag import tag


def write(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"{path.stem}{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
    return path


def classes_of(labelled: Labelled) -> dict[str, int]:
    """The class of each text."""
    return {
        text: index for batch, classes in labelled for text, index in zip(batch.texts(), classes.tolist(), strict=True)
    }


def of(*paths: object) -> Dataset:
    return Dataset(documents=tuple(map(str, paths)))


# --- by source -------------------------------------------------------------------------------------------------------


def test_a_document_has_the_class_of_its_file(tmp_path):
    a, b, c = (write(tmp_path / f"{name}.jsonl", name) for name in "abc")
    labelled = by_source({"good": of(a, c), "bad": of(b)}, reading=Reading())
    assert labelled.labels == ("good", "bad")
    assert classes_of(labelled) == {"a": 0, "c": 0, "b": 1}


def test_fields_may_have_other_names(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": "1", "inner": {"body": "hello"}}\n')
    labelled = by_source({"good": of(tmp_path)}, reading=Reading(text="inner.body", id="n"))
    assert [(batch.text(0), batch.ids[0]) for batch, _ in labelled] == [("hello", "1")]


def test_a_file_of_two_classes_is_refused(tmp_path):
    write(tmp_path / "a.jsonl", "a")
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    message = r"link\.jsonl is of two classes, 'good' and 'bad', expected one for each file\n  narrow"
    with pytest.raises(ConfigError, match=message):
        by_source({"good": of(tmp_path / "a.jsonl"), "bad": of(tmp_path / "link.jsonl")}, reading=Reading())


def test_a_pattern_of_no_file_is_refused(tmp_path):
    write(tmp_path / "a.jsonl", "a")
    with pytest.raises(ConfigError, match="no document file matches"):
        by_source({"good": of(tmp_path / "a.jsonl"), "bad": of(tmp_path / "b*")}, reading=Reading())


# --- by rule ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Five documents of 1 to 5 words in two files, with `length`."""
    write(tmp_path / "documents" / "a.jsonl", "w", "w w", "w w w")
    write(tmp_path / "documents" / "b.jsonl", "w w w w", "w w w w w")
    found = Dataset(documents=(str(tmp_path / "documents"),))
    tag(found, TagConfig(taggers=["length"]), options=RunOptions(workers=1))
    return found


def words(dataset: Dataset, rules: Mapping[str, str]) -> dict[int, int]:
    """Number of words to class."""
    found = classes_of(by_rule(dataset, rules, reading=Reading()))
    return {len(text.split()): index for text, index in found.items()}


def test_the_first_rule_that_holds_is_the_class(dataset):
    rules = {"long": "length.words > 3", "middle": "length.words > 1"}
    assert words(dataset, rules) == {1: -1, 2: 1, 3: 1, 4: 0, 5: 0}


def test_a_rule_that_is_null_does_not_hold(dataset):
    rules = {"long": "NULLIF(length.words, 5) > 3", "rest": "length.words > 2"}
    assert words(dataset, rules) == {1: -1, 2: -1, 3: 1, 4: 0, 5: 1}


def test_documents_can_be_gone_through_again(dataset):
    labelled = by_rule(dataset, {"a": "length.words > 3", "b": "length.words < 3"}, reading=Reading())
    assert classes_of(labelled) == classes_of(labelled)


def test_a_file_may_be_there_twice(dataset, tmp_path):
    """Unlike in a mix: its texts are on one side of the split."""
    (tmp_path / "documents" / "c.jsonl").write_bytes((tmp_path / "documents" / "b.jsonl").read_bytes())
    tag(dataset, TagConfig(taggers=["length"]), options=RunOptions(workers=1, overwrite=True))
    assert words(dataset, {"long": "length.words > 3", "short": "length.words < 3"})[5] == 0


def test_an_unknown_attribute_says_of_which_class(dataset):
    with pytest.raises(ConfigError, match=r"^--rule bad: .*length\.word"):
        by_rule(dataset, {"good": "length.words > 3", "bad": "length.word < 3"}, reading=Reading())


def test_no_documents_are_refused():
    with pytest.raises(ConfigError, match=r"^no documents given"):
        by_rule(Dataset(documents=()), {"good": "length.words > 3", "bad": "length.words < 3"}, reading=Reading())


def test_attributes_of_another_version_of_the_documents_are_refused(dataset, tmp_path):
    write(tmp_path / "documents" / "b.jsonl", "other", "text")
    with pytest.raises(AlignmentError, match="its bytes have changed since"):
        by_rule(dataset, {"a": "length.words > 3", "b": "length.words < 3"}, reading=Reading())


def test_a_file_without_attributes_is_refused(dataset, tmp_path):
    write(tmp_path / "documents" / "c.jsonl", "new")
    with pytest.raises(AlignmentError, match=r"c\.jsonl"):
        by_rule(dataset, {"a": "length.words > 3", "b": "length.words < 3"}, reading=Reading())
