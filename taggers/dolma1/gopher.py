"""Dolma 1.x's `gopher_v1` and `gopher_v2`, under their names and with their denominators.

They differ from `gopher`, which follows the paper (Rae et al. 2021, arXiv:2112.11446, table A1):

- n-grams count with all their overlaps: the most common one by occurrences times length, to the code points of all
  words; duplicate ones to the code points of all n-grams. Lengths of 1.2.1 may exceed 1; here they end there.
- Without an n-gram that occurs twice, the most common one has the share 0; in 1.2.1 that of any one.
- Lines are compared as they are, blank ones too; their code points are divided by those of words: at most 1 here.
- A symbol is "#" or "…"; a bullet "*" or "-"; an ellipsis "…" only.
- `gopher_v2` splits lines at runs of newlines.

An n-gram's output is empty with fewer words than that.

Cost: about 200 MB/s of English beside `length`, which shares its words and lines, on one core of a 2-core cloud
machine, 2026-11-23.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Output
from dolma.kernels.dolma1_gopher import line_sums, ngram_fractions, symbol_words
from dolma.kernels.quality import median_word_length, word_sums
from dolma.kernels.repetition import line_copies
from dolma.kernels.views import code_points, line_spans, word_spans
from dolma.taggers.gopher import REQUIRED_WORDS

_NGRAMS = {
    **{f"fraction_of_characters_in_most_common_{n}grams": n for n in (2, 3, 4)},
    **{f"fraction_of_characters_in_duplicate_{n}grams": n for n in range(5, 11)},
}


class GopherV1:
    """Quality and repetition signals of Gopher as Dolma 1.x computes them.

    >>> columns = GopherV1()(TextBatch.of(["a b a b a b"]))
    >>> columns["fraction_of_characters_in_most_common_2grams"].to_pylist(), columns["word_count"].to_pylist()
    ([1.0], [6])
    """

    name = "gopher_v1"
    version = 1
    runs: ClassVar[bool] = False
    languages = "English, for the required words; spaces between words"
    outputs: ClassVar[dict[str, Output]] = {
        **{
            name: DocFloat(
                f"{'the most common' if n <= 4 else 'each repeated'} {n}-gram, overlaps counted each time",
                range="0-1",
            )
            for name, n in _NGRAMS.items()
        },
        "character_count": DocInt("Unicode code points of the text", unit="code points"),
        "word_count": DocInt("maximal runs of non-whitespace", unit="words"),
        "median_word_length": DocFloat("median length of a word", unit="code points", range=">= 0"),
        "symbol_to_word_ratio": DocFloat("words with '#' or '…' to words", range="0-1"),
        "fraction_of_words_with_alpha_character": DocFloat("words with at least one letter", range="0-1"),
        "required_word_count": DocInt("occurrences of the, be, to, of, and, that, have, with", unit="words"),
        "fraction_of_lines_starting_with_bullet_point": DocFloat("lines that begin with '*' or '-'", range="0-1"),
        "fraction_of_lines_ending_with_ellipsis": DocFloat("lines that end with '…'", range="0-1"),
        "fraction_of_duplicate_lines": DocFloat("lines that occur twice, blank ones too", range="0-1"),
        "fraction_of_characters_in_duplicate_lines": DocFloat("of those in words; at most 1", range="0-1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        words, lines = batch.view(word_spans), batch.view(line_spans)
        characters, alpha, _, required, _ = word_sums(words, vocabulary=REQUIRED_WORDS).T
        n_lines, bullets, ellipses, repeated, repeated_characters = line_sums(
            batch.utf8, batch.offsets, lines, batch.view(line_copies, line_spans), runs=self.runs
        ).T
        fractions = ngram_fractions(words)
        n_words = np.maximum(words.per_document(), 1)
        empty = batch.n_bytes == 0
        return {
            **{name: pa.array(fractions[:, n - 2], from_pandas=True) for name, n in _NGRAMS.items()},
            "character_count": pa.array(batch.view(code_points)),
            "word_count": pa.array(words.per_document()),
            "median_word_length": pa.array(median_word_length(words)),
            "symbol_to_word_ratio": pa.array(symbol_words(batch.utf8, words) / n_words),
            "fraction_of_words_with_alpha_character": pa.array(alpha / n_words),
            "required_word_count": pa.array(required),
            "fraction_of_lines_starting_with_bullet_point": pa.array(bullets / n_lines),
            "fraction_of_lines_ending_with_ellipsis": pa.array(ellipses / n_lines),
            "fraction_of_duplicate_lines": pa.array(np.where(empty, 0.0, repeated / n_lines)),
            "fraction_of_characters_in_duplicate_lines": pa.array(
                np.minimum(repeated_characters / np.maximum(characters, 1), 1.0)
            ),
        }


class GopherV2(GopherV1):
    """As `gopher_v1`, but lines are split at runs of newlines.

    >>> columns = GopherV2()(TextBatch.of(["a\\n\\n\\nb"]))
    >>> columns["fraction_of_duplicate_lines"].to_pylist()
    [0.0]
    """

    name = "gopher_v2"
    runs = True
