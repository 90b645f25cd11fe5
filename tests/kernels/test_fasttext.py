"""Our answers, the twin's and the fastText library's are the same. Run: `pytest tests/kernels/test_fasttext.py`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.fasttext import NEGATIVE, ONE_VS_ALL, Cache, Classifier, fnv, label_tree
from dolma.kernels.reference import fasttext as reference
from dolma.models.fasttext import read_model

VOCABULARY = (
    "the",
    "a",
    "of",
    "report",
    "vote",
    "court",
    "Tuesday",
    "année",
    "être",
    "déjà",
    "vu",
    "Straße",
    "größer",
    "für",
    "съешь",
    "ещё",
    "булок",
    "投票",
    "委員会",
    "を",
    "نعم",
    "مرحبا",
    "👩\u200d👩\u200d👧",
    "x",
    "yz",
    "12",
    "3.5",
    "--",
    "naïve",
    "cooperation",
    "internationalisation",
)
MODELS = {
    "softmax": {"loss": "softmax"},
    "softmax, characters": {"loss": "softmax", "minn": 2, "maxn": 4, "bucket": 1000},
    "hs": {"loss": "hs", "labels": 9},
    "hs, characters, bigrams": {"loss": "hs", "minn": 1, "maxn": 3, "wordNgrams": 2, "bucket": 1000, "labels": 5},
    "ns, trigrams": {"loss": "ns", "wordNgrams": 3, "bucket": 2000},
    "ova, bigrams": {"loss": "ova", "wordNgrams": 2, "bucket": 1000},
    "one label": {"loss": "softmax", "labels": 1},
    "hs, one label": {"loss": "hs", "labels": 1},
    "quantised": {"loss": "softmax", "minn": 2, "maxn": 3, "bucket": 1000, "quantise": {"dsub": 2}},
    "quantised, odd width": {"loss": "ova", "wordNgrams": 2, "bucket": 500, "dim": 7, "quantise": {"dsub": 2}},
    "quantised, norms": {"loss": "hs", "wordNgrams": 2, "bucket": 500, "quantise": {"dsub": 4, "qnorm": True}},
    "pruned": {"loss": "softmax", "minn": 2, "maxn": 4, "wordNgrams": 2, "bucket": 900, "quantise": {"cutoff": 300}},
    "pruned, norms": {"loss": "hs", "minn": 3, "maxn": 3, "bucket": 900, "quantise": {"cutoff": 280, "qnorm": True}},
    "quantised outputs": {"loss": "softmax", "wordNgrams": 2, "bucket": 500, "labels": 300, "quantise": {"qout": True}},
    "quantised outputs, norms": {
        "loss": "hs",
        "wordNgrams": 3,
        "bucket": 500,
        "labels": 300,
        "quantise": {"qout": True, "qnorm": True},
    },
}

texts = st.lists(
    st.one_of(
        st.sampled_from([*VOCABULARY, "</s>", "__label__0", "__label__none", "__label__", "<", "\n", "\r\x0b"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ),
    max_size=30,
).map(" ".join)


class Pair(NamedTuple):
    library: Any
    ours: Classifier


def train(folder: Path, *, labels: int = 3, quantise: dict[str, Any] | None = None, **options: Any) -> Path:
    """A model of the library on made-up lines; label `i` is seen more often than label `i + 1`."""
    draw = random.Random(labels)
    lines = [
        f"__label__{label}{'é' * (label % 2)} " + " ".join(draw.choices(VOCABULARY[label % 7 :], k=draw.randint(1, 12)))
        for label in range(labels)
        for _ in range(2 + (labels - label) * (200 // labels) // labels)
    ]
    draw.shuffle(lines)
    source = folder / "lines.txt"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"dim": 8, "epoch": 20, "lr": 0.3, "minCount": 1, "thread": 1, "verbose": 0, "seed": 1} | options
    model = fasttext.train_supervised(str(source), **options)
    path = folder / ("model.bin" if quantise is None else "model.ftz")
    if quantise is not None:
        model.quantize(str(source), **quantise)
    model.save_model(str(path))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> dict[str, Pair]:
    paths = {name: train(tmp_path_factory.mktemp("model"), **options) for name, options in MODELS.items()}
    return {name: Pair(fasttext.load_model(str(path)), Classifier(read_model(path))) for name, path in paths.items()}


def ours(classifier: Classifier, *documents: str) -> np.ndarray:
    batch = TextBatch.of(documents)
    return classifier.probabilities(batch.utf8, batch.offsets[:-1], batch.offsets[1:])


def theirs(pair: Pair, text: str) -> list[float]:
    """The library's probabilities. It stops at "</s>" and LF, which for ours are nothing and a space."""
    line = " ".join(word for word in text.replace("\n", " ").split(" ") if word not in ("", "</s>"))
    found = {label.removeprefix("__label__"): p for p, label in pair.library.f.predict(line + "\n", -1, 0.0, "strict")}
    return [found.get(label, 0.0) for label in pair.ours.model.labels]


def is_at_a_step(pair: Pair, text: str) -> np.ndarray:
    """Labels whose logistic function lies so near the edge of a step that rounding decides."""
    logits = np.array(reference.logits_of(pair.ours.model, text) or np.zeros(len(pair.ours.model.labels)))
    steps = (logits + 8) * 32
    return (np.abs(steps - np.rint(steps)) < 1e-3) & (pair.ours.model.loss in (NEGATIVE, ONE_VS_ALL))


@pytest.mark.property
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40, deadline=None)
@given(text=texts)
def test_probabilities_are_the_librarys_to_1e_5(pairs, name, text):
    pair = pairs[name]
    found, expected = ours(pair.ours, text)[0], np.array(theirs(pair, text))
    close = np.isclose(found, expected, atol=1e-5, rtol=0) | is_at_a_step(pair, text)
    # A branch of the tree ends where the probability falls below 1e-5.
    assert (close | ((found == 0) & (expected < 1.1e-5)) | ((expected == 0) & (found < 1.1e-5))).all()


