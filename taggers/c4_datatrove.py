"""C4's rules for lines and pages (Raffel et al. 2020, arXiv:1910.10683, section 2.2) as datatrove 0.10 reads them.

What datatrove's `C4QualityFilter` and `C4BadWordsFilter` find, as spans and counts. datatrove removes lines, and drops
a page for one that has "lorem ipsum" or "{" when it gets that far, or if fewer than five sentences remain: keep
`lorem_ipsum = 0`, `curly_bracket = 0`, `sentences >= 5`. FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.5)
leaves out the rule of terminal punctuation, with the option `terminal_punct: false`, and does not use bad words.

- A line is one of `str.splitlines`, without the whitespace at both ends. Spans hold what ends the line.
- First of all a line with a word of more than 1000 code points goes. Then citations ("[12]", "[]", "[edit]", "[citation
  needed]") are taken out, and the line is not stripped again: "End. [1]" does not end in a full stop.
- Terminal punctuation: `. ? ! " '`, but not "...". Too few words: fewer than three, counted before citations went.
- javascript, policy ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use
  cookies"), lorem ipsum: anywhere in the lower-cased line.
- Spans say of every line which rules hold, whatever other rules say. `lorem_ipsum`, `curly_bracket`, `kept_lines` and
  `sentences` are of lines that rules before have left: long word, terminal punctuation (unless the option is off), few
  words, lorem ipsum, javascript, curly bracket, policy, in this order.
- Sentences are those of spaCy's sentencizer over tokens of English: `dolma/kernels/english_tokens.py`.
- Bad words: of the lists of LDNOOBW in the languages of the option `languages`, between characters that are neither
  letter, digit nor "_"; in Japanese, Thai and Chinese, which have no spaces, anywhere, also within another word. "sm",
  "グロ", "女の子" and "性" do not count in any language: they alone are in a tenth of all pages of theirs. The text is
  lower-cased and the lists are not, so entries with a capital letter (61 of 68 in Spanish, 11 of 142 in Turkish, 7 of
  319 in Chinese) never match, as in datatrove and mC4. "İ" and the Kelvin sign have no lower case here.

Cost: about 70 MB/s of text on one core of a shared 2-core cloud machine, tokens included, 2026-11-26.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch, offsets_of
from dolma.data.columns import Columns, DocInt, Spans, spans_column
from dolma.kernels.c4 import (
    Bools,
    Brackets,
    brackets,
    ends_of_sentence,
    longest_words,
    sentence_counts,
    split_lines,
)
from dolma.kernels.english_tokens import english_token_spans
from dolma.kernels.line_quality import first_words, has_bytes
from dolma.kernels.phrases import (
    ANYWHERE,
    BETWEEN_WORDS,
    Occurrences,
    Phrases,
    lowered,
    lowered_text,
    occurrences,
    phrases_of,
)
from dolma.kernels.reference.c4 import CITATION, POLICIES
from dolma.kernels.views import Blocks, Int64, code_points_at
from dolma.taggers.lists import naughty_words

WITHOUT_SPACES = frozenset(["ja", "th", "zh"])
ALLOWED = frozenset(["sm", "グロ", "女の子", "性"])
_MIN_WORDS, _MAX_WORD_LENGTH = 3, 1000
_LOREM_IPSUM, _JAVASCRIPT, _POLICY, _BAD = range(4)
_LINE_RULES = {
    "no_terminal_punct_lines": "lines that do not end in . ? ! \" or ', or that end in ...",
    "too_few_words_lines": "lines of at most two words",
    "too_long_word_lines": "lines with a word of more than 1000 code points; its length",
    "javascript_lines": "lines with 'javascript'",
    "policy_lines": "lines with 'terms of use', 'privacy policy', 'use cookies' and the like",
    "lorem_ipsum_lines": "lines with 'lorem ipsum'",
    "curly_bracket_lines": "lines with '{'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is true of each line: bool, shape `(n_lines,)`; `sentences`: int64."""

    ended: Bools
    lorem_ipsum: Bools
    javascript: Bools
    policy: Bools
    curly: Bools
    sentences: Int64


