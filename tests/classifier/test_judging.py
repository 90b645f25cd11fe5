"""Precision, recall, F1, AUC and thresholds. Run: pytest tests/classifier/test_judging.py"""

from __future__ import annotations

import math

import fasttext
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.classifier.judging import OTHER, THRESHOLDS, Judgement, answers, auc_of, judge, judgement_of, threshold_rows
from dolma.kernels.fasttext import Classifier
from dolma.models.fasttext import read_model


def judged(classes, given, scores, labels=("good", "bad")) -> Judgement:
    return judgement_of(labels, np.array(classes), np.array(given), np.array(scores, dtype=float))


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_figures_computed_by_hand():
    """Four good (three found), two bad (one found): precision 3/4 and 1/2, recall 3/4 and 1/2."""
    good = [0.9, 0.8, 0.6, 0.3, 0.7, 0.2]
    found = judged([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1], [[score, 1 - score] for score in good])
    assert (found.documents, found.other, found.accuracy) == (6, 0, pytest.approx(4 / 6))
    first, second = found.labels
    assert (first.label, first.documents, first.given, first.right) == ("good", 4, 4, 3)
    assert (first.precision, first.recall, first.f1) == (0.75, 0.75, 0.75)
    assert (second.documents, second.given, second.right) == (2, 2, 1)
    assert (second.precision, second.recall, second.f1) == (0.5, 0.5, 0.5)
    # Of 4 x 2 pairs, a good one has the higher score in 2 + 2 + 1 + 1.
    assert first.auc == second.auc == pytest.approx(6 / 8)


def test_shares_of_nothing_are_none():
    only = judged([0, 0], [0, 0], [[0.9, 0.1], [0.8, 0.2]]).labels
    assert (only[0].precision, only[0].recall, only[0].auc) == (1.0, 1.0, None)
    assert (only[1].precision, only[1].recall, only[1].f1, only[1].auc) == (None, None, None, None)
    assert judged([0, 1], [1, 1], [[0, 1], [0, 1]]).labels[0].precision is None


def test_ties_count_half():
    assert auc_of(np.array([True, False]), np.array([0.5, 0.5])) == 0.5


def test_other_labels_are_wrong_answers():
    found = judged([0, 0, 1], [0, OTHER, OTHER], [[0.5, 0.1], [0.2, 0.1], [0.0, 0.0]])
    assert (found.other, found.accuracy) == (2, pytest.approx(1 / 3))
    assert (found.labels[0].given, found.labels[1].given, found.labels[0].recall) == (1, 0, 0.5)


def test_a_score_at_the_threshold_is_kept():
    rows = threshold_rows("good", np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1]))
    assert [row.threshold for row in rows] == list(THRESHOLDS)
    at = {row.threshold: (row.kept, row.precision, row.recall) for row in rows}
    assert at[0.1] == (1.0, 0.5, 1.0)
    assert at[0.5] == (0.75, pytest.approx(2 / 3), 1.0)
    assert at[0.6] == (0.25, 1.0, 0.5)
    assert at[0.99] == (0.0, None, 0.0)


# --- a readable twin -------------------------------------------------------------------------------------------------


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def twin(classes: list[int], given: list[int], scores: list[list[float]], k: int) -> tuple:
    """Precision, recall, F1 and AUC of label `k`, by counting."""
    pairs = list(zip(classes, given, strict=True))
    right = sum(own == got == k for own, got in pairs)
    precision, recall = share(right, given.count(k)), share(right, classes.count(k))
    if precision is None and recall is None:
        f1 = None
    else:
        both = (precision or 0) + (recall or 0)
        f1 = 2 * (precision or 0) * (recall or 0) / both if both else 0.0
    own = [row[k] for row, c in zip(scores, classes, strict=True) if c == k]
    others = [row[k] for row, c in zip(scores, classes, strict=True) if c != k]
    wins = sum((a > b) + (a == b) / 2 for a in own for b in others)
    return precision, recall, f1, wins / (len(own) * len(others)) if own and others else None


def close(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, abs_tol=1e-12)


score = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
document = st.tuples(st.integers(0, 2), st.integers(-1, 2), st.tuples(score, score, score))


@pytest.mark.property
@given(st.lists(document, min_size=1, max_size=30))
def test_figures_are_those_of_the_twin(documents):
    classes, given, scores = (list(column) for column in zip(*documents, strict=True))
    found = judged(classes, given, scores, labels=("a", "b", "c"))
    for k, row in enumerate(found.labels):
        assert all(map(close, (row.precision, row.recall, row.f1, row.auc), twin(classes, given, scores, k)))
    for row in found.thresholds:
        k = "abc".index(row.label)
        kept = [c for c, values in zip(classes, scores, strict=True) if values[k] >= row.threshold]
        assert close(row.kept, len(kept) / len(classes))
        assert close(row.precision, share(kept.count(k), len(kept)))
        assert close(row.recall, share(kept.count(k), classes.count(k)))


# --- a model ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(trained) -> Classifier:
    return Classifier(read_model(trained))


def test_answers_are_in_the_order_of_the_labels_asked_for(classifier):
    lines = [(0, b"click buy now"), (1, b"careful report evidence")]
    classes, given, scores = answers(classifier, ["bad", "good"], lines)
    assert (classes.tolist(), given.tolist()) == ([0, 1], [0, 1])
    assert scores[0, 0] > 0.5 < scores[1, 1]
    _, alone, column = answers(classifier, ["good"], lines)
    assert alone.tolist() == [OTHER, 0]
    assert column[:, 0].tolist() == scores[:, 1].tolist()


def test_many_lines_are_asked_about_in_parts(classifier, monkeypatch):
    lines = [(i % 2, f"careful click {i}".encode()) for i in range(10)]
    whole = judge(classifier, ["good", "bad"], lines)
    monkeypatch.setattr("dolma.classifier.judging._AT_ONCE", 3)
    assert judge(classifier, ["good", "bad"], iter(lines)) == whole


def test_nothing_to_judge_by(classifier):
    assert judge(classifier, ["good", "bad"], []) is None


def test_a_text_that_the_model_knows_nothing_of_got_no_label(tmp_path):
    """Not even the end of a line, which two lines are too few for."""
    (tmp_path / "lines").write_text("__label__a word word word\n__label__b other other other\n")
    options = {"dim": 2, "epoch": 1, "minCount": 3, "thread": 1, "verbose": 0}
    fasttext.train_supervised(str(tmp_path / "lines"), **options).save_model(str(tmp_path / "a.bin"))
    few = Classifier(read_model(tmp_path / "a.bin"))
    found = judge(few, ["a", "b"], [(0, b"unknown"), (1, b"other")])
    assert found is not None
    assert (found.other, found.labels[0].given + found.labels[1].given) == (1, 1)
