"""Documents with a class each: by where they come from, or by a rule over their attributes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dolma.config import MixConfig
from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Piece, Shard
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.named_fields import check_named_fields
from dolma.errors import ConfigError
from dolma.mixers.join import JoinedRows
from dolma.mixers.subject import Subject, identified_subject, subject_of
from dolma.printable import printable
from dolma.runner.inputs import Inputs

Classes = npt.NDArray[np.int64]
NO_CLASS = -1


class Labelled(Protocol):
    """Documents that can be gone through any number of times, each time in the same order."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[tuple[TextBatch, Classes]]:
        """Batches, and for each document the index of its label, or `NO_CLASS`; int64, shape `(n_docs,)`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BySource:
    """All documents of some files are of one class. `shards` has the files of each label."""

    labels: tuple[str, ...]
    shards: tuple[tuple[Shard, ...], ...]
    reading: Reading

    def __iter__(self) -> Iterator[tuple[TextBatch, Classes]]:
        for index, shards in enumerate(self.shards):
            for shard in shards:
                for batch in read_batches(shard, self.reading, intake=Intake()):
                    yield batch, np.full(len(batch), index, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByRule:
    """A document is of the class whose rule holds first; of none if none does."""

    labels: tuple[str, ...]
    subject: Subject
    reading: Reading

    def __iter__(self) -> Iterator[tuple[TextBatch, Classes]]:
        rules = self.subject.judge.rules
        for shard in self.subject.shards:
            with JoinedRows(Piece(shard=shard), self.subject.files[shard.name]) as rows:
                for batch in read_batches(shard, self.reading, intake=Intake(), records=bool(rules.fields)):
                    holds = rules.holds(batch, rules.with_own(batch, rows.take(batch)))
                    yield batch, np.where(holds.any(axis=0), holds.argmax(axis=0), NO_CLASS)
                rows.finish()


def by_source(datasets: Mapping[str, Dataset], *, reading: Reading) -> BySource:
    """Documents labelled by file: `datasets` has those of each label.

    Raises:
        ConfigError: a pattern matches no files, or a file is of two classes.
    """
    shards = {label: tuple(dataset.shards()) for label, dataset in datasets.items()}
    for dataset in datasets.values():
        check_named_fields(dataset, reading)
    taken: dict[str, str] = {}
    for label, own in shards.items():
        for shard in own:
            other = taken.setdefault(shard.path if streams.is_url(shard.path) else os.path.realpath(shard.path), label)
            if other != label:
                raise ConfigError(
                    f"{printable(shard.path)} is of two classes, {other!r} and {label!r}, expected one for each file\n"
                    "  narrow the pattern of either, or label documents by --rule"
                )
    return BySource(labels=tuple(shards), shards=tuple(shards.values()), reading=reading)


def by_rule(dataset: Dataset, rules: Mapping[str, str], *, reading: Reading) -> ByRule:
    """Documents labelled by the rules of `mix`: SQL over attributes; one that is NULL does not hold.

    Raises:
        ConfigError: a rule is none over attributes that exist; says of which class.
        AlignmentError: a file of documents has no attributes that a rule reads, or those of another version of it.
    """
    check_named_fields(dataset, reading)
    labels = tuple(rules)
    config = MixConfig(keep=list(rules.values()), missing="drop", allow_duplicate_inputs=True)
    try:
        subject = subject_of(dataset, config, reading)
    except ConfigError as error:  # its path is a key of a recipe, which there is none of
        of = [label for i, label in enumerate(labels) if error.path == f"$.mix.keep[{i}]"]
        raise ConfigError(error.message, path=f"--rule {of[0]}" if of else "") from error
    identified = identified_subject(subject, Inputs(""))  # refuses attributes of other documents
    return ByRule(labels=labels, subject=identified, reading=reading)
