"""How good a classifier is on documents whose class is known: precision, recall, F1, AUC, and by threshold.

The label of a document is the one with the highest score. Precision of a label is the share of right ones among the
documents that got it, recall the share of its documents that got it, F1 their harmonic mean; null where that is a share
of nothing. AUC is the probability that a document of the label has a higher score for it than one of another label,
ties counting half (the Mann-Whitney statistic). The readable twin is in `tests/classifier/test_judging.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.classifier.labelled import Classes
from dolma.data.batch import offsets_of
from dolma.kernels.fasttext import Classifier
from dolma.taggers.fasttext import Scores, scores_of

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
OTHER = -1
_AT_ONCE = 1024


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One label: how many documents are of it, got it, and both (`right`); shares from 0 to 1, or None."""

    label: str
    documents: int
    given: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None


class ThresholdRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule `score >= threshold` on a label's score would keep: shares from 0 to 1, or None.

    `kept` is of all documents, `precision` of those kept, `recall` of the label's own.
    """

    label: str
    threshold: float
    kept: float
    precision: float | None
    recall: float | None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A classifier on some documents. `accuracy` is the share that got their own label.

    `other` documents got a label that none of them is of, or none, as the model knows nothing of their text.
    """

    documents: int
    accuracy: float
    other: int
    labels: list[LabelRow]
    thresholds: list[ThresholdRow]


def judge(classifier: Classifier, labels: Sequence[str], lines: Iterable[tuple[int, bytes]]) -> Judgement | None:
    """The classifier's answers for these lines, each with the index of its label in `labels`; None if there is none.

    `labels` are some of the model's; memory is 8 bytes per line for each, and 16.
    """
    classes, given, scores = answers(classifier, labels, lines)
    return judgement_of(labels, classes, given, scores) if len(classes) else None


def answers(
    classifier: Classifier, labels: Sequence[str], lines: Iterable[tuple[int, bytes]]
) -> tuple[Classes, Classes, Scores]:
    """The class of each line, the one that it got (or `OTHER`), and its score for each of `labels`.

    int64, int64, and float64 of shape `(n_lines, n_labels)`.
    """
    columns = [classifier.model.labels.index(label) for label in labels]
    index_of = np.full(len(classifier.model.labels), OTHER)
    index_of[columns] = np.arange(len(columns))
    classes, given = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    scores = [np.empty((0, len(labels)))]
    rows = iter(lines)
    while some := list(islice(rows, _AT_ONCE)):
        offsets = offsets_of([line for _, line in some])
        text = np.frombuffer(b"".join(line for _, line in some), dtype=np.uint8)
        found = scores_of(classifier, text, offsets[:-1], offsets[1:])
        classes.append(np.array([index for index, _ in some]))
        given.append(np.where(found.max(axis=1) > 0, index_of[found.argmax(axis=1)], OTHER))
        scores.append(found[:, columns])
    return np.concatenate(classes), np.concatenate(given), np.concatenate(scores)


def judgement_of(labels: Sequence[str], classes: Classes, given: Classes, scores: Scores) -> Judgement:
    """What `answers` come to; there is at least one."""
    return Judgement(
        documents=len(classes),
        accuracy=float((given == classes).mean()),
        other=int((given == OTHER).sum()),
        labels=[_row(label, classes == k, given == k, scores[:, k]) for k, label in enumerate(labels)],
        thresholds=[row for k, label in enumerate(labels) for row in threshold_rows(label, classes == k, scores[:, k])],
    )


def threshold_rows(label: str, own: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> list[ThresholdRow]:
    """A row for each of `THRESHOLDS`; `own` says which documents are of the label, `scores` are theirs for it.

    >>> rows = threshold_rows("good", np.array([True, False]), np.array([0.8, 0.4]))
    >>> [(row.threshold, row.kept, row.precision) for row in rows if row.threshold in (0.3, 0.5, 0.9)]
    [(0.3, 1.0, 0.5), (0.5, 0.5, 1.0), (0.9, 0.0, None)]
    """
    rows = []
    for threshold in THRESHOLDS:
        kept = scores >= threshold
        right = int((kept & own).sum())
        rows.append(
            ThresholdRow(
                label=label,
                threshold=threshold,
                kept=float(kept.mean()),
                precision=_share(right, int(kept.sum())),
                recall=_share(right, int(own.sum())),
            )
        )
    return rows


def auc_of(own: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float | None:
    """The area under the curve of true by false positives; None if all documents are on one side.

    >>> auc_of(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]))
    0.75
    """
    n_own, n_other = int(own.sum()), int((~own).sum())
    if not n_own or not n_other:
        return None
    others = np.sort(scores[~own])
    below = np.searchsorted(others, scores[own], side="left")
    not_above = np.searchsorted(others, scores[own], side="right")
    return float((below + not_above).sum() / (2 * n_own * n_other))


def _row(
    label: str, own: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]
) -> LabelRow:
    right, n_own, n_given = int((own & given).sum()), int(own.sum()), int(given.sum())
    return LabelRow(
        label=label,
        documents=n_own,
        given=n_given,
        right=right,
        precision=_share(right, n_given),
        recall=_share(right, n_own),
        f1=_share(2 * right, n_own + n_given),
        auc=auc_of(own, scores),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
