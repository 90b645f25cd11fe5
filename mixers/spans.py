"""Replacing spans of a text: several lists of spans at once, none of whose characters is left behind.

Spans are `[start, end)` in code points of the text as it was tagged. Spans that share a character become one cluster,
from the first start to the last end, which is replaced once; spans that only touch stay apart. Within a cluster spans
are ordered by start, then the longer one, then the order of the edits; the first whose replacement does not quote the
original decides, so that text which one edit masks cannot come back through the `{}` of another. Only where every
edit of a cluster quotes does `{}` stand for the whole of it. Spans without length replace nothing; they are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import SpanEdit
from dolma.data.batch import TextBatch
from dolma.errors import AlignmentError
from dolma.printable import printable

Span = tuple[int, int, int]
"""`(start, end, edit)`: code points, and the index of the edit."""

QUOTE = "{}"


def replace_spans(text: str, spans: Sequence[Span], replacements: Sequence[str]) -> str:
    """The text with every span replaced; `replacements[edit]` may quote the original as `{}`.

    Spans have `0 <= start < end <= len(text)`.

    >>> replace_spans("call 555-0100 now", [(5, 13, 0)], ["<PHONE>"])
    'call <PHONE> now'
    >>> replace_spans("abcdef", [(1, 4, 0), (3, 5, 1)], ["[{}]", "*"])
    'a*f'
    """
    parts, at = [], 0
    for start, end, template in clusters(spans, replacements):
        parts += [text[at:start], template.replace(QUOTE, text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def clusters(spans: Sequence[Span], replacements: Sequence[str]) -> list[tuple[int, int, str]]:
    """The clusters of these spans in order of the text: `(start, end, replacement)`; no two share a character."""
    found: list[tuple[int, int, str]] = []
    for start, end, edit in sorted(spans, key=lambda span: (span[0], -span[1], span[2])):
        template = replacements[edit]
        if found and start < found[-1][1]:
            first, last, chosen = found[-1]
            found[-1] = (first, max(last, end), chosen if QUOTE not in chosen else template)
            if QUOTE in chosen and QUOTE in template:
                found[-1] = (first, max(last, end), chosen)
        else:
            found.append((start, end, template))
    return found


@dataclass(slots=True)
class SpanCounts:
    """What the edits of a mix did; lists have one number per edit, in the order of the recipe."""

    spans: list[int]
    without_length: list[int]
    documents: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    @classmethod
    def of(cls, n_edits: int) -> SpanCounts:
        """Nothing done yet."""
        return cls(spans=[0] * n_edits, without_length=[0] * n_edits)

    def add(self, other: SpanCounts) -> None:
        """Add the other's numbers to these."""
        self.spans = [a + b for a, b in zip(self.spans, other.spans, strict=True)]
        self.without_length = [a + b for a, b in zip(self.without_length, other.without_length, strict=True)]
        self.documents += other.documents
        self.bytes_before += other.bytes_before
        self.bytes_after += other.bytes_after


@dataclass(frozen=True, slots=True)
class Edits:
    """The span edits of a mix, to be applied batch by batch.

    `columns` are the attribute columns, one per edit, as (set, output).
    """

    edits: tuple[SpanEdit, ...]
    columns: tuple[tuple[str, str], ...]
    replacements: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replacements", tuple(edit.replace for edit in self.edits))

    def apply(
        self,
        batch: TextBatch,
        arrays: Mapping[str, Mapping[str, pa.Array]],
        *,
        chosen: npt.NDArray[np.bool_],
        counts: SpanCounts,
    ) -> dict[int, bytes]:
        """The new texts of the chosen documents that have spans, UTF-8 by document; `chosen` is bool, `(n_docs,)`.

        Raises:
            AlignmentError: a span does not lie in its document's text.
        """
        spans: dict[int, list[Span]] = {}
        for index, (edit, (name, output)) in enumerate(zip(self.edits, self.columns, strict=True)):
            documents, starts, ends = spans_in(arrays[name][output], edit, chosen)
            empty = starts == ends
            counts.without_length[index] += int(empty.sum())
            counts.spans[index] += int((~empty).sum())
            for document, start, end in zip(documents.tolist(), starts.tolist(), ends.tolist(), strict=True):
                spans.setdefault(document, []).append((start, end, index))
        edited = {}
        for document, of_document in sorted(spans.items()):
            if (new := self._edit(batch, document, of_document)) is not None:
                edited[document] = new
                counts.documents += 1
                counts.bytes_before += int(batch.offsets[document + 1] - batch.offsets[document])
                counts.bytes_after += len(new)
        return edited

    def _edit(self, batch: TextBatch, document: int, spans: Sequence[Span]) -> bytes | None:
        text = batch.text(document)
        for start, end, index in spans:
            if not 0 <= start <= end <= len(text):
                raise AlignmentError(
                    f"{printable(self.edits[index].attribute)} has the span [{start}, {end}) for document "
                    f"{batch.ids[document]!r}, whose text has {len(text)} code points\n"
                    "  the spans are of another version of the text: run their stage again",
                    file=batch.path,
                    line=int(batch.lines[document]),
                )
        real = [span for span in spans if span[0] < span[1]]
        return replace_spans(text, real, self.replacements).encode() if real else None


def spans_in(
    column: pa.Array, edit: SpanEdit, chosen: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Document, start and end of each span that the edit takes; a list that is NULL has none.

    A span is left alone when its score is known to lie outside the bounds: one without a score is taken.
    """
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    documents = np.repeat(np.arange(len(column)), lengths)
    values = column.flatten()
    starts, ends = (_integers(values.field(name)) for name in ("start", "end"))
    taken = chosen[documents]
    if edit.min_score is not None or edit.max_score is not None:
        scores = values.field("score").to_numpy(zero_copy_only=False)
        if edit.min_score is not None:
            taken &= ~(scores < edit.min_score)
        if edit.max_score is not None:
            taken &= ~(scores >= edit.max_score)
    return documents[taken], starts[taken], ends[taken]


def _integers(array: pa.Array) -> npt.NDArray[np.int64]:
    return array.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
