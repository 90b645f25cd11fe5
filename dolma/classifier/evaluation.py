"""`dolma classifier eval`: any fastText classifier on documents whose class is known."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from dolma.classifier.examples import Choice, line_of, side_key
from dolma.classifier.judging import Judgement, judge
from dolma.classifier.labelled import NO_CLASS, Labelled
from dolma.classifier.model_card import Settings, card_path, read_card
from dolma.data import streams
from dolma.errors import ConfigError, did_you_mean
from dolma.models.fetch import fetched_path
from dolma.printable import printable
from dolma.taggers.fasttext import classifier_at


class EvalReport(msgspec.Struct, frozen=True, kw_only=True):
    """A model on labelled documents.

    Not used were those without text (`blank`), of no class (`unlabelled`), and on the side of the split that the model
    was trained on (`trained`).
    """

    model: str
    blank: int
    unlabelled: int
    trained: int
    judgement: Judgement


def evaluate(model: str, labelled: Labelled, *, lower: bool | None = None, only_held_out: bool = False) -> EvalReport:
    """Judge the model at `model`, a path or a URL that was fetched, by labelled documents.

    `lower` None is as in training, if the model's report is there, else false. `only_held_out` leaves out texts of the
    side that the model was trained on, which follows from its report.

    Raises:
        ConfigError: there is no such model, report, or label of the model; or nothing to judge by.
    """
    classifier = classifier_at(fetched_path(model))
    known = classifier.model.labels
    for label in labelled.labels:
        if label not in known:
            raise ConfigError(f"the model {printable(model)} has no label {label!r}\n  {did_you_mean(label, known)}")
    report = None if streams.is_url(model) else read_card(model)
    if only_held_out and report is None:
        raise ConfigError(
            f"there is no {printable(card_path(model))}, which would tell what {printable(model)} was trained on\n"
            "  leave out --only-held-out, or give a model of `dolma classifier train`"
        )
    settings = report.settings if report else Settings()
    lines = _Lines(
        labelled,
        lower=settings.lower if lower is None else lower,
        choice=settings.choice() if only_held_out else None,
    )
    judgement = judge(classifier, labelled.labels, lines)
    if judgement is None:
        raise ConfigError(
            f"there is nothing to judge {printable(model)} by: no document has text and a class"
            + (", and was not trained on" if only_held_out else "")
            + "\n  give other documents"
        )
    return EvalReport(
        model=model, blank=lines.blank, unlabelled=lines.unlabelled, trained=lines.trained, judgement=judgement
    )


class _Lines:
    """Lines to judge by, each with its class; counts those that are none."""

    def __init__(self, labelled: Labelled, *, lower: bool, choice: Choice | None) -> None:
        self.labelled, self.lower, self.choice = labelled, lower, choice
        self.blank = self.unlabelled = self.trained = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for batch, classes in self.labelled:
            for i, index in enumerate(classes.tolist()):
                line = line_of(batch.encoded(i), lower=self.lower) if index != NO_CLASS else b""
                if index == NO_CLASS:
                    self.unlabelled += 1
                elif not line:
                    self.blank += 1
                elif self.choice is not None and not _is_held_out(line, self.choice):
                    self.trained += 1
                else:
                    yield index, line


def _is_held_out(line: bytes, choice: Choice) -> bool:
    return bool(choice.held_out_of(np.array([side_key(line)], dtype=np.uint64).view(np.int64))[0])