class C4Datatrove:
    """Lines that C4's rules remove, citations, bad words, and how much remains.

    >>> columns = C4Datatrove()(TextBatch.of(["Two words.\\nThis is one. This is two.\\nPlease enable Javascript!\\n"]))
    >>> columns["too_few_words_lines"].to_pylist(), columns["sentences"].to_pylist()
    ([[{'start': 0, 'end': 11, 'score': 1.0}]], [2])
    """

    name = "c4_datatrove"
    version = 1
    languages = "English; 28 for bad words, with the option `languages`"
    outputs = {
        **{name: Spans(meaning, range="> 1000" if "long" in name else "1") for name, meaning in _LINE_RULES.items()},
        "citations": Spans('"[12]", "[]", "[edit]", "[citation needed]"', range="1"),
        "bad_word_spans": Spans("words and phrases of the lists of bad words", range="1"),
        "bad_words": DocInt("how many of these there are"),
        "lines": DocInt("all lines, blank ones too", unit="lines"),
        "kept_lines": DocInt("lines that no rule removes", unit="lines"),
        "sentences": DocInt("sentences in the lines that no rule removes", unit="sentences"),
        "lorem_ipsum": DocInt("lines with 'lorem ipsum' that rules before have left", unit="lines"),
        "curly_bracket": DocInt("lines with '{' that rules before have left", unit="lines"),
    }

    def __init__(self, *, languages: Sequence[str] = ("en",), terminal_punct: bool = True) -> None:
        """Say whose bad words to find, and whether lines without terminal punctuation count as removed.

        Raises:
            ConfigError: no list for a language.
        """
        self._phrases, self._kinds, self._lower = _entries(tuple(languages))
        self._terminal_punct = terminal_punct

    def __call__(self, batch: TextBatch) -> Columns:
        """Spans and counts per document, in batch order."""
        lines = batch.view(split_lines)
        found = self._occurrences(batch.utf8, batch.offsets)
        marks = brackets(batch.utf8, batch.offsets)
        facts = self._facts(batch, lines, found, marks)
        words = first_words(batch.utf8, lines, most=_MIN_WORDS)
        longest = longest_words(batch.utf8, lines.text_starts, lines.text_ends, beyond=_MAX_WORD_LENGTH)
        rules = {
            "no_terminal_punct_lines": ~facts.ended,
            "too_few_words_lines": words < _MIN_WORDS,
            "too_long_word_lines": longest > 0,
            "javascript_lines": facts.javascript,
            "policy_lines": facts.policy,
            "lorem_ipsum_lines": facts.lorem_ipsum,
            "curly_bracket_lines": facts.curly,
        }
        scores = {"too_long_word_lines": longest}
        bad = self._kinds[found.entries] == _BAD
        return {
            **_line_spans(batch, lines, rules, scores),
            "citations": _spans(batch, marks.documents, marks.starts, marks.ends, ~marks.curly),
            "bad_word_spans": _spans(batch, found.documents, found.starts, found.ends, bad),
            "bad_words": pa.array(np.bincount(found.documents[bad], minlength=len(batch))),
            "lines": pa.array(lines.per_document()),
            **self._remaining(lines, facts, (longest == 0) & (words >= _MIN_WORDS)),
        }

    def _occurrences(self, utf8: npt.NDArray[np.uint8], offsets: Int64) -> Occurrences:
        return occurrences(lowered(utf8, offsets) if self._lower else utf8, offsets, self._phrases)

    def _facts(self, batch: TextBatch, lines: Blocks, found: Occurrences, marks: Brackets) -> _Facts:
        tokens = batch.view(english_token_spans)
        facts = self._facts_of(
            batch.utf8, lines.text_starts, lines.text_ends, found, marks,
            sentence_counts(tokens, lines.text_starts, lines.text_ends),
        )  # fmt: skip
        changed = np.zeros(len(lines.starts), dtype=np.bool_)
        changed[_of_lines(lines.starts, marks.starts[~marks.curly])] = True
        kelvin = np.flatnonzero(has_bytes(batch.utf8, batch.offsets, b"\x84\xaa"))
        for doc in kelvin.tolist():
            changed[lines.index[doc] : lines.index[doc + 1]] = True
        at = np.flatnonzero(changed)
        if len(at):
            self._read_again(batch, lines, facts, at)
        return facts

    def _read_again(self, batch: TextBatch, lines: Blocks, facts: _Facts, at: Int64) -> None:
        """Set what is true of these lines without their citations, and with the Kelvin sign as a "k"."""
        spans = zip(lines.text_starts[at].tolist(), lines.text_ends[at].tolist(), strict=True)
        texts = [batch.utf8[start:end].tobytes().decode() for start, end in spans]
        encoded = [CITATION.sub("", text).replace("\u212a", "k").encode() for text in texts]
        utf8, offsets = np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of(encoded)
        starts, ends = offsets[:-1], offsets[1:]
        again = self._facts_of(
            utf8, starts, ends, self._occurrences(utf8, offsets), brackets(utf8, offsets),
            sentence_counts(english_token_spans(utf8, offsets), starts, ends),
        )  # fmt: skip
        for name in _Facts.__slots__:
            getattr(facts, name)[at] = getattr(again, name)

    def _facts_of(
        self,
        utf8: npt.NDArray[np.uint8],
        starts: Int64,
        ends: Int64,
        found: Occurrences,
        marks: Brackets,
        sentences: Int64,
    ) -> _Facts:
        kinds = self._kinds[found.entries]
        held = {kind: _with(starts, found.starts[kinds == kind]) for kind in (_LOREM_IPSUM, _JAVASCRIPT, _POLICY)}
        return _Facts(
            ended=ends_of_sentence(utf8, starts, ends),
            lorem_ipsum=held[_LOREM_IPSUM],
            javascript=held[_JAVASCRIPT],
            policy=held[_POLICY],
            curly=_with(starts, marks.starts[marks.curly]),
            sentences=sentences,
        )

    def _remaining(self, lines: Blocks, facts: _Facts, left: Bools) -> Columns:
        """What remains when the rules have been applied one after the other to the lines that are left."""
        if self._terminal_punct:
            left = left & facts.ended
        without_script = left & ~facts.javascript
        kept = without_script & ~facts.policy
        sums = {
            "kept_lines": kept,
            "sentences": np.where(kept, facts.sentences, 0),
            "lorem_ipsum": left & facts.lorem_ipsum,
            "curly_bracket": without_script & facts.curly,
        }
        return {name: pa.array(_per_document(values, lines.index)) for name, values in sums.items()}


