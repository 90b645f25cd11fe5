"""Edits of a text by spans: several lists of them at once, none of whose characters is left behind.

Spans are `[start, end)` in code points of the text as it was tagged. Spans that share a character become one cluster,
from the first start to the last end, which is replaced once; spans that only touch stay apart. Within a cluster spans
are ordered by start, then the longer one, then the order of the edits; the first whose replacement does not quote the
original decides, so that text which one edit masks cannot come back through the `{}` of another. Only where every
edit of a cluster quotes does `{}` stand for the whole of it. Spans without length replace nothing; they are counted.

What an edit with `keep_only` does not cover is deleted in the same way; of several such edits, what any of them does
not cover; a list that is NULL keeps the whole. With `lines` an edit deletes, or keeps, each line that a span shares a
character with. A line ends with its newline; where the last line has none and goes, the newline before it goes in its
place.

A span that does not lie in its text is an error: it was measured on another text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import SpanEdit
from dolma.data.batch import TextBatch
from dolma.errors import AlignmentError, DataError
from dolma.mixers.records import text_at
from dolma.printable import printable

Span = tuple[int, int, int]
"""`(start, end, edit)`: places in the text, and the index of the edit."""

_QUOTE = "{}"
_NEWLINE = 10
_COUNTED_BYTES = 1 << 17  # of a text at a time


class Replacement(NamedTuple):
    """What a span becomes: its own text goes between the `parts`, of which a literal has one."""

    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, template: str) -> Replacement:
        """What `replace` of an edit says.

        >>> Replacement.of("<{}>").parts
        (b'<', b'>')
        """
        return cls(tuple(template.encode().split(_QUOTE.encode())))

    @property
    def quotes(self) -> bool:
        """Whether the original is in it."""
        return len(self.parts) > 1


def replace_spans(utf8: npt.NDArray[np.uint8], found: Sequence[Span], replacements: Sequence[Replacement]) -> bytes:
    """The text, UTF-8, with each of these clusters, in bytes, replaced by `replacements[edit]`.

    A long text is in memory once more, and never as a `str`, which takes up to four bytes for each of UTF-8.

    >>> text = np.frombuffer(b"call 555-0100 now", np.uint8)
    >>> replace_spans(text, [(5, 13, 0)], [Replacement.of("<PHONE>")])
    b'call <PHONE> now'
    """
    text = memoryview(utf8)  # type: ignore[arg-type]  # of an array
    parts: list[Any] = []
    at = 0
    for start, end, edit in found:
        parts.append(text[at:start])
        inner = replacements[edit].parts
        parts += inner if len(inner) == 1 else [text[start:end].tobytes().join(inner)]
        at = end
    return b"".join([*parts, text[at:]])


def in_bytes(utf8: npt.NDArray[np.uint8], spans: Sequence[Span]) -> list[Span]:
    """The same spans, their places in bytes instead of code points."""
    if len(utf8) <= _COUNTED_BYTES and utf8.tobytes().isascii():
        return list(spans)
    points = np.array([point for start, end, _ in spans for point in (start, end)], dtype=np.int64)
    order = np.argsort(points, kind="stable")
    points = points[order]
    places = np.full(len(points), len(utf8))
    n = 0
    for at in range(0, len(utf8), _COUNTED_BYTES):
        begins = np.flatnonzero(utf8[at : at + _COUNTED_BYTES] & 0xC0 != 0x80)
        here = slice(*np.searchsorted(points, [n, n + len(begins)]).tolist())
        places[here] = at + begins[points[here] - n]
        n += len(begins)
    found = np.empty_like(places)
    found[order] = places
    pairs = found.reshape(-1, 2).tolist()
    return [(start, end, edit) for (start, end), (_, _, edit) in zip(pairs, spans, strict=True)]


def clusters(
    spans: Sequence[Span], replacements: Sequence[Replacement], *, merged: list[int] | None = None
) -> list[Span]:
    """The clusters of these spans in order of the text, each with the edit that decides; no two share a character.

    `merged[edit]` is raised for each span that begins inside a cluster and so becomes a part of it.
    """
    found: list[Span] = []
    for start, end, edit in sorted(spans, key=lambda span: (span[0], -span[1], span[2])):
        if found and start < found[-1][1]:
            first, last, chosen = found[-1]
            masks = replacements[chosen].quotes and not replacements[edit].quotes
            found[-1] = (first, max(last, end), edit if masks else chosen)
            if merged is not None:
                merged[edit] += 1
        else:
            found.append((start, end, edit))
    return found


def gaps(n_bytes: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What these spans of a text leave uncovered.

    >>> gaps(9, [(4, 6), (1, 3), (2, 4)])
    [(0, 1), (6, 9)]
    """
    found, at = [], 0
    for start, end in sorted(spans):
        if start > at:
            found.append((at, start))
        at = max(at, end)
    return [*found, (at, n_bytes)] if at < n_bytes else found


