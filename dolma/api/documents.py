"""One document of a corpus, with what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.json_text import decode_json
from dolma.html_text import shown, table
from dolma.lookup.documents import Document, Documents, index_folder
from dolma.lookup.measured import Measured, Span, measured, spans_of
from dolma.lookup.report import marked
from dolma.printable import printable


@dataclass(frozen=True, kw_only=True, repr=False)
class FoundDocument:
    """A document: `line` is 1-based; `attributes` are values by set and output, spans lists of start, end, score."""

    id: str
    source: str
    file: str
    line: int
    text: str
    metadata: Any
    attributes: Measured
    _document: Document

    @property
    def spans(self) -> list[Span]:
        """All spans that were found in it, in the order of the text."""
        return spans_of(self.attributes)

    def __repr__(self) -> str:
        return f"<document {self.id!r} of {printable(self.file)}:{self.line}, {len(self.text):,} characters>"

    def _repr_html_(self) -> str:
        """The beginning of the text with its spans, and the other attributes, as a notebook shows them."""
        rows = [
            (f"{name}.{output}", value)
            for name, outputs in self.attributes.items()
            for output, value in outputs.items()
            if not isinstance(value, list)
        ]
        text = marked(self._document, self.spans)
        return f"<p>{shown(self)}</p>{text}{table(('attribute', 'value'), rows)}"


def found_in(dataset: Dataset, reading: Reading, given: str, *, home: str | None) -> list[FoundDocument]:
    """The documents of this id, or at this `FILE:LINE`."""
    shards = dataset.shards()
    folder = index_folder(dataset, shards, home)
    documents = Documents(dataset, reading, index=None if folder is None else streams.join(folder, "documents"))
    return [
        FoundDocument(
            id=one.id,
            source=one.source,
            file=one.shard.path,
            line=one.line,
            text=one.text,
            metadata=None if one.metadata is None else decode_json(one.metadata, Any),
            attributes=measured(dataset, shards, one),
            _document=one,
        )
        for one in documents.find(given)
    ]
