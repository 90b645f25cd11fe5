"""Questionable sentences, as MADLAD-400 counts them (Kudugunta et al. 2023, arXiv:2309.04662, with its lists).

The paper drops documents of which a fifth of the sentences or more are questionable, and those with fewer than five
sentences: `madlad.questionable_ratio < 0.2 AND madlad.sentences >= 5`. A sentence is questionable for any of

- case: at least twelve words, more than half of which begin with an uppercase letter (a list of names or titles);
- length: fewer than 20 code points, or more than 500;
- technical characters: more than a fifth of its code points are one of `0123456789{}+/()>`;
- "cursed" strings: marks of spam and boilerplate that the authors met in their audit, letters in either case but for
  those that begin with a capital in their list; and runs of nine words of one character.

Their fifth rule, a sentence in another language than its document, needs a model: see `fasttext` with
`level: sentence`. Their patterns with a line's end (`nr.`, `|`) hold at the end of a sentence here. Sentences are those
of `dolma/kernels/sentences.py`, which also end with their line; the paper does not say how it cuts them.

Cost: about 150 MB/s of text on one core of a 2-core cloud machine, 2026-11-24.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Spans, spans_column
from dolma.kernels.block_sums import CAPITALISED, LONGEST_RUN, POINTS, TECHNICALS, WORDS, block_sums
from dolma.kernels.phrases import ANYWHERE, Phrases, occurrences, phrases_of
from dolma.kernels.sentences import sentence_spans
from dolma.kernels.views import Blocks, Int64, code_points_at

Bools = npt.NDArray[np.bool_]

_RULES = ("case", "length", "technical", "cursed")
_MEANINGS = {
    "case": "of twelve words or more with more than half of them capitalised",
    "length": "of fewer than 20 or more than 500 code points",
    "technical": "with more than a fifth of technical characters",
    "cursed": "with a string of the list, or nine words of one character in a row",
}
_LEAST_WORDS, _SHORTEST, _LONGEST, _SINGLES = 12, 20, 500, 9

_CURSED = (
    " №", "\ufffd\ufffd\ufffd", "aute irure dolor ", " sunt in culpa qui ", "orem ipsum ", " quis nostrud ",
    " adipisicing ", " dolore eu ", " cupidatat ", "autem vel eum", "wisi enim ad", " sex ", " porn ", "黄色电影",
    "mp3", "ownload", "Vol.", " Ep.", "Episode", " шт.", "Develop", "Facebook", " crusher ", " xxx ",
    " ... ... ... ... ... ... ... ... ...", " .... .... .... .... .... .... .... .... ....",
    ", ,, , ,, , ,, , ,,",
)  # fmt: skip
_CURSED_AT_END = (" nr.", " г.", " кг.")
_BAR = ord("|")


class Madlad:
    """Sentences that are questionable by MADLAD-400's rules, and their share of the document's.

    >>> columns = Madlad()(TextBatch.of(["This is a whole sentence, as they go.\\nShort one."]))
    >>> columns["length"].to_pylist(), columns["questionable_ratio"].to_pylist()
    ([1], [0.5])
    """

    name = "madlad"
    version = 1
    languages = "any; sentences that end with punctuation, scripts with case for the rule of capitals"
    outputs = {
        "questionable": Spans("questionable sentences; the score is how many rules they break", range="1-4"),
        "sentences": DocInt("sentences", unit="sentences"),
        **{rule: DocInt(f"sentences {meaning}", unit="sentences") for rule, meaning in _MEANINGS.items()},
        "questionable_ratio": DocFloat("questionable sentences to sentences; null without sentences", range="0-1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """Spans of sentences, and one value per document for each other name, in batch order."""
        sentences = batch.view(sentence_spans)
        broken = np.stack(_broken(batch, sentences))
        n_broken = broken.sum(axis=0)
        n_sentences = sentences.per_document()
        documents = np.repeat(np.arange(len(batch)), n_sentences)
        questionable = np.bincount(documents[n_broken > 0], minlength=len(batch)).astype(np.int64)
        counts = {
            rule: pa.array(np.bincount(documents[of], minlength=len(batch)).astype(np.int64))
            for rule, of in zip(_RULES, broken, strict=True)
        }
        return {
            "questionable": _spans(batch, sentences, documents, n_broken),
            "sentences": pa.array(n_sentences),
            **counts,
            "questionable_ratio": pa.array(questionable / np.maximum(n_sentences, 1), mask=n_sentences == 0),
        }


def _broken(batch: TextBatch, sentences: Blocks) -> tuple[Bools, Bools, Bools, Bools]:
    """Which sentences break each of `_RULES`."""
    sums = block_sums(batch.utf8, sentences.starts, sentences.ends)
    points, words = sums[:, POINTS], sums[:, WORDS]
    return (
        (words >= _LEAST_WORDS) & (2 * sums[:, CAPITALISED] > words),
        (points < _SHORTEST) | (points > _LONGEST),
        5 * sums[:, TECHNICALS] > points,
        (sums[:, LONGEST_RUN] >= _SINGLES) | _cursed(batch, sentences),
    )


@functools.cache
def _phrases() -> Phrases:
    return phrases_of([(text.lower(), ANYWHERE) for text in (*_CURSED, *_CURSED_AT_END)])


def _cursed(batch: TextBatch, sentences: Blocks) -> Bools:
    found = occurrences(batch.utf8, batch.offsets, _phrases())
    of = np.searchsorted(sentences.starts, found.starts, side="right") - 1
    holds = (of >= 0) & (found.ends <= sentences.ends[np.maximum(of, 0)]) if len(of) else np.zeros(0, dtype=np.bool_)
    at_end = found.entries >= len(_CURSED)
    holds &= ~at_end | (found.ends == sentences.ends[of])
    for k in np.flatnonzero(holds & np.isin(found.entries, _cased())).tolist():
        entry = _CURSED[found.entries[k]]
        holds[k] = batch.utf8[found.starts[k] : found.ends[k]].tobytes() == entry.encode()
    cursed = batch.utf8[sentences.ends - 1] == _BAR  # no sentence is empty
    cursed[of[holds]] = True
    return cursed


@functools.cache
def _cased() -> tuple[int, ...]:
    """The entries whose capitals have to be there."""
    return tuple(i for i, text in enumerate(_CURSED) if text != text.lower())


def _spans(batch: TextBatch, sentences: Blocks, documents: Int64, scores: Int64) -> pa.ListArray:
    chosen = scores > 0
    of = documents[chosen]
    bounds = np.stack([sentences.starts[chosen], sentences.ends[chosen]], axis=1).ravel()
    points = code_points_at(batch.utf8, batch.offsets, of.repeat(2), bounds).reshape(-1, 2)
    counts = np.bincount(of, minlength=len(batch)).astype(np.int64)
    return spans_column(counts, points[:, 0], points[:, 1], scores[chosen].astype(np.float64))