@pytest.mark.property
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(text=texts)
def test_the_first_label_is_the_librarys(pairs, name, text):
    pair = pairs[name]
    found, expected = ours(pair.ours, text)[0], np.array(theirs(pair, text))
    tied = expected >= expected.max() - 1e-5
    assert tied[found.argmax()] or is_at_a_step(pair, text).any()


@pytest.mark.property
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=20, deadline=None)
@given(text=texts)
def test_probabilities_are_the_twins(pairs, name, text):
    pair = pairs[name]
    expected = np.array(reference.probabilities(pair.ours.model, text))
    close = np.isclose(ours(pair.ours, text)[0], expected, atol=2e-6, rtol=0) | is_at_a_step(pair, text)
    assert (close | (expected < 1.1e-5)).all()


@pytest.mark.parametrize("name", MODELS)
def test_some_labels_have_the_scores_that_they_have_among_all(pairs, name):
    classifier = pairs[name].ours
    batch = TextBatch.of(["", "the vote", "投票 x"])
    everything = classifier.probabilities(batch.utf8, batch.offsets[:-1], batch.offsets[1:])
    for chosen in ([0], [len(classifier.model.labels) - 1, 0], []):
        found = classifier.probabilities(batch.utf8, batch.offsets[:-1], batch.offsets[1:], labels=chosen)
        assert (found == everything[:, chosen]).all()


@pytest.mark.property
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(documents=st.lists(texts, max_size=4), chosen=st.sets(st.integers(0, 8)))
def test_the_best_label_is_the_first_of_the_most_probable(pairs, name, documents, chosen):
    classifier = pairs[name].ours
    labels = sorted(label for label in chosen if label < len(classifier.model.labels))
    everything = np.minimum(ours(classifier, *documents), 1)
    batch = TextBatch.of(documents)
    best, top, found = classifier.best(batch.utf8, batch.offsets[:-1], batch.offsets[1:], labels=labels)
    assert best.tolist() == everything.argmax(axis=1).tolist()
    assert top.tolist() == everything.max(axis=1).tolist()
    assert (found == everything[:, labels]).all()


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(documents=st.lists(texts, max_size=5))
def test_a_text_has_the_same_answer_in_any_batch(pairs, documents):
    classifier = pairs["hs, characters, bigrams"].ours
    together = ours(classifier, *documents)
    alone = [ours(Classifier(classifier.model), text)[0] for text in documents]
    assert together.tolist() == [row.tolist() for row in alone]


@pytest.mark.parametrize("cache", [Cache.of(1, 10**4), Cache.of(1 << 10, 64), Cache.of(1, 64)])
def test_a_small_cache_leaves_the_answers_as_they_are(pairs, cache):
    model = pairs["hs, characters, bigrams"].ours.model
    small = Classifier(model)
    object.__setattr__(small, "_cache", cache)
    text = " ".join(VOCABULARY * 3)
    assert (ours(small, text) == ours(Classifier(model), text)).all()


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "\0" * 100_000, "é" * 300_000, "a b " * 250_000, "__label__0 " * 9999]
)
def test_a_long_text_has_the_librarys_answer(pairs, text):
    pair = pairs["softmax, characters"]
    assert np.allclose(ours(pair.ours, text)[0], theirs(pair, text), atol=1e-3)


@pytest.mark.parametrize("n", [*range(18, 25), *range(60, 68), *range(82, 90), 255])
def test_a_word_with_as_many_rows_as_the_cache_has_signs_for(pairs, n):
    pair = pairs["softmax, characters"]
    assert np.allclose(ours(pair.ours, "b" * n)[0], theirs(pair, "b" * n), atol=1e-5)
    assert np.allclose(ours(pair.ours, "b" * n)[0], theirs(pair, "b" * n), atol=1e-5)


def test_spans_are_texts(pairs):
    pair = pairs["softmax, characters"]
    text = np.frombuffer(b"xx the vote xx", np.uint8)
    found = pair.ours.probabilities(text, np.array([3, 3]), np.array([11, 11]))
    assert (found == ours(pair.ours, "the vote")).all()


def test_a_span_outside_the_text_is_refused(pairs):
    with pytest.raises(ValueError, match="spans must lie in the 2 bytes"):
        pairs["softmax"].ours.probabilities(np.frombuffer(b"ab", np.uint8), np.array([0]), np.array([3]))


def test_a_text_in_which_nothing_is_known_has_no_probabilities(tmp_path):
    source = tmp_path / "lines.txt"
    # Without a newline at its end, and with "</s>" once, the file does not teach the end of a line.
    source.write_text("__label__0 a a\n__label__1 b b", encoding="utf-8")
    model = fasttext.train_supervised(str(source), dim=2, minCount=2, thread=1, verbose=0)
    model.save_model(str(tmp_path / "model.bin"))
    classifier = Classifier(read_model(tmp_path / "model.bin"))
    assert "</s>" not in model.words
    assert ours(classifier, "c")[0].tolist() == theirs(Pair(model, classifier), "c") == [0.0, 0.0]


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(word=st.binary(max_size=40))
def test_the_hash_is_the_twins(word):
    assert fnv(word) == reference.fnv(word)


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 99), min_size=1, max_size=30).map(lambda counts: sorted(counts, reverse=True)))
def test_the_tree_reaches_every_label_once(counts):
    children = label_tree(np.array(counts))
    assert sorted(children.ravel().tolist()) == list(range(2 * len(counts) - 2))
