"""Any model on labelled documents. Run: pytest tests/classifier/test_evaluation.py"""

from __future__ import annotations

import importlib.resources
import shutil
from pathlib import Path

import fasttext
import msgspec
import pytest

from dolma.classifier.evaluation import evaluate
from dolma.classifier.training import train
from dolma.errors import ConfigError


def test_held_out_documents_give_the_figures_of_training(good_and_bad, tiny, tmp_path):
    output = str(tmp_path / "all.bin")
    report = train(good_and_bad, msgspec.structs.replace(tiny, balanced=False), output=output)
    found = evaluate(output, good_and_bad, only_held_out=True)
    assert found.judgement == report.held_out
    assert found.trained == sum(row.trained for row in report.classes)


def test_all_documents_are_judged_unless_told_otherwise(trained, good_and_bad):
    found = evaluate(str(trained), good_and_bad)
    assert (found.judgement.documents, found.trained) == (100, 0)
    assert found.judgement.accuracy == 1.0


def test_a_text_trained_on_is_known_under_another_id_and_in_other_case(trained, of_texts, good_and_bad):
    texts = [text for batch, _ in good_and_bad for text in batch.texts()]
    known = evaluate(str(trained), of_texts({"good": texts, "bad": texts}), only_held_out=True)
    other = evaluate(
        str(trained), of_texts({"good": [f"\t{t.upper()}\n" for t in texts], "bad": texts}), only_held_out=True
    )
    assert known.trained == other.trained > 0


def test_blank_and_unlabelled_documents_are_left_out(trained, of_texts):
    found = evaluate(str(trained), of_texts({"good": ["careful report", "\n"], "bad": ["click"]}, unlabelled=["x"]))
    assert (found.blank, found.unlabelled, found.judgement.documents) == (1, 1, 2)


def test_labels_may_be_some_and_in_any_order(trained, of_texts):
    found = evaluate(str(trained), of_texts({"bad": ["click buy now", "careful report"]})).judgement
    (row,) = found.labels
    assert (row.label, row.documents, row.given, row.recall, row.auc, found.other) == ("bad", 2, 1, 0.5, None, 1)


def test_lower_is_as_in_training_unless_told(of_texts, tiny, tmp_path):
    output = str(tmp_path / "lower.bin")
    texts = {"good": [f"good {i}" for i in range(30)], "bad": [f"bad {i}" for i in range(30)]}
    train(of_texts(texts), msgspec.structs.replace(tiny, lower=True), output=output)
    capitals = of_texts({name: [text.upper() for text in some] for name, some in texts.items()})
    assert evaluate(output, capitals).judgement.accuracy == 1.0
    assert evaluate(output, capitals, lower=False).judgement.accuracy < 0.7


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """`a.bin` and `a.ftz` of the library alone, without a report."""
    folder = tmp_path_factory.mktemp("others")
    lines = folder / "lines"
    lines.write_text("".join(f"__label__{'ab'[i % 2]} {('left', 'right')[i % 2]} {i}\n" for i in range(400)))
    model = fasttext.train_supervised(str(lines), dim=4, epoch=5, lr=0.5, thread=1, verbose=0)
    model.save_model(str(folder / "a.bin"))
    model.quantize(str(lines), retrain=False, thread=1, verbose=0)
    model.save_model(str(folder / "a.ftz"))
    return folder


@pytest.mark.parametrize("name", ["a.bin", "a.ftz"])
def test_models_of_others(others, of_texts, name):
    found = evaluate(str(others / name), of_texts({"a": ["left"], "b": ["right", "right 1"]}))
    assert found.judgement.accuracy == 1.0


def test_a_model_of_176_labels(of_texts):
    with importlib.resources.as_file(importlib.resources.files("dolma.taggers") / "models/lid.176.ftz") as path:
        texts = {"en": ["This is English text.", "And so is this."], "cy": ["Mae hyn yn Gymraeg.", "Das ist es nicht."]}
        found = evaluate(str(path), of_texts(texts)).judgement
    assert [(row.label, row.documents, row.given, row.right) for row in found.labels] == [
        ("en", 2, 2, 2),
        ("cy", 2, 1, 1),
    ]
    assert found.other == 1


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_unknown_label_suggests_the_nearest(trained, of_texts):
    with pytest.raises(ConfigError, match="has no label 'goood'\n  did you mean 'good'"):
        evaluate(str(trained), of_texts({"goood": ["x"], "bad": ["y"]}))


def test_no_model(tmp_path, good_and_bad):
    with pytest.raises(ConfigError, match="no such file: "):
        evaluate(str(tmp_path / "none.bin"), good_and_bad)


def test_held_out_documents_need_a_report(others, of_texts):
    with pytest.raises(
        ConfigError, match=r"there is no .*a\.bin\.json, which would tell .*\n  leave out --only-held-out"
    ):
        evaluate(str(others / "a.bin"), of_texts({"a": ["left"], "b": ["right"]}), only_held_out=True)


def test_a_report_of_another_model(trained, tmp_path, of_texts, others):
    shutil.copyfile(others / "a.bin", tmp_path / "a.bin")
    shutil.copyfile(f"{trained}.json", tmp_path / "a.bin.json")
    with pytest.raises(ConfigError, match="it is about a model with the checksum"):
        evaluate(str(tmp_path / "a.bin"), of_texts({"a": ["left"], "b": ["right"]}))


def test_nothing_to_judge_by(trained, of_texts):
    with pytest.raises(ConfigError, match="no document has text and a class\n  give other documents"):
        evaluate(str(trained), of_texts({"good": [""], "bad": []}))


def test_a_url_that_was_not_fetched(monkeypatch, tmp_path, good_and_bad):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"run `dolma fetch https://example\.org/model\.bin`"):
        evaluate("https://example.org/model.bin", good_and_bad)