@functools.cache
def _entries(languages: tuple[str, ...]) -> tuple[Phrases, Int64, bool]:
    """What to find, what each is, and whether letters beyond ASCII need lower case."""
    borders: dict[str, int] = {}
    for language in languages:
        border = ANYWHERE if language in WITHOUT_SPACES else BETWEEN_WORDS
        for word in naughty_words(language):
            if word == lowered_text(word) and word not in ALLOWED:
                borders[word] = min(border, borders.get(word, border))
    kinds = {"lorem ipsum": _LOREM_IPSUM, "javascript": _JAVASCRIPT, **dict.fromkeys(POLICIES, _POLICY)}
    entries = [*((text, ANYWHERE) for text in kinds), *borders.items()]
    return (
        phrases_of(entries),
        np.array([*kinds.values(), *[_BAD] * len(borders)], dtype=np.int64),
        any(not word.isascii() and word.upper() != word for word in borders),
    )


def _of_lines(starts: Int64, positions: Int64) -> Int64:
    """The line of each position."""
    return np.searchsorted(starts, positions, side="right") - 1


def _with(starts: Int64, positions: Int64) -> Bools:
    """Whether a line has one of the positions."""
    held = np.zeros(len(starts), dtype=np.bool_)
    held[_of_lines(starts, positions)] = True
    return held


def _per_document(values: npt.NDArray[Any], index: Int64) -> Int64:
    """The sum of the values of each document's lines."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return np.diff(sums[index])


def _line_spans(
    batch: TextBatch, lines: Blocks, rules: dict[str, Bools], scores: dict[str, Int64]
) -> dict[str, pa.ListArray]:
    """The lines for which each rule holds, each with what ends it."""
    documents = np.repeat(np.arange(len(batch)), lines.per_document())
    at = np.flatnonzero(np.any(list(rules.values()), axis=0))
    ends = np.append(lines.starts[1:], len(batch.utf8))[at]
    ends = np.minimum(ends, batch.offsets[documents[at] + 1])
    bounds = np.stack([lines.starts[at], ends], axis=1).ravel()
    points = np.empty((2, len(documents)), dtype=np.int64)
    points[:, at] = code_points_at(batch.utf8, batch.offsets, documents[at].repeat(2), bounds).reshape(-1, 2).T
    columns = {}
    for name, holds in rules.items():
        score = scores.get(name, np.ones(len(holds)))[holds].astype(np.float64)
        columns[name] = spans_column(_per_document(holds, lines.index), points[0, holds], points[1, holds], score)
    return columns


def _spans(batch: TextBatch, documents: Int64, starts: Int64, ends: Int64, chosen: Bools) -> pa.ListArray:
    """Some of the spans, in code points; they may overlap."""
    of = documents[chosen]
    counts = np.bincount(of, minlength=len(batch)).astype(np.int64)
    first, last = (_points_at(batch, of, positions[chosen]) for positions in (starts, ends))
    return spans_column(counts, first, last, np.ones(len(of)))


def _points_at(batch: TextBatch, documents: Int64, positions: Int64) -> Int64:
    order = np.argsort(positions, kind="stable")
    points = np.empty(len(positions), dtype=np.int64)
    points[order] = code_points_at(batch.utf8, batch.offsets, documents[order], positions[order])
    return points
