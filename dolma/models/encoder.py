"""Texts to framed ids: begin and end tokens around what `dolma/models/tokenizers_library.py` makes of each text."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.data.tokens import little_endian
from dolma.errors import RecordError
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
    as the characters that it consists of.
    """

    def __init__(self, facts: TokenizerFacts, *, allow_special_tokens: bool = False) -> None:
        self.facts = facts
        self._tokenizer = load_tokenizer(facts.path, sha256=facts.sha256, key=KEY)
        self._encode = encode_texts(self._tokenizer, allow_special_tokens=allow_special_tokens)
        self._dropped: Callable[[Sequence[str]], list[int]] | None = None
        if facts.drops_characters:
            file = read_tokenizer_file(facts.path, key=KEY)
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
        found = self._encode(texts)
        ids, counts = _joined(found)
        if self._is_control[ids].any():
            ids, counts = _joined([self._as_text(*item) for item in zip(texts, found, strict=True)])
        return self._framed(ids, counts)

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
        bos, full = self.facts.bos_id, counts > 0
        sizes = np.where(full, counts + (1 if bos is None else 2), 0)
        ends = np.cumsum(sizes)
        framed = np.empty(int(sizes.sum()), dtype=little_endian(self.facts.dtype))
        is_text = np.ones(len(framed), dtype=bool)
        last = ends[full] - 1
        framed[last], is_text[last] = self.facts.eos_id, False
        if bos is not None:
            first = (ends - sizes)[full]
            framed[first], is_text[first] = bos, False
        framed[is_text] = ids
        return framed, sizes

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
