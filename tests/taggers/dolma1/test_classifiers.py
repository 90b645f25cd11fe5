"""Models are asked as 1.2.1 asks them. Run: `pytest tests/taggers/dolma1/test_classifiers.py`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.dolma1.classifiers import (
    DclmOhEli5,
    Dolma17Quality,
    JigsawHatespeechDocumentV2,
    JigsawHatespeechSentenceV2,
    JigsawNsfwDocumentV1,
    JigsawNsfwSentenceV2,
)
from dolma.taggers.registry import find, make_tagger
from dolma.taggers.tagger import needs_of

NAMES = (
    "jigsaw_hatespeech_document_v2",
    "jigsaw_hatespeech_sentence_v2",
    "jigsaw_nsfw_document_v1",
    "jigsaw_nsfw_sencence_v2",
    "dclm-oh-eli5",
    "dolma17-quality",
)
texts = st.lists(
    st.one_of(
        st.sampled_from(["why", "how", "buy", "now", "\n", "\x1c", "\u2028", "\u3000", "\x85", "\xa0"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=12,
).map(" ".join)


def train(folder: Path, *labels: str) -> Path:
    lines = [f"__label__{label} {' '.join(['why how', 'buy now', 'a b c'][i % 3 :])}" for i, label in enumerate(labels)]
    (folder / "lines.txt").write_text("\n".join(lines * 20) + "\n", encoding="utf-8")
    options = {"dim": 4, "minCount": 1, "epoch": 30, "thread": 1, "verbose": 0, "wordNgrams": 2, "bucket": 1000}
    fasttext.train_supervised(str(folder / "lines.txt"), lr=0.5, **options).save_model(str(folder / "model.bin"))
    return folder / "model.bin"


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("two"), "nsfw", "non_nsfw")


@pytest.fixture(scope="module")
def dclm(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("dclm"), "hq", "cc")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("sources"), "wiki", "books", "cc")


def values(tagger: Any, *documents: str) -> dict[str, list]:
    batch = TextBatch.of(documents)
    columns = check_columns(tagger(batch), outputs=tagger.outputs, n_docs=len(documents), tagger=tagger.name)
    return {name: column.to_pylist() for name, column in columns.items()}


@functools.cache
def _library(path: Path) -> Any:
    return fasttext.load_model(str(path)).f


def library(path: Path, line: str) -> dict[str, float]:
    return {label: score for score, label in _library(path).predict(line + "\n", -1, 0.0, "strict")}


@pytest.mark.parametrize("tagger", [JigsawHatespeechDocumentV2, JigsawNsfwDocumentV1])
@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(text=texts)
def test_jigsaw_gives_documents_both_labels(two, tagger, text):
    expected = library(two, text.replace("\n", " ").strip())
    found = values(tagger(path=two), text)
    assert set(found) == set(expected) == {"__label__nsfw", "__label__non_nsfw"}
    assert all(found[label] == pytest.approx([score], abs=1e-5) for label, score in expected.items())


@pytest.mark.parametrize("tagger", [JigsawHatespeechSentenceV2, JigsawNsfwSentenceV2])
def test_jigsaw_gives_sentences_both_labels(two, tagger):
    text = "Why? How so? Buy now!"
    found = values(tagger(path=two), "", text)
    assert found["__label__nsfw"][0] == []
    for label, lists in found.items():
        assert [text[span["start"] : span["end"]] for span in lists[1]] == ["Why?", "How so?", "Buy now!"]
        scores = [library(two, sentence)[label] for sentence in ("Why?", "How so?", "Buy now!")]
        assert [span["score"] for span in lists[1]] == pytest.approx(scores, abs=1e-5)


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(text=texts)
def test_dclm_scores_high_quality(dclm, text):
    expected = library(dclm, " ".join(text.strip().splitlines()))
    label = max(expected, key=lambda label: expected[label])
    score = 1 - expected[label] if label == "__label__cc" else expected[label]
    assert values(DclmOhEli5(path=dclm), text)["score"] == pytest.approx([score], abs=1e-5)


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(text=texts)
def test_dolma17_gives_every_label_to_texts_with_words(sources, text):
    found = values(Dolma17Quality(path=sources), text)
    separators = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
    words = "".join(" " if character in separators else character for character in text).split(" ")
    line = " ".join(word for word in words if word)
    expected = library(sources, line) if line else dict.fromkeys(["__label__wiki", "__label__books", "__label__cc"])
    for label, score in expected.items():
        assert found[label.removeprefix("__label__")] == ([None] if score is None else pytest.approx([score], abs=1e-5))


@pytest.mark.parametrize("text", ["", "\n", " \u3000\n"])
def test_text_without_words_ends_no_run(sources, text):
    """1.2.1: `ValueError`, and the run ends."""
    assert values(Dolma17Quality(path=sources), text) == {"wiki": [None], "books": [None], "cc": [None]}


@pytest.mark.parametrize("name", NAMES)
def test_the_published_model_is_not_downloaded_by_itself(name, monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    (need,) = needs_of(find(name))
    assert need.kind == "model"
    with pytest.raises(ConfigError, match=r"has not been fetched\n  run `dolma fetch https://"):
        make_tagger(TaggerSpec(use=name))


def test_a_recipe_gives_a_path(dclm):
    tagger = make_tagger(TaggerSpec(use="dclm-oh-eli5", options={"path": str(dclm)}))
    assert (tagger.name, tagger.files, needs_of(tagger)) == ("dclm_oh_eli5", (str(dclm),), ())


def test_a_model_with_other_labels_is_refused(two, sources):
    with pytest.raises(ConfigError, match="has the labels nsfw, non_nsfw; expected hq, cc"):
        DclmOhEli5(path=two)
    with pytest.raises(ConfigError, match="has 3 labels, expected 2"):
        JigsawNsfwDocumentV1(path=sources)
