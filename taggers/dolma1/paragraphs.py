"""Paragraphs without a letter or a digit, as Dolma 1.x finds them (`not_alphanum_paragraph_v1` of 1.2.1).

A paragraph is a piece of the text that ends after a "\\n" and is not blank. What counts as punctuation: the Unicode
categories P and S, but for letters in circles and squares, and emoji (Unicode 17.0), with White_Space between. Joiners
and variation selectors, of which some emoji are made, do not: so "👨‍👩‍👧" and "☺️" are no punctuation, "👍🏽" is.

Cost: about 800 MB/s of mixed text on one core of a 2-core cloud machine, 2026-11-26.
"""

from __future__ import annotations

import numpy as np

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, Spans, spans_column
from dolma.kernels.code_points import table_of
from dolma.kernels.pieces import are_all_of
from dolma.kernels.views import code_points
from dolma.taggers.dolma1.lengths import paragraphs
from dolma.taggers.dolma1.unicode_tables import PUNCTUATION


class NotAlphanumParagraphV1:
    """The paragraphs of punctuation, symbols and emoji alone.

    >>> NotAlphanumParagraphV1()(TextBatch.of(["a\\n***\\n"]))["all_punct"].to_pylist()
    [[{'start': 2, 'end': 6, 'score': 1.0}]]
    """

    name = "not_alphanum_paragraph_v1"
    version = 1
    outputs = {
        "all_punct": Spans("paragraphs of punctuation alone, 1; without any, the whole document, 0", range="0, 1")
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One list of spans per document, never empty."""
        pieces = paragraphs(batch)
        found = pieces.of(are_all_of(batch.utf8, pieces.starts, pieces.ends, table_of(PUNCTUATION)))
        counts = found.per_document()
        none = counts == 0
        # Documents without any have one span: where it belongs among those of the others.
        places = np.searchsorted(found.documents, np.flatnonzero(none))
        return {
            "all_punct": spans_column(
                np.where(none, 1, counts),
                np.insert(found.first_points, places, 0),
                np.insert(found.last_points, places, batch.view(code_points)[none]),
                np.insert(np.ones(len(found.starts)), places, 0.0),
            )
        }
