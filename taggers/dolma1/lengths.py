"""How long a document is, in the units of Dolma 1.x (`python/dolma/taggers/length.py` of 1.2.1).

A paragraph of 1.x is a piece of the text that ends after a "\\n", the "\\n" included; pieces of whitespace alone are
left out unless said otherwise. Scores of paragraphs stand on spans of code points.

- "Whitespace tokens" of 1.x are the pieces left by cutting a text *at* its tokens, so one more than there are tokens,
  one for an empty text too. A token is a run of word characters (letters, marks, digits, connectors, as the `regex`
  library's `\\w`, Unicode 17.0) or a run of anything else that is no White_Space. That is kept: thresholds rest on it.
- Segments are those of UAX #29 (word boundaries, Unicode 16.0, as in uniseg 0.10.1): of a document all of them, spaces
  and punctuation too, of the text without the whitespace at both ends; of a paragraph those that are not blank.

Cost on one core of a 2-core cloud machine, 2026-11-23: tokens and segments about 400 MB/s of English, the rest over
1 GB/s. `dolma/taggers/length.py` has lengths that mean what they say.
"""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocInt, Output, Spans, spans_column
from dolma.kernels.automata import Automaton, automaton, counts_of
from dolma.kernels.code_points import table_of
from dolma.kernels.pieces import Pieces, text_pieces, trimmed_texts
from dolma.kernels.views import Int64, code_points
from dolma.taggers.dolma1.segments import segments
from dolma.taggers.dolma1.unicode_tables import TOKENS


