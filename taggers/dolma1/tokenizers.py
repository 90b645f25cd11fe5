"""How many tokens a document has, by the pre-tokenizer and the tokenizers that Dolma 1.x names.

The pre-tokenizer cuts off each punctuation mark or symbol of ASCII or Unicode and each decimal digit, with one space
before it, and then as GPT-2 does: letters, other numbers, other characters, each with one space before; whitespace,
but for the last of it before something else. Its pieces are counted by an automaton over the classes of characters that
the tokenizers library 0.19 told apart: about 400 MB/s of English on one core of a 2-core cloud machine, 2026-11-23.

Tokenizers take the option `path`, a `tokenizer.json` on disk; without it 1.2.1's is asked for at the Hugging Face hub.
As in 1.2.1, a special token that is spelled out in a text is one token. Cost: that of the `tokenizers` library.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocInt, Output, Spans
from dolma.errors import ConfigError
from dolma.kernels.automata import Automaton, automaton, counts_of
from dolma.kernels.code_points import table_of
from dolma.taggers.catalogue import Need
from dolma.taggers.dolma1.lengths import paragraphs, piece_spans
from dolma.taggers.dolma1.unicode_tables import ISOLATED, PRETOKENS, SPACE
from dolma.taggers.tokens import encoder_at, n_tokens

_BLANK = 5  # U+0020, which goes with what follows; SPACE: any other whitespace
_ONE_BLANK, _ONE_SPACE, _BLANK_LAST, _SPACE_LAST = range(10, 14)


class OlmoPretokenizerV1:
    """The pieces into which OLMo's pre-tokenizer cuts the text.

    >>> OlmoPretokenizerV1()(TextBatch.of(["It's 12.5 m"]))["length"].to_pylist()
    [8]
    """

    name = "olmo_pretokenizer_v1"
    version = 1
    outputs = {"length": DocInt("pieces of the pre-tokenizer", unit="pieces")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        counts = counts_of(batch.utf8, batch.offsets[:-1], batch.offsets[1:], pretokens())
        return {"length": pa.array(counts[:, 0])}


class OlmoPretokenizerWithParagraphsV1:
    """The pieces of OLMo's pre-tokenizer in each paragraph that is not blank, and their sum over the document.

    >>> columns = OlmoPretokenizerWithParagraphsV1()(TextBatch.of(["a\\n\\nb"]))
    >>> columns["document"].to_pylist(), columns["paragraph"].to_pylist()[0][0]
    ([3], {'start': 0, 'end': 2, 'score': 2.0})
    """

    name = "olmo_pretokenizer_with_paragraphs_v1"
    version = 1
    outputs = {
        "paragraph": Spans("paragraphs; the score is their pieces", range=">= 1"),
        "document": DocInt("the sum over the paragraphs", unit="pieces"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans and one value per document."""
        pieces = paragraphs(batch)
        counts = counts_of(batch.utf8, pieces.starts, pieces.ends, pretokens())[:, 0]
        return {"paragraph": piece_spans(pieces, counts), "document": pa.array(pieces.sums(counts))}


@functools.cache
def pretokens() -> Automaton:
    """First count: the pieces of the pre-tokenizer."""
    classes = table_of(PRETOKENS).copy()
    classes[ord(" ")] = _BLANK
    return automaton(np.asarray(classes), _step, start=ISOLATED, n_classes=6)


def _step(before: int, cls: int) -> tuple[int, int, int]:
    """`before`: the class before, or whitespace: one character or more, and which of the two kinds the last was."""
    in_space = before >= _ONE_BLANK
    if cls in (SPACE, _BLANK):
        last_blank = cls == _BLANK
        if in_space:
            return (_BLANK_LAST if last_blank else _SPACE_LAST), 0, 0
        return (_ONE_BLANK if last_blank else _ONE_SPACE), 1, 0
    if cls == ISOLATED:  # takes a blank before it; what whitespace is left before that is one piece
        return cls, int(before != _ONE_BLANK), 0
    if in_space:  # two pieces have been one so far if the last whitespace neither goes with this nor stands alone
        return cls, {_ONE_BLANK: 0, _ONE_SPACE: 1, _BLANK_LAST: 1, _SPACE_LAST: 2}[before], 0
    return cls, int(cls != before), 0


