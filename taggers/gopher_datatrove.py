"""Gopher's quality and repetition measures as datatrove 0.10 computes them, for FineWeb's thresholds.

The numbers that datatrove's `GopherQualityFilter` and `GopherRepetitionFilter` compare with thresholds, named after its
parameters and reasons. FineWeb (Penedo et al. 2024, arXiv:2406.17557, appendix) uses both with their defaults,
which are those of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1): keep

- `words` from 50 to 100,000, `avg_word_length` from 3 to 10, `hash_word_ratio` and `ellipsis_word_ratio` <= 0.1,
  `bullet_lines_ratio` <= 0.9, `ellipsis_lines_ratio` <= 0.3, `alpha_words_ratio` >= 0.8, `stop_words` >= 2;
- `dup_line_frac` and `dup_para_frac` <= 0.3, `dup_line_char_frac` and `dup_para_char_frac` <= 0.2, `top_2_gram` <= 0.2,
  `top_3_gram` <= 0.18, `top_4_gram` <= 0.16, `duplicated_5_n_grams` <= 0.15, and 0.01 less for each further token to
  0.1 for `duplicated_10_n_grams`.

What is counted and divided by, where the paper leaves it open (`gopher` has other answers):

- Tokens are those of English, punctuation apart: `dolma/kernels/english_tokens.py`, an approximation of spaCy's. All
  that is not of lines or paragraphs depends on it. `words` and `avg_word_length` are of tokens that are not only marks;
  hash marks, ellipses ("...", "…", wherever they stand) and tokens with a letter are divided by all tokens.
- Stop words: how many different ones of the, be, to, of, and, that, have, with are tokens, spelled just so.
- Bullets (•, -) and ellipses at the end are of lines as `str.splitlines` has them, blank ones too.
- Repeated lines lie between runs of newlines, paragraphs between runs of two or more. The first occurrence does not
  count. Their code points are divided by those of the whole text, whitespace included, as are those of n-grams.
- The most frequent n-gram (of equals the first) has spaces between its tokens; all its occurrences count, overlaps
  twice, so the share may exceed 1. It may occur only once: then a short text has a high share.
- Repeated n-grams of five tokens and more are found by reading on: one that was read before counts, without spaces, and
  reading goes on behind it.

A text with fewer than n tokens has 0 for n-grams, as it passes there. Where datatrove would divide by zero (no token,
no line, an empty text) the value is null.

Cost: about 70 MB/s of text on one core of a shared 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt
from dolma.kernels.c4 import split_lines
from dolma.kernels.datatrove import line_marks, ngram_characters, repeated_lines, repeated_paragraphs, token_sums
from dolma.kernels.english_tokens import english_token_spans
from dolma.kernels.repetition import LONGEST
from dolma.kernels.symbols import DOTS, ELLIPSIS, HASH, symbol_counts
from dolma.kernels.views import Int64, code_points, line_spans

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

_NGRAMS = {n: f"top_{n}_gram" if n <= 4 else f"duplicated_{n}_n_grams" for n in range(2, LONGEST + 1)}


class GopherDatatrove:
    """Gopher's measures with datatrove's words, lines and denominators.

    >>> columns = GopherDatatrove()(TextBatch.of(["- the cat, the hat ...\\n- the cat, the bat ..."]))
    >>> columns["words"].to_pylist(), columns["ellipsis_word_ratio"].to_pylist(), columns["top_3_gram"].to_pylist()
    ([8], [0.14285714285714285], [0.4])
    """

    name = "gopher_datatrove"
    version = 1
    languages = "English"
    outputs = {
        "words": DocInt("tokens that are not of punctuation alone", unit="tokens"),
        "avg_word_length": DocFloat("mean length of these; null without", unit="code points", range="> 0"),
        "hash_word_ratio": DocFloat("'#' to tokens; null without tokens", range=">= 0"),
        "ellipsis_word_ratio": DocFloat("'...' and '…' to tokens; null without tokens", range=">= 0"),
        "bullet_lines_ratio": DocFloat("lines that begin with '•' or '-'; null without lines", range="0-1"),
        "ellipsis_lines_ratio": DocFloat("lines that end with '...' or '…'; null without lines", range="0-1"),
        "alpha_words_ratio": DocFloat("tokens with a letter, of all tokens; null without", range="0-1"),
        "stop_words": DocInt("how many of the, be, to, of, and, that, have, with occur", range="0-8"),
        "dup_line_frac": DocFloat("lines that occurred before, of lines between runs of newlines", range="0-1"),
        "dup_para_frac": DocFloat("paragraphs that occurred before", range="0-1"),
        "dup_line_char_frac": DocFloat("characters of lines that occurred before, of all characters", range="0-1"),
        "dup_para_char_frac": DocFloat("characters of paragraphs that occurred before, of all", range="0-1"),
        **{
            name: DocFloat(f"characters of the most frequent {n}-gram of tokens, of all", range=">= 0")
            if n <= 4
            else DocFloat(f"characters of {n}-grams of tokens that occurred before, of all", range="0-1")
            for n, name in _NGRAMS.items()
        },
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        tokens, points = batch.view(english_token_spans), batch.view(code_points)
        n_tokens = tokens.per_document()
        n_words, n_characters, n_alpha, n_stop = token_sums(tokens, vocabulary=STOP_WORDS).T
        symbols, split = batch.view(symbol_counts), batch.view(split_lines)
        n_lines, (bullets, ended) = split.per_document(), line_marks(batch.utf8, split).T
        lines = batch.view(line_spans)
        of_lines = repeated_lines(batch.utf8, batch.offsets, lines)
        of_paragraphs = repeated_paragraphs(batch.utf8, batch.offsets, lines)
        repeated = np.maximum(ngram_characters(tokens), 0)
        return {
            "words": pa.array(n_words),
            "avg_word_length": _ratio(n_characters, n_words),
            "hash_word_ratio": _ratio(symbols[:, HASH], n_tokens),
            "ellipsis_word_ratio": _ratio(symbols[:, DOTS] + symbols[:, ELLIPSIS], n_tokens),
            "bullet_lines_ratio": _ratio(bullets, n_lines),
            "ellipsis_lines_ratio": _ratio(ended, n_lines),
            "alpha_words_ratio": _ratio(n_alpha, n_tokens),
            "stop_words": pa.array(n_stop),
            "dup_line_frac": _ratio(of_lines[:, 1], of_lines[:, 0]),
            "dup_para_frac": _ratio(of_paragraphs[:, 1], of_paragraphs[:, 0]),
            "dup_line_char_frac": _ratio(of_lines[:, 2], points),
            "dup_para_char_frac": _ratio(of_paragraphs[:, 2], points),
            **{name: _ratio(repeated[:, n - 2], points) for n, name in _NGRAMS.items()},
        }


def _ratio(part: Int64, whole: Int64) -> pa.Array:
    """`part / whole`, null where there is no whole."""
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)
