"""Tokens that repeat at once, as Dolma 1.x finds them (`tokenizer_repetitions_v1` and its kin of 1.2.1).

A repetition is a stretch of tokens that goes on with a period of 1 to 13 tokens, three periods or more; its score is
the whole periods in it. Of every period the longest stretches count, so "a a a a a a" is found twice, with period 1
and 2, and the share of the document may exceed 1; `tokenizer_repetitions_v2r2` leaves out what lies within another.
It also encodes a document in blocks of 100,000 characters, and says nothing where nothing repeats. Of paragraphs: each
line by itself, with a space before it. A span begins without the spaces of its first token.

Needs a byte-level tokenizer: its tokens tell the bytes that they stand for, so no offsets are asked of the library.
Cost: that of the tokenizer, 30 MB/s, by line 10, of mixed text with `tokenizers` 1.0 on one core of a 2-core cloud
machine, 2026-11-23.
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data import streams
from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, Output, Spans
from dolma.errors import ConfigError, RecordError
from dolma.kernels.periods import periodic_runs
from dolma.models.tokenizers_library import EncodeTexts
from dolma.taggers.catalogue import Need
from dolma.taggers.dolma1.repetitions import OUTPUTS, repetition_columns
from dolma.taggers.dolma1.tokenizers import need_of, tokenizer_path
from dolma.taggers.tokens import encoder_at

HUB = "allenai/eleuther-ai-gpt-neox-20b-pii-special"
LONGEST, TIMES, BLOCK = 13, 3, 100_000
_SPACES = "Ġ \t\n\r\x0b\x0c"  # the first is how byte-level tokenizers write U+0020

Span = tuple[int, int, float]

_OUTPUTS: dict[str, Output] = OUTPUTS | {
    "repetition": Spans("repetitions of tokens; the score is how often the unit occurs", range=">= 3"),
    "doc_frac_repetition": DocFloat("code points in repetitions, once for each, to all", range=">= 0"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a document that is encoded by itself: `first` is the code point of the document that it begins with."""

    document: int
    first: int
    text: str


class TokenizerRepetitionsV1:
    """Units of 1 to 13 tokens that occur three times or more in a row."""

    name = "tokenizer_repetitions_v1"
    version = 1
    outputs = _OUTPUTS
    needs: tuple[Need, ...] = need_of(HUB)

    def __init__(self, path: str | None = None) -> None:
        """Load the tokenizer at `path`, or else the one that 1.2.1 used.

        Raises:
            ConfigError: it cannot be had or read, or is not byte-level.
        """
        found = tokenizer_path(path, hub=HUB, tagger=self.name)
        self._encode = encoder_at(found, tagger=self.name, allow_special_tokens=True)
        self._sizes = _TokenSizes.of(json.loads(streams.read_bytes(found)), tagger=self.name)
        self.needs = need_of(HUB) if path is None else ()

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans and three values per document."""
        found: list[list[Span]] = [[] for _ in range(len(batch))]
        parts = [part for i, text in enumerate(batch.texts()) for part in self.parts(i, text)]
        for part, spans in zip(parts, _spans(self._encode, self._sizes, [part.text for part in parts]), strict=True):
            found[part.document] += [
                (part.first + start, part.first + end, score) for start, end, score in self.chosen(spans)
            ]
        flat = np.array([span for spans in found for span in spans], dtype=np.float64).reshape(-1, 3)
        starts, ends = flat[:, :2].astype(np.int64).T
        counts = np.array([len(spans) for spans in found], dtype=np.int64)
        return repetition_columns(batch, counts, starts, ends, flat[:, 2])

    def parts(self, document: int, text: str) -> Iterator[Part]:
        """What is encoded by itself."""
        yield Part(document=document, first=0, text=text)

    def chosen(self, spans: list[Span]) -> list[Span]:
        """Those that count, of a part's, in order."""
        return spans


class ParagraphTokenizerRepetitionsV1(TokenizerRepetitionsV1):
    """Units of 1 to 13 tokens that occur three times or more in a row within one line."""

    name = "paragraph_tokenizer_repetitions_v1"

    def parts(self, document: int, text: str) -> Iterator[Part]:
        """Each line, with its newline, a space before it."""
        for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
            yield Part(document=document, first=line.start() - 1, text=" " + line[0])


