"""Labelled documents in memory, and a model of a second's training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dolma.classifier.labelled import Classes
from dolma.classifier.model_card import Settings
from dolma.classifier.training import train
from dolma.data.batch import TextBatch

TINY = Settings(dim=4, buckets=500, epochs=30, learning_rate=0.5, held_out=0.3)
GOOD, BAD = "careful report evidence vote senate", "click buy now cheap offer"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Documents in memory: batches of (class, text)."""

    labels: tuple[str, ...]
    batches: tuple[tuple[tuple[int, str], ...], ...]

    def __iter__(self) -> Iterator[tuple[TextBatch, Classes]]:
        for batch in self.batches:
            yield TextBatch.of(text for _, text in batch), np.array([index for index, _ in batch], dtype=np.int64)


def labelled_texts(texts: Mapping[str, Iterable[str]], *, unlabelled: Sequence[str] = (), batch: int = 7) -> Texts:
    rows = [(k, text) for k, some in enumerate(texts.values()) for text in some]
    rows += [(-1, text) for text in unlabelled]
    parts = tuple(tuple(rows[i : i + batch]) for i in range(0, len(rows), batch))
    return Texts(labels=tuple(texts), batches=parts)


def sentences(words: str, n: int, *, seed: int = 0) -> list[str]:
    """`n` different texts of these words."""
    drawn = random.Random(seed)
    return [f"{' '.join(drawn.choices(words.split(), k=8))}\nnumber {i}" for i in range(n)]


@pytest.fixture(scope="session")
def of_texts() -> Callable[..., Texts]:
    return labelled_texts


@pytest.fixture(scope="session")
def good_and_bad() -> Texts:
    return labelled_texts({"good": sentences(GOOD, 40), "bad": sentences(BAD, 60)})


@pytest.fixture(scope="session")
def tiny() -> Settings:
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, good_and_bad: Texts) -> Path:
    """A model of `good_and_bad`, with its report. Not to be written to."""
    path = tmp_path_factory.mktemp("classifier") / "quality.bin"
    train(good_and_bad, TINY, output=str(path))
    return path
