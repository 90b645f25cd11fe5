"""Texts to framed ids: begin and end tokens around what `dolma/models/tokenizers_library.py` makes of each text."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.data.batch import offsets_of
from dolma.data.tokens import little_endian
from dolma.errors import RecordError
from dolma.kernels.token_table import framed
from dolma.models.byte_level import ByteLevel, NotByteLevel
from dolma.models.tokenizer_facts import KEY, TokenizerFacts
from dolma.models.tokenizer_file import read_tokenizer_file
from dolma.models.tokenizers_library import count_dropped, encode_texts, load_tokenizer

SLOW_NOTE = "tokenizers {version} is installed; 1.0 encodes tens of times as fast\n  run `pip install 'dolma[fast]'`"


def slow_note() -> str | None:
    """What to tell the user when the installed `tokenizers` is older than 1.0; None when it is not."""
    import tokenizers

    old = int(tokenizers.__version__.split(".")[0]) < 1
    return SLOW_NOTE.format(version=tokenizers.__version__) if old else None


@functools.lru_cache(maxsize=2)
def encoder_of(facts: TokenizerFacts, *, allow_special_tokens: bool) -> Encoder:
    """The encoder, loaded once per process."""
    return Encoder(facts, allow_special_tokens=allow_special_tokens)


class Encoder:
    """Texts to ids, each text framed by the recipe's begin and end tokens.

    Unless `allow_special_tokens`, no id of `facts.control` comes from a text: what looks like such a token is encoded
    as the characters that it consists of. `path` says what encodes, in words.
    """

    def __init__(self, facts: TokenizerFacts, *, allow_special_tokens: bool = False) -> None:
        self.facts = facts
        self._tokenizer = load_tokenizer(facts.path, sha256=facts.sha256, key=KEY)
        self._encode = encode_texts(self._tokenizer, allow_special_tokens=allow_special_tokens)
        file = read_tokenizer_file(facts.path, key=KEY)
        self._by_table: ByteLevel | None = None
        try:
            self._by_table = ByteLevel(file, allow_special_tokens=allow_special_tokens, whole=self._encode)
            self.path = "a table of pre-tokens that the library fills"
        except NotByteLevel as reason:
            self.path = f"the library, each whole: {reason}"
        self._dropped: Callable[[Sequence[str]], list[int]] | None = None
        if facts.drops_characters:
            self._dropped = count_dropped(file, allow_special_tokens=allow_special_tokens)
        control = () if allow_special_tokens else facts.control
        self._cut_at = [token for token, _ in control]
        self._is_control = np.zeros(facts.vocab_size, dtype=bool)
        self._is_control[[id for _, id in control]] = True

    def __call__(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """The framed ids of all texts one after the other, as on disk, and how many each text has; 0: none, unframed.

        Raises:
            RecordError: the tokenizer fails on one of the texts.
        """
        if self._by_table is None:
            return self._framed(*self._by_library(texts))
        encoded = [text.encode() for text in texts]
        return self.encode(np.frombuffer(b"".join(encoded), np.uint8), offsets_of(encoded))

    def encode(
        self, utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """As the call, for the texts of a batch (`TextBatch`)."""
        if self._by_table is not None:
            ids, counts = self._by_table(utf8, offsets)
            if not self._is_control[ids].any():
                return self._framed(ids, counts)
        whole, bounds = utf8.tobytes(), offsets.tolist()
        return self._framed(*self._by_library([whole[a:b].decode() for a, b in itertools.pairwise(bounds)]))

    def _by_library(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        found = self._encode(texts)
        ids, counts = _joined(found)
        if self._is_control[ids].any():
            ids, counts = _joined([self._as_text(*item) for item in zip(texts, found, strict=True)])
        return ids, counts

    def n_dropped(self, texts: Sequence[str]) -> int:
        """How many characters of these texts no token stands for (bytes, for a byte-level tokenizer)."""
        if self._dropped is None:
            return 0
        parts = [part for text in texts for part in _cut_tokens(text, self._cut_at)]
        return sum(self._dropped(parts))

    def decode(self, ids: npt.NDArray[Any] | Sequence[int]) -> str:
        """The text of some ids; control tokens are left out."""
        return self._tokenizer.decode(list(map(int, ids)), skip_special_tokens=True)

    def _framed(
        self, ids: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        facts = self.facts
        return framed(ids, counts, bos=facts.bos_id, eos=facts.eos_id, dtype=little_endian(facts.dtype))

    def _as_text(self, text: str, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The ids of a text in which the model, or an added token that is not marked special, makes a control token.

        Each occurrence is encoded in two parts, so that it cannot be seen whole.
        """
        if not self._is_control[ids].any():
            return ids
        apart = _cut_tokens(text, self._cut_at)
        found = np.concatenate(self._encode(apart))
        if self._is_control[found].any():
            at = int(np.flatnonzero(self._is_control[found])[0])
            raise RecordError(
                f"the text gives the control token {int(found[at])} though it is encoded as text"
                "\n  use a tokenizer whose normalizer makes no control tokens, or `--allow-special-tokens`"
            )
        return found


def _joined(found: Sequence[npt.NDArray[np.uint32]]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
    return np.concatenate(found) if len(found) else np.zeros(0, np.uint32), counts


def _cut_tokens(text: str, tokens: Sequence[str]) -> list[str]:
    """The text in parts, cut after the first character of each occurrence of a token.

    >>> _cut_tokens("a</s>b", ["</s>"])
    ['a<', '/s>b']
    """
    cuts = {0, len(text)}
    for token in tokens:
        at = text.find(token) if len(token) > 1 else -1
        while at >= 0:
            cuts.add(at + 1)
            at = text.find(token, at + 1)
    places = sorted(cuts)
    return [text[start:end] for start, end in itertools.pairwise(places)]