class TokenizerRepetitionsV2r2(TokenizerRepetitionsV1):
    """Units of 1 to 13 tokens that occur three times or more in a row and lie within no other; null without any."""

    name = "tokenizer_repetitions_v2r2"

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans and three values per document, null where nothing repeats."""
        columns = super().__call__(batch)
        none = np.array([not spans for spans in columns["repetition"].to_pylist()], dtype=bool)
        return columns | {
            name: pa.array(column.to_numpy(zero_copy_only=False), mask=none)
            for name, column in columns.items()
            if name != "repetition"
        }

    def parts(self, document: int, text: str) -> Iterator[Part]:
        """Blocks of 100,000 characters."""
        for first in range(0, len(text), BLOCK):
            yield Part(document=document, first=first, text=text[first : first + BLOCK])

    def chosen(self, spans: list[Span]) -> list[Span]:
        """Those within no other; of equal ones the first, whose period is the shortest."""
        kept: list[Span] = []
        for span in sorted(spans, key=lambda span: (span[0], -span[1])):
            if not kept or span[1] > kept[-1][1]:
                kept.append(span)
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenSizes:
    """By id, int64: `n_bytes` that a token stands for, and the spaces at its beginning (`before`) and end (`after`)."""

    n_bytes: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    composed: bool

    @classmethod
    def of(cls, content: dict[str, Any], *, tagger: str) -> _TokenSizes:
        normalizer = (content.get("normalizer") or {}).get("type")
        if (content.get("decoder") or {}).get("type") != "ByteLevel" or normalizer not in (None, "NFC"):
            raise ConfigError(
                f"{tagger} needs a byte-level tokenizer with no normalizer but NFC, such as {HUB}\n"
                "  give the path of another tokenizer.json"
            )
        added = {token["id"]: token["content"] for token in content.get("added_tokens") or []}
        tokens = {id: (len(token), token) for token, id in content["model"]["vocab"].items()}
        tokens |= {id: (len(token.encode()), token) for id, token in added.items()}
        sizes = np.zeros((3, max(tokens) + 1), dtype=np.int64)
        for id, (size, token) in tokens.items():
            sizes[:, id] = size, len(token) - len(token.lstrip(_SPACES)), len(token) - len(token.rstrip(_SPACES))
        return cls(n_bytes=sizes[0], before=sizes[1], after=sizes[2], composed=normalizer == "NFC")


def _spans(encode: EncodeTexts, sizes: _TokenSizes, texts: Sequence[str]) -> list[list[Span]]:
    """The repetitions of each text, in code points, by period, then by start."""
    ids = encode(texts)
    index = np.cumsum([0, *map(len, ids)])
    numbers = np.concatenate(ids) if ids else np.zeros(0, np.uint32)
    runs = periodic_runs(numbers, index, longest=LONGEST, times=TIMES)
    found: list[list[Span]] = [[] for _ in texts]
    for sequence in np.unique(runs.sequences).tolist():
        mine = runs.sequences == sequence
        starts, ends = runs.starts[mine] - index[sequence], runs.ends[mine] - index[sequence]
        bounds = _points(texts[sequence], ids[sequence], sizes)
        found[sequence] = list(
            zip(bounds[0][starts].tolist(), bounds[1][ends - 1].tolist(), runs.times[mine].tolist(), strict=True)
        )
    return found


def _points(
    text: str, ids: npt.NDArray[np.uint32], sizes: _TokenSizes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each token begins and ends, in code points of the text, without the spaces at its ends."""
    encoded = np.frombuffer((unicodedata.normalize("NFC", text) if sizes.composed else text).encode(), np.uint8)
    ends = np.cumsum(sizes.n_bytes[ids])
    if ends[-1] != len(encoded):
        raise RecordError(
            "the tokens of a text do not stand for its bytes: the tokenizer is not byte-level"
            "\n  give a byte-level tokenizer, or leave the tagger out"
        )
    # A token that holds part of a character's bytes stands on the whole character.
    points = np.concatenate([[0], np.cumsum(encoded & 0xC0 != 0x80)])
    first, last = points[ends - sizes.n_bytes[ids] + 1] - 1, points[ends]
    first = np.minimum(first + sizes.before[ids], last)
    last = np.maximum(last - sizes.after[ids], first)
    if not sizes.composed or unicodedata.is_normalized("NFC", text):
        return first, last
    begins, stops = _composed_points(text)
    return begins[first], stops[last]


def _composed_points(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Code points of the text by bound between those of its NFC form: where what follows begins, what precedes ends."""
    begins, stops = [], [0]
    for start, end in itertools.pairwise([*_apart(text), len(text)]):
        size = len(unicodedata.normalize("NFC", text[start:end]))
        exact = size == end - start
        begins += [start + (k if exact else 0) for k in range(size)]
        stops += [start + k + 1 if exact else end for k in range(size)]
    return np.array([*begins, len(text)], dtype=np.int64), np.array(stops, dtype=np.int64)


def _apart(text: str) -> Iterator[int]:
    """Where characters begin that NFC does not compose with what precedes."""
    for i, character in enumerate(text):
        if i == 0 or (
            unicodedata.combining(character) == 0
            and not "\u1160" <= character <= "\u11ff"
            and unicodedata.normalize("NFC", text[i - 1 : i + 1])
            == unicodedata.normalize("NFC", text[i - 1]) + unicodedata.normalize("NFC", character)
        ):
            yield i
