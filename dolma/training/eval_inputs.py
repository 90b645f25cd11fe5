"""What a model is evaluated on, opened and checked before any model is there. Needs no torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from dolma.data import streams
from dolma.data.items import read_items
from dolma.data.tokens import read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.models.tokenizer_file import read_tokenizer_file
from dolma.training.config import EvalConfig, TrainConfig, held_out_length, listed
from dolma.training.data.contents import Contents
from dolma.training.data.shards import TokenShards, open_shards
from dolma.training.stages import Stages


class EvalInputs:
    """Everything that is evaluated on.

    `length`: tokens of a document that the model sees at a time, if the settings do not say it; `context`: as many as
    it can see. `path` is the key of the settings, "" where they are options of `dolma eval`.

    Raises:
        ConfigError: tasks without a tokenizer to encode them with, or a length beyond the model's `context`.
        DataError: shards, a tokenizer or items cannot be read, or the shards are of another tokenizer.
    """

    def __init__(
        self,
        config: EvalConfig,
        *,
        length: int,
        context: int,
        tokenizer: str | None,
        tokenizer_sha256: str | None,
        path: str = "",
    ) -> None:
        self.config, self.length, self.tokenizer = config, config.length or length, tokenizer
        if self.length > context:
            raise ConfigError(
                f"`{'length' if path else '--length'}` is {self.length:,} tokens, but the model was made for at most "
                f"{context:,}\n  give {context} or less",
                path=path and f"{path}.length",
            )
        self.texts = {
            name: HeldOutText(tokens, max_windows=config.max_windows) for name, tokens in config.sources.items()
        }
        for text in self.texts.values():
            if tokenizer_sha256 is not None and text.shards.tokenizer_sha256 != tokenizer_sha256:
                raise DataError(
                    "is of another tokenizer than the model\n  tokenize the text with the model's tokenizer",
                    file=text.name,
                )
        self.items = {name: read_items(path, limit=config.max_items) for name, path in config.tasks.items()}
        if (self.items or config.olmo_tasks) and tokenizer is None:
            where = "beside the token shards that it was trained on" if path else "beside the model's token shards"
            raise ConfigError(
                f"tasks need the tokenizer of the model, and there is none {where}\n  "
                + ("copy tokenizer.json beside the shards" if path else "give `--tokenizer FILE`"),
                path=path,
            )

    def check(self, contents: Contents) -> None:
        """Return when the shards are what their descriptions say.

        Raises:
            DataError: one is not.
        """
        contents.check(text.shards for text in self.texts.values())


def eval_inputs(config: TrainConfig, stages: Stages) -> EvalInputs | None:
    """What a run of these stages evaluates on; None if nothing.

    Raises:
        ConfigError, DataError: as `EvalInputs`.
    """
    if config.evaluate is None:
        return None
    last = stages.stages[-1]
    return EvalInputs(
        config.evaluate,
        length=held_out_length(config),
        context=last.model.context_length,
        tokenizer=next((shards.tokenizer for shards in stages.shards.values() if shards.tokenizer), None),
        tokenizer_sha256=stages.tokenizer.tokenizer_sha256,
        path="$.train.evaluate",
    )


class HeldOutText:
    """Token shards to evaluate on, the first `max_windows` windows of them, with the bytes that each id stands for."""

    def __init__(self, tokens: str | Sequence[str], *, max_windows: int | None = None) -> None:
        self.name, self._max_windows = ", ".join(listed(tokens)), max_windows
        self.shards = open_shards(tokens)
        self.bytes_of_ids = bytes_of_ids(tokens, self.shards)

    def windows(self, length: int) -> Iterator[list[np.ndarray]]:
        """As many windows as are to be looked at, of at most so many tokens."""
        return itertools.islice(self._windows(length), self._max_windows)

    def _windows(self, length: int) -> Iterator[list[np.ndarray]]:
        """Documents, cut to `length - 1` tokens, as many in a row as fit with a token before each."""
        window: list[np.ndarray] = []
        room = length
        for shard in self.shards.shards:
            for begin, end in itertools.pairwise(shard.boundaries.tolist()):
                for start in range(begin, end, length - 1):
                    piece = np.asarray(shard.ids[start : min(start + length - 1, end)])
                    if room < len(piece) + 1:
                        yield window
                        window, room = [], length
                    window.append(piece)
                    room -= len(piece) + 1
        if window:
            yield window

    def side_by_side(self, windows: Sequence[list[np.ndarray]], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and documents, int64, `(windows, length)`; an end-of-text token begins each document, padding is -1."""
        ids = np.full((len(windows), length), self.shards.eos_id or 0, dtype=np.int64)
        documents = np.full((len(windows), length), -1, dtype=np.int64)
        for row, window in enumerate(windows):
            at = 0
            for number, piece in enumerate(window):
                ids[row, at + 1 : at + 1 + len(piece)] = piece
                documents[row, at : at + 1 + len(piece)] = number
                at += 1 + len(piece)
        return ids, documents


def bytes_of_ids(tokens: str | Sequence[str], shards: TokenShards) -> np.ndarray:
    """How many bytes of text each id stands for; int64, `(vocabulary,)`; 0 for special tokens."""
    folder = tokens if isinstance(tokens, str) else tokens[0]
    path = streams.join(folder, read_token_manifest(folder).tokenizer)
    if not streams.exists(path):
        raise DataError(
            "is missing: bits per byte need the tokenizer that made the shards"
            "\n  copy tokenizer.json beside the shards",
            file=path,
        )
    file = read_tokenizer_file(path)
    sizes = np.zeros(max(shards.vocab_size, file.vocab_size), dtype=np.int64)
    for token, id in file.ids.items():
        sizes[id] = _n_bytes(token)
    for added in file.added:
        sizes[added.id] = 0 if added.special else len(added.content.encode())
    return sizes[: shards.vocab_size]


def _n_bytes(token: str) -> int:
    """Bytes that a token stands for, in byte-level BPE, byte fallback (`<0x0A>`) or as text with "▁" for spaces."""
    if re.fullmatch(r"<0x[0-9A-F]{2}>", token):
        return 1
    if all(character in _BYTE_CHARACTERS for character in token):
        return len(token)
    return len(token.replace("▁", " ").encode())


# The characters that byte-level BPE writes the 256 bytes with: printable ones as themselves, others from U+0100 on.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_CHARACTERS = frozenset([*map(chr, _PRINTABLE), *(chr(0x100 + i) for i in range(256 - len(_PRINTABLE)))])
