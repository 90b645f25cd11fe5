"""Gopher's quality and repetition measures as DCLM computes them (Li et al. 2024, arXiv:2406.11794, appendix).

The numbers that the filters of DCLM-baseline compare with their thresholds; keep

- `words` from 50 to 100,000, `word_length` from 3 to 10, `symbol_ratio` <= 0.1, `bullet_ratio` <= 0.9,
  `ellipsis_ratio` <= 0.3, `non_alphabetic_ratio` <= 0.2, `stop_words` >= 2;
- `repeated_lines` and `repeated_paragraphs` <= 0.3, `repeated_line_characters` and `repeated_paragraph_characters` <=
  0.2, `most_common_2gram` <= 0.2, `most_common_3gram` <= 0.18, `most_common_4gram` <= 0.16, `repeated_5grams` <= 0.15,
  and 0.01 less for each further word to 0.1 for `repeated_10grams`.

What is counted and divided by:

- Words of the page's length and of n-grams are segments of UAX #29 (as uniseg 0.10 has them) that begin with a letter
  or digit; of everything else, runs of non-whitespace.
- Symbols: "#", "...", ". . .", "…", all occurrences added up, to words.
- Lines lie between newlines, paragraphs between two newlines; whitespace at both ends is taken off, blank ones do not
  count. Bullets: ● • * -. An ellipsis at the end: "...", ". . .", "…".
- Stop words: occurrences of the, be, to, of, and, that, have, with in either case; `distinct_stop_words` how many of
  the eight (DCLM's option `count_unique`).
- Of a line or paragraph that occurs twice all occurrences count, the first too.
- The most common n-gram: of those with the highest count the longest, times the count, overlaps twice, to the
  characters of all words; so it may exceed 1. Words under n-grams that repeat count once. 0 where none occurs twice.

DCLM drops a text without lines; the values are null then, and the ratios to words where there are no words.

Cost: about 65 MB/s of text on one core of a shared 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt
from dolma.kernels.dclm import (
    alnum_segments,
    ngram_shares,
    paragraphs_of,
    spaced_ellipses,
    stop_word_counts,
)
from dolma.kernels.quality import line_marks, word_sums
from dolma.kernels.repetition import LONGEST, duplicate_fractions
from dolma.kernels.symbols import symbol_counts
from dolma.kernels.views import Int64, Words, line_spans, word_spans
from dolma.taggers.dolma1.segments import segments

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = "●•*-"

_NGRAMS = {n: f"most_common_{n}gram" if n <= 4 else f"repeated_{n}grams" for n in range(2, LONGEST + 1)}


class GopherDclm:
    """Gopher's measures with DCLM's words, lines and denominators.

    >>> columns = GopherDclm()(TextBatch.of(["The cat (the hat) . . .\\n\\nThe cat (the bat) . . ."]))
    >>> columns["words"].to_pylist(), columns["symbol_ratio"].to_pylist(), columns["most_common_3gram"].to_pylist()
    ([8], [0.14285714285714285], [0.75])
    """

    name = "gopher_dclm"
    version = 1
    languages = "English, for stop words; any, for the rest"
    outputs = {
        "words": DocInt("segments that begin with a letter or digit", unit="words"),
        "word_length": DocFloat("mean length of what whitespace divides; null without", unit="code points"),
        "symbol_ratio": DocFloat("'#', '...', '. . .' and '…' to words; null without words", range=">= 0"),
        "bullet_ratio": DocFloat("lines that begin with ● • * or -; null without lines", range="0-1"),
        "ellipsis_ratio": DocFloat("lines that end in '...', '. . .' or '…'; null without lines", range="0-1"),
        "non_alphabetic_ratio": DocFloat("words without a letter; null without words", range="0-1"),
        "stop_words": DocInt("occurrences of the, be, to, of, and, that, have, with", unit="words"),
        "distinct_stop_words": DocInt("how many of these eight occur", range="0-8"),
        "repeated_lines": DocFloat("lines that occur at least twice; null without lines", range="0-1"),
        "repeated_line_characters": DocFloat("characters of these, of those of lines; null without", range="0-1"),
        "repeated_paragraphs": DocFloat("paragraphs that occur at least twice; null without", range="0-1"),
        "repeated_paragraph_characters": DocFloat("characters of these, of those of paragraphs; null without"),
        **{
            name: DocFloat(f"characters of the most common {n}-gram, of those of words", range=">= 0")
            if n <= 4
            else DocFloat(f"characters under {n}-grams that occur at least twice, of those of words", range="0-1")
            for n, name in _NGRAMS.items()
        },
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        words = batch.view(word_spans)
        n_words = words.per_document()
        characters, alpha, *_ = word_sums(words).T
        stop_words, distinct = stop_word_counts(batch.utf8, words, STOP_WORDS).T
        segmented = batch.view(uniseg_words)
        shares = ngram_shares(segmented)
        return {
            "words": pa.array(segmented.per_document()),
            "word_length": _ratio(characters, n_words),
            "symbol_ratio": _ratio(batch.view(symbol_counts).sum(axis=1), n_words),
            "non_alphabetic_ratio": _ratio(n_words - alpha, n_words),
            "stop_words": pa.array(stop_words),
            "distinct_stop_words": pa.array(distinct),
            **_of_lines(batch),
            **{name: pa.array(shares[:, n - 2]) for n, name in _NGRAMS.items()},
        }


def uniseg_words(utf8: npt.NDArray[np.uint8], offsets: Int64) -> Words:
    """The word segments of each document that begin with a letter or digit. Meant for `TextBatch.view`.

    >>> words = uniseg_words(np.frombuffer(b"can't (32.3)", np.uint8), np.array([0, 12]))
    >>> words.starts.tolist(), words.ends.tolist()
    ([0, 7], [5, 11])
    """
    return alnum_segments(utf8, offsets, segments())


def _of_lines(batch: TextBatch) -> Columns:
    lines = batch.view(line_spans)
    n_lines, bullets, ellipses = line_marks(batch.utf8, lines, bullets=BULLETS).T
    columns = {
        "bullet_ratio": _ratio(bullets, n_lines),
        "ellipsis_ratio": _ratio(ellipses + spaced_ellipses(batch.utf8, lines), n_lines),
    }
    for unit, blocks in (("line", lines), ("paragraph", paragraphs_of(batch.utf8, lines))):
        shares = duplicate_fractions(batch.utf8, blocks)
        columns[f"repeated_{unit}s"] = pa.array(shares[:, 0], mask=n_lines == 0)
        columns[f"repeated_{unit}_characters"] = pa.array(shares[:, 1], mask=n_lines == 0)
    return columns


def _ratio(part: Int64, whole: Int64) -> pa.Array:
    """`part / whole`, null where there is no whole."""
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)