class Lines:
    """The lines of a text, and which of them spans touch; a line ends with its newline."""

    def __init__(self, utf8: npt.NDArray[np.uint8]) -> None:
        ends = np.flatnonzero(utf8 == _NEWLINE) + 1
        self._ended = not len(utf8) or bool(utf8[-1] == _NEWLINE)
        self.ends = ends if self._ended else np.append(ends, len(utf8))

    def touched(self, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
        """Whether a span shares a character with each line; bool, shape `(n_lines,)`."""
        bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
        begun = np.zeros(len(self.ends) + 1, dtype=np.int64)
        np.add.at(begun, np.searchsorted(self.ends, bounds[:, 0], side="right"), 1)
        np.add.at(begun, np.searchsorted(self.ends, bounds[:, 1], side="left") + 1, -1)
        return np.cumsum(begun[:-1]) > 0

    def stretches(self, gone: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
        """What of the text goes with these lines, one stretch for lines that follow each other."""
        changes = np.flatnonzero(np.diff(gone, prepend=False, append=False)).reshape(-1, 2)
        starts = np.concatenate([[0], self.ends])[changes[:, 0]]
        if len(changes) and changes[-1, 1] == len(self.ends) and not self._ended:
            starts[-1] = max(starts[-1] - 1, 0)
        return list(zip(starts.tolist(), self.ends[changes[:, 1] - 1].tolist(), strict=True))


@dataclass(slots=True)
class SpanCounts:
    """What the edits of a mix did; lists have one number per edit, in the order of the recipe.

    `spans` counts those that are replaced, and of `keep_only` the stretches that are deleted; `merged` those of them
    that begin inside another one, with which they are replaced at once.
    """

    spans: list[int]
    merged: list[int]
    without_length: list[int]
    documents: int = 0

    @classmethod
    def of(cls, n_edits: int) -> SpanCounts:
        """Nothing done yet."""
        return cls(spans=[0] * n_edits, merged=[0] * n_edits, without_length=[0] * n_edits)

    def add(self, other: SpanCounts) -> None:
        """Add the other's numbers to these."""
        for name in ("spans", "merged", "without_length"):
            setattr(self, name, [a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True)])
        self.documents += other.documents


@dataclass(frozen=True, slots=True)
class Edits:
    """The span edits of a mix, to be applied batch by batch.

    `columns` are the attribute columns, one per edit, as (set, output).
    """

    edits: tuple[SpanEdit, ...]
    columns: tuple[tuple[str, str], ...]
    replacements: tuple[Replacement, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replacements", tuple(Replacement.of(edit.replace) for edit in self.edits))

    @property
    def need_records(self) -> bool:
        """Whether they look at fields of the documents."""
        return any(edit.replace_field is not None for edit in self.edits)

    def apply(
        self,
        batch: TextBatch,
        arrays: Mapping[str, Mapping[str, pa.Array]],
        *,
        chosen: npt.NDArray[np.bool_],
        counts: SpanCounts,
    ) -> tuple[dict[int, bytes], npt.NDArray[np.int32]]:
        """The new texts, UTF-8 by document, of the chosen documents that they change, and the spans taken of each.

        `chosen` is bool and the numbers of spans are int32, both of shape `(n_docs,)`.

        Raises:
            AlignmentError: a span does not lie in its document's text.
            DataError: a document has no value for a field that replaces its spans.
        """
        spans = self._spans(batch, arrays, chosen, counts)
        texts, n_spans = {}, np.zeros(len(batch), dtype=np.int32)
        for document, of_document in sorted(spans.items()):
            text = batch.utf8[batch.offsets[document] : batch.offsets[document + 1]]
            before = sum(counts.spans)
            taken = self._stretches(text, of_document, counts)
            n_spans[document] = sum(counts.spans) - before
            if not taken:
                continue
            replacements = self._replacements(batch, document, taken)
            after = replace_spans(text, clusters(taken, replacements, merged=counts.merged), replacements)
            if not _equal(after, text):
                texts[document] = after
                counts.documents += 1
        return texts, n_spans

    def _spans(
        self,
        batch: TextBatch,
        arrays: Mapping[str, Mapping[str, pa.Array]],
        chosen: npt.NDArray[np.bool_],
        counts: SpanCounts,
    ) -> dict[int, list[Span]]:
        """The spans of each document, without those that have no length; where some are kept, of all chosen ones."""
        spans: dict[int, list[Span]] = {}
        if any(edit.keep_only for edit in self.edits):
            spans = {document: [] for document in np.flatnonzero(chosen).tolist()}
        for index, (edit, (name, output)) in enumerate(zip(self.edits, self.columns, strict=True)):
            documents, starts, ends = spans_in(arrays[name][output], edit, chosen)
            _check_inside(batch, edit, documents, starts, ends)
            if edit.keep_only:
                _keep_unmeasured(spans, batch, index, chosen & np.asarray(arrays[name][output].is_null()))
            real = starts < ends
            counts.without_length[index] += int((~real).sum())
            places = (documents[real].tolist(), starts[real].tolist(), ends[real].tolist())
            for document, start, end in zip(*places, strict=True):
                spans.setdefault(document, []).append((start, end, index))
        return spans

    def _stretches(self, utf8: npt.NDArray[np.uint8], spans: Sequence[Span], counts: SpanCounts) -> list[Span]:
        """What of a text is replaced, in bytes; counted."""
        found: list[Span] = []
        lines, gone = Lines(utf8) if self._by_lines else None, None
        by_edit: list[list[tuple[int, int]]] = [[] for _ in self.edits]
        for start, end, index in in_bytes(utf8, spans):
            by_edit[index].append((start, end))
        for index, (edit, taken) in enumerate(zip(self.edits, by_edit, strict=True)):
            if edit.lines and lines is not None:
                touched = lines.touched(taken) ^ edit.keep_only
                gone = touched if gone is None else gone | touched
                taken = lines.stretches(touched) if edit.keep_only else taken
            else:
                taken = gaps(len(utf8), taken) if edit.keep_only else taken
                found += [(start, end, index) for start, end in taken]
            counts.spans[index] += len(taken)
        if lines is not None and gone is not None:
            found += [(start, end, self._by_lines[0]) for start, end in lines.stretches(gone)]
        return found

    @property
    def _by_lines(self) -> list[int]:
        return [index for index, edit in enumerate(self.edits) if edit.lines]

    def _replacements(self, batch: TextBatch, document: int, taken: Sequence[Span]) -> Sequence[Replacement]:
        """The replacements, with the values of the document's fields that some of its spans are replaced by."""
        if not self.need_records:
            return self.replacements
        assert batch.records is not None
        found = list(self.replacements)
        for index in {edit for _, _, edit in taken}:
            if (path := self.edits[index].replace_field) is None:
                continue
            if (value := text_at(batch.records[document], path)) is None:
                raise DataError(
                    f"document {batch.ids[document]!r} has no text, number or truth value in the field {path!r}, "
                    f"which replaces its spans of {printable(self.edits[index].attribute)}\n"
                    "  give them a literal with `replace`, or leave such documents out by a rule",
                    file=batch.path,
                    line=int(batch.lines[document]),
                )
            found[index] = Replacement((value.encode(),))
        return found


def _equal(after: bytes, text: npt.NDArray[np.uint8]) -> bool:
    """Whether they are the same; a copy of a part is made at a time."""
    parts = (slice(at, at + _COUNTED_BYTES) for at in range(0, len(after), _COUNTED_BYTES))
    return len(after) == len(text) and all(after[part] == text[part].tobytes() for part in parts)


def _keep_unmeasured(
    spans: dict[int, list[Span]], batch: TextBatch, index: int, documents: npt.NDArray[np.bool_]
) -> None:
    """Let the edit keep the whole of these texts, whose list is NULL."""
    from dolma.kernels.views import code_points

    for document in np.flatnonzero(documents).tolist():
        spans[document].append((0, int(batch.view(code_points)[document]), index))


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
