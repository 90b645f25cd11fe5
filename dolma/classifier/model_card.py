"""The card of a trained model: `MODEL.json`, beside it."""

from __future__ import annotations

import msgspec

from dolma.classifier.examples import Choice
from dolma.classifier.judging import Judgement
from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError
from dolma.printable import printable

FORMAT = 1


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained. Where fastText has a default it is ours too, but for `ngrams`, of which it has 1."""

    per_class: int = 0  # documents of each class; 0: see `balanced`
    balanced: bool = True  # as many of each class as the smallest has; else all
    held_out: float = 0.1  # share that is not trained on
    lower: bool = False
    seed: int = 0
    ngrams: int = 2  # of words: 2 is words and pairs
    buckets: int = 2_000_000  # that pairs and characters are hashed to
    dim: int = 100
    epochs: int = 5
    learning_rate: float = 0.1
    min_count: int = 1  # of a word, to have a row of its own
    min_characters: int = 0  # n-grams of characters within words; 0 to 0: none
    max_characters: int = 0

    def choice(self) -> Choice:
        """How documents are chosen."""
        return Choice(
            per_class=self.per_class or None,
            balanced=self.balanced,
            held_out=self.held_out,
            lower=self.lower,
            seed=self.seed,
        )


class ClassCount(msgspec.Struct, frozen=True, kw_only=True):
    """One class: documents with text that were found, trained on, and judged by."""

    label: str
    found: int
    trained: int
    held_out: int


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `MODEL.json`. `checksum` is xxh3-128 of the model file."""

    format: int = FORMAT
    dolma: str
    fasttext: str
    checksum: str
    settings: Settings
    classes: list[ClassCount]
    blank: int
    unlabelled: int
    held_out: Judgement


def card_path(model: str) -> str:
    """Where the card of a model lies."""
    return f"{model}.json"


def read_card(model: str) -> ModelCard | None:
    """The card beside a local model; None if there is none.

    Raises:
        ConfigError: it is damaged, of another format, or about another model.
    """
    path = card_path(model)
    if not streams.exists(path):
        return None
    try:
        card = decode_json(streams.read_bytes(path), ModelCard)
    except msgspec.DecodeError as error:
        raise _useless(path, str(error)) from error
    if card.format != FORMAT:
        raise _useless(path, f"its format is {card.format}, expected {FORMAT}")
    if card.checksum != (found := streams.checksum(model)):
        raise _useless(path, f"it is about a model with the checksum {card.checksum}, and this one has {found}")
    return card


def _useless(path: str, why: str) -> ConfigError:
    return ConfigError(
        f"{printable(path)} is not the report of `dolma classifier train` on the model beside it: {why}\n"
        "  train the model again with --overwrite, or move that file away"
    )
