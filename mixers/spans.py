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
from typing import Any

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
_COUNTED_BYTES = 1 << 17  # of a text at a time


def replace_spans(utf8: npt.NDArray[np.uint8], spans: Sequence[Span], replacements: Sequence[str]) -> bytes:
    """The text with every span replaced, UTF-8; `replacements[edit]` may quote the original as `{}`.

    Spans have `0 <= start < end <= len(text)`. A long text is in memory once more, and never as a `str`, which takes up
    to four bytes for each of UTF-8.

    >>> replace_spans(np.frombuffer(b"call 555-0100 now", np.uint8), [(5, 13, 0)], ["<PHONE>"])
    b'call <PHONE> now'
    >>> replace_spans(np.frombuffer(b"abcdef", np.uint8), [(1, 4, 0), (3, 5, 1)], ["[{}]", "*"])
    b'a*f'
    """
    found, text = clusters(spans, replacements), memoryview(utf8)  # type: ignore[arg-type]  # of an array
    points = np.array([point for start, end, _ in found for point in (start, end)], dtype=np.int64)
    places = _byte_offsets(utf8, points)
    parts: list[Any] = []
    at = 0
    for (_, _, template), start, end in zip(found, places[::2], places[1::2], strict=True):
        parts += [text[at:start], template.encode().replace(QUOTE.encode(), text[start:end].tobytes())]
        at = end
    return b"".join([*parts, text[at:]])


def _byte_offsets(utf8: npt.NDArray[np.uint8], points: npt.NDArray[np.int64]) -> list[int]:
    """Where these code points begin in a text; they ascend. The one behind the last is at its end."""
    if len(utf8) <= _COUNTED_BYTES and utf8.tobytes().isascii():
        return points.tolist()
    n, found = 0, np.full(len(points), len(utf8))
    for at in range(0, len(utf8), _COUNTED_BYTES):
        begins = np.flatnonzero(utf8[at : at + _COUNTED_BYTES] & 0xC0 != 0x80)
        here = (points >= n) & (points < n + len(begins))
        found[here] = at + begins[points[here] - n]
        n += len(begins)
    return found.tolist()


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

    @classmethod
    def of(cls, n_edits: int) -> SpanCounts:
        """Nothing done yet."""
        return cls(spans=[0] * n_edits, without_length=[0] * n_edits)

    def add(self, other: SpanCounts) -> None:
        """Add the other's numbers to these."""
        self.spans = [a + b for a, b in zip(self.spans, other.spans, strict=True)]
        self.without_length = [a + b for a, b in zip(self.without_length, other.without_length, strict=True)]
        self.documents += other.documents


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
    ) -> tuple[dict[int, bytes], npt.NDArray[np.int32]]:
        """The new texts, UTF-8 by document, of the chosen documents that have spans, and the spans taken of each.

        `chosen` is bool and the numbers of spans are int32, both of shape `(n_docs,)`.

        Raises:
            AlignmentError: a span does not lie in its document's text.
        """
        spans: dict[int, list[Span]] = {}
        for index, (edit, (name, output)) in enumerate(zip(self.edits, self.columns, strict=True)):
            documents, starts, ends = spans_in(arrays[name][output], edit, chosen)
            _check_inside(batch, edit, documents, starts, ends)
            empty = starts == ends
            counts.without_length[index] += int(empty.sum())
            counts.spans[index] += int((~empty).sum())
            for document, start, end in zip(documents.tolist(), starts.tolist(), ends.tolist(), strict=True):
                spans.setdefault(document, []).append((start, end, index))
        texts, n_spans = {}, np.zeros(len(batch), dtype=np.int32)
        for document, of_document in sorted(spans.items()):
            if real := [span for span in of_document if span[0] < span[1]]:
                text = batch.utf8[batch.offsets[document] : batch.offsets[document + 1]]
                texts[document] = replace_spans(text, real, self.replacements)
                n_spans[document] = len(real)
                counts.documents += 1
        return texts, n_spans


def _check_inside(
    batch: TextBatch,
    edit: SpanEdit,
    documents: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> None:
    from dolma.kernels.views import code_points

    if not len(documents):
        return
    n_points = batch.view(code_points)[documents]
    outside = np.flatnonzero((starts < 0) | (starts > ends) | (ends > n_points))
    if len(outside):
        i, document = outside[0], documents[outside[0]]
        raise AlignmentError(
            f"{printable(edit.attribute)} has the span [{starts[i]}, {ends[i]}) for document "
            f"{batch.ids[document]!r}, whose text has {n_points[i]} code points\n"
            "  the spans are of another version of the text: run their stage again",
            file=batch.path,
            line=int(batch.lines[document]),
        )


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