# --- tokenizers ------------------------------------------------------------------------------------------------------


def need_of(hub: str) -> tuple[Need, ...]:
    """The tokenizer of this name at the Hugging Face hub."""
    return (Need(kind="model", name=hub, get=f"hf download {hub} tokenizer.json --local-dir tokenizers"),)


def tokenizer_path(path: str | None, *, hub: str, tagger: str) -> str:
    """The path given, or else where the file is that the hub has under that name, downloaded unless it has been before.

    Raises:
        ConfigError: it cannot be had.
    """
    if path is not None:
        return path
    import huggingface_hub

    try:
        return huggingface_hub.hf_hub_download(hub, "tokenizer.json")
    except Exception as error:  # of many libraries, by what goes wrong
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"{tagger} needs the tokenizer {hub!r}, which cannot be had: {reason}\n"
            f"  run `{need_of(hub)[0].get}` and give the tagger the option `path: tokenizers/tokenizer.json`"
        ) from error


class _Tokenizer:
    """Counts the tokens of one tokenizer."""

    hub: ClassVar[str]
    needs: tuple[Need, ...]
    trimmed: ClassVar[bool]
    name: ClassVar[str]
    version = 1
    outputs: ClassVar[dict[str, Output]]

    def __init__(self, path: str | None = None) -> None:
        """Load the tokenizer at `path`, or else the one that 1.2.1 used.

        Raises:
            ConfigError: it cannot be had or read.
        """
        found = tokenizer_path(path, hub=self.hub, tagger=self.name)
        self._encode = encoder_at(found, tagger=self.name, allow_special_tokens=True)
        self.needs = need_of(self.hub) if path is None else ()

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        texts = [text.strip() for text in batch.texts()] if self.trimmed else batch.texts()
        (output,) = self.outputs
        return {output: pa.array(n_tokens(self._encode, texts))}


class DolmaV1Tokenizer(_Tokenizer):
    """The tokens of the text without the whitespace at both ends, by the tokenizer of Dolma 1.5 and OLMo 1."""

    name = "dolma_v1_tokenizer"
    hub = "allenai/gpt-neox-olmo-dolma-v1_5"
    needs: tuple[Need, ...] = need_of(hub)
    trimmed = True
    outputs = {"length": DocInt("tokens of the text without the whitespace at both ends", unit="tokens")}


class DolmaV2Tokenizer(_Tokenizer):
    """The tokens of the text without the whitespace at both ends, by the tokenizer of Dolma 2 and OLMo 2."""

    name = "dolma_v2_tokenizer"
    hub = "allenai/dolma2-tokenizer"
    needs = need_of(hub)
    trimmed = True
    outputs = DolmaV1Tokenizer.outputs


class GptNeox20B(_Tokenizer):
    """The tokens of the text by the tokenizer of GPT-NeoX-20B."""

    name = "tokenizers_EleutherAI_GPT_NeoX_20B"
    hub = "EleutherAI/gpt-neox-20B"
    needs = need_of(hub)
    trimmed = False
    outputs = {"tokens": DocInt("tokens of the whole text", unit="tokens")}


class Ai2OlmoV1(_Tokenizer):
    """The tokens of the text by the tokenizer of GPT-NeoX-20B with placeholders for personal data."""

    name = "tokenizers_AI2_OLMo_v1"
    hub = "allenai/eleuther-ai-gpt-neox-20b-pii-special"
    needs = need_of(hub)
    trimmed = False
    outputs = GptNeox20B.outputs
