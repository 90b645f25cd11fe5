"""A trained model as a tagger, and its scores in rules. Run: pytest tests/classifier/test_as_tagger.py"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.classifier.evaluation import evaluate
from dolma.classifier.examples import line_of
from dolma.classifier.judging import answers
from dolma.cli.main import run
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.taggers.fasttext import FastText

ROOT = Path(__file__).parents[2]
WORDS = [
    "careful",
    "Click",
    "now",
    "é",
    "</s>",
    "__label__good",
    "__label__",
    "x</s>",
    " ",
    "\n",
    "\t",
    "\0",
    "\r",
    "\v",
]


@pytest.mark.property
@given(text=st.lists(st.sampled_from(WORDS)).map("".join), lower=st.booleans())
def test_the_tagger_sees_a_text_as_training_does(trained, text, lower):
    tagger = FastText(path=trained, lower=lower)
    _, _, scores = answers(tagger.classifier, ["good", "bad"], [(0, line_of(text.encode(), lower=lower))])
    columns = tagger(TextBatch.of([text]))
    assert np.allclose([columns["good"][0].as_py(), columns["bad"][0].as_py()], scores[0], atol=1e-6)


def test_labels_are_outputs_and_scores_those_that_were_judged_by(trained, good_and_bad):
    tagger = FastText(path=trained)
    assert set(tagger.outputs) == {"top", "top_score", "good", "bad"}
    right = n = 0
    for batch, classes in good_and_bad:
        right += int((np.array(tagger(batch)["top"]) == np.array(good_and_bad.labels)[classes]).sum())
        n += len(batch)
    assert right / n == evaluate(str(trained), good_and_bad).judgement.accuracy


@pytest.mark.e2e
def test_train_then_tag_and_mix(tmp_path, monkeypatch, capsys):
    """On real text: manuals against dictionary entries, then the manuals among both and among prose."""
    monkeypatch.chdir(ROOT)
    model, out = tmp_path / "manuals.bin", tmp_path / "run"
    tiny = ["--dim", "8", "--buckets", "20000", "--epochs", "25", "--learning-rate", "0.5", "--json"]
    positive, negative = (f"data/sample/{name}/documents/*" for name in ("techdocs", "reference"))
    arguments = ["--positive", positive, "--negative", negative, *tiny, "--output", str(model)]
    assert run(["classifier", "train", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)["held_out"]["labels"][0]
    assert figures["label"] == "positive"
    assert figures["auc"] > 0.9

    documents = [
        word
        for name in ("techdocs", "reference", "books")
        for word in ("--documents", f"data/sample/{name}/documents/*")
    ]
    tagger = f"tag.taggers=[{{use: fasttext, name: quality, options: {{path: {model}}}}}]"
    rule = 'mix.keep=["quality.positive >= 0.5"]'
    assert run(["run", *documents, "--output", str(out), "--workers", "1", "--set", tagger, "--set", rule]) == 0

    paths = sorted((out / "mixed" / "documents").rglob("*.jsonl.zst"))
    records = [json.loads(line) for path in paths for line in b"".join(streams.read_chunks(str(path))).splitlines()]
    sources = [record["source"] for record in records]
    assert sources.count("techdocs") > 150
    assert sources.count("reference") < 60
    assert sources.count("books") < 10
    assert all(FastText(path=model)(TextBatch.of([record["text"]]))["positive"][0].as_py() >= 0.5 for record in records)
    capsys.readouterr()
    assert run(["verify", str(out)]) == 0
