"""RedPajama-v2's quality signals (Weber et al. 2024, arXiv:2411.12372, appendix), by their names.

Thresholds of recipes for RedPajama-v2 mean the same here. It has two kinds of words:

- *Raw* words are runs of letters, digits and underscores, and runs of other characters that are not whitespace:
  `\\w+|[^\\w\\s]+`. "don't" has three.
- *Normalized* words are what whitespace divides after ASCII punctuation is removed and letters are made lower case and
  decomposed (NFD); so "É" is two code points, "don't" is `dont`, and "--" is none.

A line ends with its newline, which belongs to it, or with the text; blank lines are lines. For each of them RedPajama
has one value; here a document has their mean (`rps_lines_javascript_counts`: their sum), which is what recipes compute.

What differs: letters are made lower case one by one (a capital sigma at a word's end is "σ") and marks that stand in
another than the canonical order stay so, which may tell two spellings of one word apart; values are not rounded to
eight decimals; stop words are English. Where RedPajama has no value, it is null.

Signals of RedPajama-v2 that other taggers have: `rps_doc_frac_chars_dupe_*grams`, `rps_doc_frac_chars_top_*gram` (like
`gopher`), `rps_doc_ldnoobw_words` (like `c4_v2`), `rps_doc_ut1_blacklist` (`url_list`), and `ccnet_*` (`language`,
`length`).

Cost: about 90 MB/s of text on one core of a 2-core cloud machine, 2026-11-24.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt
from dolma.kernels.redpajama import redpajama_sums
from dolma.kernels.reference.redpajama import SHARES, SUMS
from dolma.kernels.views import code_points
from dolma.taggers.lists.stop_words import ENGLISH

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.float64]


class RedPajama:
    """RedPajama-v2's signals of natural language, content and lines.

    >>> columns = RedPajama()(TextBatch.of(["Do NOT stop. Do not."]))
    >>> columns["rps_doc_frac_unique_words"].to_pylist(), columns["rps_doc_num_sentences"].to_pylist()
    ([0.6], [2])
    """

    name = "redpajama"
    version = 1
    languages = "spaces between words; stop words are English, the alphabet of `rps_doc_frac_no_alph_words` A to Z"
    outputs = {
        "rps_doc_word_count": DocInt("normalized words", unit="words"),
        "rps_doc_mean_word_length": DocFloat("mean length of a normalized word", unit="code points", range="> 0"),
        "rps_doc_num_sentences": DocInt("stretches between . ! ? with a letter, digit or underscore", unit="sentences"),
        "rps_doc_symbol_to_word_ratio": DocFloat("occurrences of #, ... and … to raw words", range=">= 0"),
        "rps_doc_frac_lines_end_with_ellipsis": DocFloat("lines that end in ... or …, of all", range="0-1"),
        "rps_doc_frac_no_alph_words": DocFloat("raw words without one of A-Z and a-z", range="0-1"),
        "rps_doc_frac_unique_words": DocFloat("different normalized words to all", range="0-1"),
        "rps_doc_unigram_entropy": DocFloat("of the frequencies of normalized words", unit="nats", range=">= 0"),
        "rps_doc_frac_all_caps_words": DocFloat("raw words in upper case", range="0-1"),
        "rps_doc_stop_word_fraction": DocFloat("raw words that are English stop words, of all", range="0-1"),
        "rps_doc_lorem_ipsum": DocFloat("'lorem ipsum' to the characters of the normalized text", range="0-1"),
        "rps_doc_curly_bracket": DocFloat("{ and } to all characters", range="0-1"),
        "rps_lines_num_words": DocFloat("normalized words to lines", unit="words", range=">= 0"),
        "rps_lines_javascript_counts": DocInt("normalized words 'javascript', in all lines", unit="words"),
        "rps_lines_ending_with_terminal_punctution_mark": DocFloat("lines that end in one of . ! ? ”", range="0-1"),
        "rps_lines_start_with_bulletpoint": DocFloat("lines that begin with one of • ‣ ▶ ◀ ◦ ■ □ ▪ ▫ –", range="0-1"),
        "rps_lines_uppercase_letter_fraction": DocFloat("mean share of capitals in a line", range="0-1"),
        "rps_lines_numerical_chars_fraction": DocFloat("mean share of digits in a normalized line", range="0-1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        counts, sums = redpajama_sums(batch.utf8, batch.offsets, stop_words=ENGLISH)
        n = dict(zip(SUMS, counts.T, strict=True))
        of = dict(zip(SHARES, sums.T, strict=True))
        no_words = n["words"] == 0
        normalized = n["word_characters"] + n["words"] - 1
        return {
            "rps_doc_word_count": pa.array(n["words"]),
            "rps_doc_mean_word_length": _ratio(n["word_characters"], n["words"]),
            "rps_doc_num_sentences": pa.array(n["sentences"]),
            "rps_doc_symbol_to_word_ratio": _ratio(n["symbols"], n["raw_words"]),
            "rps_doc_frac_lines_end_with_ellipsis": _ratio(n["ellipsis_lines"], n["lines"]),
            "rps_doc_frac_no_alph_words": _ratio(n["no_alph_words"], n["raw_words"]),
            "rps_doc_frac_unique_words": _ratio(n["unique_words"], n["words"]),
            "rps_doc_unigram_entropy": pa.array(of["unigram_entropy"], mask=no_words),
            "rps_doc_frac_all_caps_words": _ratio(n["all_caps_words"], n["raw_words"]),
            "rps_doc_stop_word_fraction": pa.array(n["stop_words"] / np.maximum(n["raw_words"], 1)),
            "rps_doc_lorem_ipsum": pa.array(n["lorem_ipsum"] / np.maximum(normalized, 1)),
            "rps_doc_curly_bracket": pa.array(n["curly_brackets"] / np.maximum(batch.view(code_points), 1)),
            "rps_lines_num_words": _ratio(n["words"], n["lines"]),
            "rps_lines_javascript_counts": pa.array(n["javascript"]),
            "rps_lines_ending_with_terminal_punctution_mark": _ratio(n["terminal_lines"], n["lines"]),
            "rps_lines_start_with_bulletpoint": _ratio(n["bullet_lines"], n["lines"]),
            "rps_lines_uppercase_letter_fraction": _ratio(of["uppercase"], n["lines"]),
            "rps_lines_numerical_chars_fraction": _ratio(of["numerical"], n["lines"]),
        }


def _ratio(part: Numbers, whole: npt.NDArray[np.int64]) -> pa.Array:
    """`part / whole`, null where there is no whole."""
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)
