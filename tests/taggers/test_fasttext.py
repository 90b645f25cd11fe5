"""Models of one's own as taggers. Run: `pytest tests/taggers/test_fasttext.py`."""

from __future__ import annotations

from pathlib import Path

import fasttext
import pytest

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.data.columns import check_columns
from dolma.errors import ConfigError
from dolma.taggers.fasttext import FastText, output_name
from dolma.taggers.registry import content_of, make_tagger

GOOD, BAD = "A careful report on the vote.", "click here to buy now"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Two labels, `high-quality` and `spam`."""
    folder = tmp_path_factory.mktemp("model")
    lines = [f"__label__high-quality {GOOD}", f"__label__spam {BAD}"] * 50
    (folder / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"dim": 4, "minCount": 1, "epoch": 20, "thread": 1, "verbose": 0, "wordNgrams": 2, "bucket": 1000}
    model = fasttext.train_supervised(str(folder / "lines.txt"), lr=0.5, **options)
    model.save_model(str(folder / "quality.bin"))
    return folder / "quality.bin"


def values(tagger: FastText, *texts: str) -> dict[str, list]:
    columns = check_columns(tagger(TextBatch.of(texts)), outputs=tagger.outputs, n_docs=len(texts), tagger="fasttext")
    return {name: column.to_pylist() for name, column in columns.items()}


def test_documents_have_a_label_and_the_librarys_scores(path):
    found = values(FastText(path=path), GOOD, BAD)
    assert found["top"] == ["high-quality", "spam"]
    library = fasttext.load_model(str(path)).f
    for i, text in enumerate((GOOD, BAD)):
        expected = {label: score for score, label in library.predict(text + "\n", -1, 0.0, "strict")}
        assert found["high_quality"][i] == pytest.approx(min(1, expected["__label__high-quality"]), abs=1e-5)
        assert found["spam"][i] == pytest.approx(min(1, expected["__label__spam"]), abs=1e-5)
        assert found["top_score"][i] == max(found["high_quality"][i], found["spam"][i])


def test_newlines_are_spaces(path):
    tagger = FastText(path=path)
    assert values(tagger, BAD.replace(" ", "\n")) == values(tagger, BAD)


def test_paragraphs_have_scores_on_their_spans(path):
    text = f"{GOOD}\n\né {BAD}\n"
    found = values(FastText(path=path, level="paragraph"), text, "", "\n")
    spans = found["spam"][0]
    assert [text[span["start"] : span["end"]] for span in spans] == [f"{GOOD}\n", f"é {BAD}\n"]
    assert spans[0]["score"] < 0.5 < spans[1]["score"]
    assert found["spam"][1:] == [[], []]


def test_sentences_have_scores_on_their_spans(path):
    text = f"é! {GOOD} So {BAD}"
    found = values(FastText(path=path, level="sentence", labels=["spam"]), "", text)
    assert list(found) == ["spam"]
    assert [text[span["start"] : span["end"]] for span in found["spam"][1]] == ["é!", GOOD, f"So {BAD}"]


def test_only_the_labels_asked_for_are_outputs(path):
    assert list(FastText(path=path, labels=["spam"]).outputs) == ["top", "top_score", "spam"]


def test_lower_shows_the_model_lower_case(path):
    assert values(FastText(path=path, lower=True), BAD.upper()) == values(FastText(path=path), BAD)


def test_long_texts_are_asked_about_in_parts(path, monkeypatch):
    whole = values(FastText(path=path, level="paragraph"), f"{GOOD}\n{BAD}\n" * 3)
    monkeypatch.setattr("dolma.taggers.fasttext._SCORES_AT_ONCE", 2)
    assert values(FastText(path=path, level="paragraph"), f"{GOOD}\n{BAD}\n" * 3) == whole


def test_a_recipe_makes_it_by_name_and_knows_its_file(path):
    tagger = make_tagger(TaggerSpec(use="fasttext", name="quality", options={"path": str(path)}))
    assert tagger.name == "quality"
    assert [file.split(" ")[0] for file in content_of(tagger)["files"]] == ["quality.bin"]


def test_a_url_that_was_not_fetched_says_how_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"run `dolma fetch https://example\.org/model\.bin`"):
        FastText(path="https://example.org/model.bin")


def test_an_unknown_label_is_refused_with_the_nearest(path):
    with pytest.raises(ConfigError, match="has no label 'spa'; did you mean 'spam'"):
        FastText(path=path, labels=["spa"])


def test_an_unknown_level_is_refused(path):
    with pytest.raises(ConfigError, match="level='line'"):
        FastText(path=path, level="line")


def test_labels_that_would_be_one_output_are_refused(path):
    with pytest.raises(ConfigError, match="the label 'spam' would be the output 'spam', which there is already"):
        FastText(path=path, labels=["spam", "spam"])


@pytest.mark.parametrize(("label", "name"), [("", "label_"), ("1", "label_1"), ("é b", "__b")])
def test_labels_become_names(label, name):
    assert output_name(label) == name