class BytesLengthV1:
    """The bytes of the text in UTF-8.

    >>> BytesLengthV1()(TextBatch.of(["né"]))["bytes"].to_pylist()
    [3]
    """

    name = "bytes_length_v1"
    version = 1
    outputs = {"bytes": DocInt("bytes of the text in UTF-8", unit="bytes")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        return {"bytes": pa.array(batch.n_bytes)}


class DocCountV1:
    """One for each document, so that sums count documents.

    >>> DocCountV1()(TextBatch.of(["a", ""]))["docs"].to_pylist()
    [1, 1]
    """

    name = "doc_count_v1"
    version = 1
    outputs = {"docs": DocInt("always 1", unit="documents", range="1")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        return {"docs": pa.array(np.ones(len(batch), dtype=np.int64))}


class CharLengthV1:
    """The code points of the text.

    >>> CharLengthV1()(TextBatch.of([" né "]))["length"].to_pylist()
    [4]
    """

    name = "char_length_v1"
    version = 1
    outputs = {"length": DocInt("Unicode code points", unit="code points")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        return {"length": pa.array(batch.view(code_points))}


class CharLengthStripWsV1:
    """The code points of the text without the whitespace at both ends.

    >>> CharLengthStripWsV1()(TextBatch.of([" n é "]))["length_no_ws"].to_pylist()
    [3]
    """

    name = "char_length_strip_ws_v1"
    version = 1
    outputs = {"length_no_ws": DocInt("code points between the whitespace at both ends", unit="code points")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        return {"length_no_ws": pa.array(batch.view(trimmed_texts).n_points)}


class CharLengthWithParagraphsV1:
    """The code points of the document and of each paragraph that is not blank.

    >>> columns = CharLengthWithParagraphsV1()(TextBatch.of(["ab\\n\\nc"]))
    >>> columns["document"].to_pylist(), columns["paragraph"].to_pylist()[0][1]
    ([5], {'start': 4, 'end': 5, 'score': 1.0})
    """

    name = "char_length_with_paragraphs_v1"
    version = 1
    outputs = {
        "paragraph": Spans("paragraphs; the score is their code points", range=">= 1"),
        "document": DocInt("Unicode code points", unit="code points"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans and one value per document."""
        pieces = paragraphs(batch)
        spans = piece_spans(pieces, pieces.last_points - pieces.first_points)
        return {"paragraph": spans, "document": pa.array(batch.view(code_points))}


class WhitespaceTokenizerV1:
    """The tokens of the text plus one; a token is a run of word characters or of other characters that are no space.

    >>> WhitespaceTokenizerV1()(TextBatch.of(["a b c", "Well -- no!", ""]))["length"].to_pylist()
    [4, 5, 1]
    """

    name = "whitespace_tokenizer_v1"
    version = 1
    outputs = {"length": DocInt("tokens plus one: the pieces left by cutting at them", unit="pieces", range=">= 1")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        counts = counts_of(batch.utf8, batch.offsets[:-1], batch.offsets[1:], tokens())
        return {"length": pa.array(counts[:, 0] + 1)}


class WhitespaceTokenizerWithParagraphsV1:
    """The tokens plus one of each paragraph that is not blank, and the sum over the document.

    >>> columns = WhitespaceTokenizerWithParagraphsV1()(TextBatch.of(["a b\\n\\nc"]))
    >>> columns["document"].to_pylist(), columns["paragraph"].to_pylist()[0][1]
    ([5], {'start': 5, 'end': 6, 'score': 2.0})
    """

    name = "whitespace_tokenizer_with_paragraphs_v1"
    version = 1
    outputs = {
        "paragraph": Spans("paragraphs; the score is their tokens plus one", range=">= 2"),
        "document": DocInt("the sum over the paragraphs", unit="pieces"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans and one value per document."""
        pieces = paragraphs(batch)
        counts = counts_of(batch.utf8, pieces.starts, pieces.ends, tokens())[:, 0] + 1
        return {"paragraph": piece_spans(pieces, counts), "document": pa.array(pieces.sums(counts))}


class UnisegLengthV1:
    """The word segments of the text without the whitespace at both ends; spaces and punctuation are segments too.

    >>> UnisegLengthV1()(TextBatch.of([" I can't. "]))["length"].to_pylist()
    [4]
    """

    name = "uniseg_length_v1"
    version = 1
    outputs = {"length": DocInt("word segments of Unicode, blank ones too", unit="segments")}

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        trimmed = batch.view(trimmed_texts)
        counts = counts_of(batch.utf8, trimmed.starts, trimmed.ends, segments())
        return {"length": pa.array(counts[:, 0])}


class UnisegLengthParagraphsV1:
    """The word segments that are not blank of each paragraph that is not blank, and the same below zero.

    >>> UnisegLengthParagraphsV1()(TextBatch.of(["I can't.\\n\\n"]))["negative_paragraph"].to_pylist()
    [[{'start': 0, 'end': 9, 'score': -3.0}]]
    """

    name = "uniseg_length_paragraphs_v1"
    version = 1
    outputs: dict[str, Output] = {
        "paragraph": Spans("paragraphs; the score is their segments that are not blank", range=">= 1"),
        "negative_paragraph": Spans("paragraphs; the score is minus their segments", range="<= -1"),
    }
    blank_too = False

    def __call__(self, batch: TextBatch) -> Columns:
        """Two lists of spans per document."""
        return self.columns(*self.counted(batch))

    def counted(self, batch: TextBatch) -> tuple[Pieces, Int64]:
        """The pieces that count, and the segments of each."""
        pieces = batch.view(text_pieces) if self.blank_too else paragraphs(batch)
        return pieces, counts_of(batch.utf8, pieces.starts, pieces.ends, segments())[:, 1]

    def columns(self, pieces: Pieces, counts: Int64) -> Columns:
        """The spans of the pieces with these scores, and with minus these."""
        return {"paragraph": piece_spans(pieces, counts), "negative_paragraph": piece_spans(pieces, -counts)}


class UnisegLengthParagraphsWithEmptyV1(UnisegLengthParagraphsV1):
    """The word segments that are not blank of each paragraph, blank ones too, and the same below zero.

    >>> UnisegLengthParagraphsWithEmptyV1()(TextBatch.of(["\\n"]))["paragraph"].to_pylist()
    [[{'start': 0, 'end': 1, 'score': 0.0}]]
    """

    name = "uniseg_length_paragraphs_with_empty_v1"
    outputs: dict[str, Output] = {
        "paragraph": Spans("paragraphs, blank ones too; the score is their segments that are not blank", range=">= 0"),
        "negative_paragraph": Spans("paragraphs, blank ones too; the score is minus their segments", range="<= 0"),
    }
    blank_too = True


class UnisegLengthParagraphsWithDocLengthV1(UnisegLengthParagraphsV1):
    """The word segments that are not blank of each paragraph and of the document, and the same below zero.

    >>> UnisegLengthParagraphsWithDocLengthV1()(TextBatch.of(["I can't.\\nNo"]))["document"].to_pylist()
    [4]
    """

    name = "uniseg_length_paragraphs_with_doc_length_v1"
    outputs: dict[str, Output] = UnisegLengthParagraphsV1.outputs | {
        "document": DocInt("the sum over the paragraphs", unit="segments"),
        "negative_document": DocInt("minus the sum over the paragraphs", unit="segments", range="<= 0"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """Two lists of spans and two values per document."""
        pieces, counts = self.counted(batch)
        sums = pieces.sums(counts)
        return self.columns(pieces, counts) | {"document": pa.array(sums), "negative_document": pa.array(-sums)}


def paragraphs(batch: TextBatch) -> Pieces:
    """The pieces of a batch that are not blank."""
    pieces = batch.view(text_pieces)
    return pieces.of(~pieces.blank)


def piece_spans(pieces: Pieces, scores: Int64) -> pa.ListArray:
    """The pieces as spans of code points, with these scores."""
    return spans_column(
        pieces.per_document(), pieces.first_points, pieces.last_points, np.asarray(scores, dtype=np.float64)
    )


@functools.cache
def tokens() -> Automaton:
    """Counts the runs of one class other than 0."""

    def step(before: int, cls: int) -> tuple[int, int, int]:
        return cls, int(cls not in (0, before)), 0

    return automaton(table_of(TOKENS), step, start=0, n_classes=3)
