"""How long a document is, in the five units that rules ask for.

Words, lines and paragraphs are counted without being found, unless another tagger has found them.

Cost: about 1.4 GB/s of text on one core of a 2-core cloud machine, 2026-11-23.
"""

from __future__ import annotations

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocInt, array_of
from dolma.kernels.counts import count_blocks, count_words
from dolma.kernels.views import code_points, line_spans, word_spans


class Length:
    """Characters, bytes, words, lines and paragraphs; defined in `dolma/kernels/views.py`.

    >>> columns = Length()(TextBatch.of(["Ein Wörtchen.\\n\\nUnd mehr."]))
    >>> {name: column.to_pylist()[0] for name, column in columns.items()}
    {'characters': 24, 'bytes': 25, 'words': 4, 'lines': 3, 'paragraphs': 2}
    """

    name = "length"
    version = 1
    outputs = {
        "characters": DocInt("Unicode code points", unit="code points"),
        "bytes": DocInt("bytes of the text in UTF-8", unit="bytes"),
        "words": DocInt("maximal runs of non-whitespace", unit="words"),
        "lines": DocInt("lines, blank ones too; a line ends at a newline or at the end of the text", unit="lines"),
        "paragraphs": DocInt("maximal runs of lines that are not blank", unit="paragraphs"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        words, blocks = batch.found(word_spans), batch.found(line_spans)
        lines, paragraphs = (
            batch.view(count_blocks) if blocks is None else (blocks.per_document(), blocks.paragraphs_per_document())
        )
        return {
            "characters": array_of(batch.view(code_points)),
            "bytes": array_of(batch.n_bytes),
            "words": array_of(batch.view(count_words) if words is None else words.per_document()),
            "lines": array_of(lines),
            "paragraphs": array_of(paragraphs),
        }
