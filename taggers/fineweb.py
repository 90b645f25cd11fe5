"""FineWeb's quality measures (Penedo et al. 2024, arXiv:2406.17557, section 3.6), as datatrove computes them.

The four numbers that datatrove 0.10's `FineWebQualityFilter` compares with its thresholds, under the names by which it
gives its reasons; so FineWeb's thresholds mean the same here: keep `line_punct_ratio >= 0.12`, `short_line_ratio <=
0.67`, `char_dup_ratio <= 0.01`, `new_line_ratio <= 0.3`.

- A line lies between two "\\n" and is taken with the whitespace at its ends; blank lines are left out, here and in all
  denominators. A line ends in punctuation if its very last code point is one of the 159 of datatrove: those that
  Unicode calls Sentence_Terminal. Whitespace or a quotation mark after it, or "\\r", makes it another.
- A short line has at most 30 code points.
- Repeated characters are those of all occurrences of a line but the first, divided by the code points of the text
  without "\\n". (Gopher's counts the first as well.)
- Newlines are divided by tokens, of which punctuation has its own. datatrove counts those of spaCy's English pipeline;
  ours come from a few rules that agree to 0.1 % on prose and 1 % on others: `dolma/kernels/english_tokens.py`. The
  other three numbers are exactly datatrove's.

Where datatrove refuses a text for having no line at all, or fails by dividing by zero, the value is null; a rule then
says what becomes of it.

Cost: about 450 MB/s of text beyond the words and lines that other taggers share, 200 MB/s alone, on one core of a
2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat
from dolma.kernels.english_tokens import english_token_spans, english_tokens
from dolma.kernels.line_quality import line_sums
from dolma.kernels.repetition import line_copies
from dolma.kernels.sentences import terminal_punctuation
from dolma.kernels.views import Int64, code_points, line_spans, word_spans

SHORT = 30


class FineWeb:
    """How many lines end in punctuation, are short or repeated, and how many newlines there are to a token.

    >>> columns = FineWeb()(TextBatch.of(["One sentence that is long enough.\\nshort"]))
    >>> {name: column.to_pylist() for name, column in columns.items()}
    {'line_punct_ratio': [0.5], 'short_line_ratio': [0.5], 'char_dup_ratio': [0.0], 'new_line_ratio': [0.125]}
    """

    name = "fineweb"
    version = 1
    languages = "any; tokens are those of English"
    outputs = {
        "line_punct_ratio": DocFloat("lines that end in terminal punctuation, of those not blank", range="0-1"),
        "short_line_ratio": DocFloat(f"lines of at most {SHORT} code points, of those not blank", range="0-1"),
        "char_dup_ratio": DocFloat("code points in lines that occurred before, of all but newlines", range="0-1"),
        "new_line_ratio": DocFloat("newlines to tokens, punctuation being tokens", range=">= 0"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, null for texts of whitespace alone."""
        lines = batch.view(line_spans)
        copies = batch.view(line_copies, line_spans)
        sums = line_sums(batch.utf8, lines, copies, endings=terminal_punctuation(), short=SHORT)
        n_lines, ended, short, repeated = sums.T
        newlines = _newlines(batch, lines.per_document())
        return {
            "line_punct_ratio": _ratio(ended, n_lines),
            "short_line_ratio": _ratio(short, n_lines),
            "char_dup_ratio": _ratio(repeated, np.where(n_lines > 0, batch.view(code_points) - newlines, 0)),
            "new_line_ratio": _ratio(newlines, _tokens(batch)),
        }


def _tokens(batch: TextBatch) -> Int64:
    """The tokens of each document; those that another tagger has asked for, if any."""
    spans = batch.found(english_token_spans)
    return english_tokens(batch.utf8, batch.view(word_spans)) if spans is None else spans.per_document()


def _newlines(batch: TextBatch, n_lines: Int64) -> Int64:
    """The newlines of each document: as many as lines, less one where the last line has none."""
    ends = batch.offsets[1:]
    last = np.zeros(len(batch), dtype=np.uint8)
    whole = batch.n_bytes > 0
    last[whole] = batch.utf8[ends[whole] - 1]
    return n_lines - (whole & (last != ord("\n")))


def _ratio(part: Int64, whole: Int64) -> pa.Array:
    """`part / whole`, null where there is no whole."""
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)
