"""Where paragraphs and sentences lie, and which keys take part: the loops of dedupe over UTF-8 bytes.

A paragraph is a piece that ends after a separator, a newline if nothing else is said, or at the end of the text; blank
ones are left out. Its *key* is the piece without the separator, so that the last line of a text equals the same line
inside another. Sentences are those of `dolma.kernels.sentences`. Blank and word follow `str.isspace`, as everywhere.
The twins are in `dolma.dedupers.reference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, spans_column
from dolma.kernels.compiled import flat_text, kernel, read_only
from dolma.kernels.sentences import sentence_spans
from dolma.kernels.unicode import SPACE, character_classes, count_code_points, decode, skip_spaces
from dolma.kernels.views import code_points, code_points_at, line_spans
from dolma.kernels.words64 import ONES, equal_to, first_mark, load

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The paragraphs, or sentences, of some documents that are not blank, in order; int64 but where it says bool.

    Shape `(n_units,)`: the key is bytes `[starts, ends)` of the buffer. The unit is code points `[first, last)` of its
    document: a paragraph with its separator; a sentence up to the next one of its line or the line's end, and from the
    line's beginning where it `begins` it (bool). `newline` (bool): one follows, and goes if all of the line goes. Shape
    `(n_docs,)`: `counts` of units and `characters`, code points.
    """

    starts: Ints
    ends: Ints
    first: Ints
    last: Ints
    begins: Bools
    newline: Bools
    counts: Ints
    characters: Ints

    @property
    def document(self) -> Ints:
        """The document of each unit."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def split_paragraphs(utf8: npt.NDArray[np.uint8], offsets: Ints, separator: str = "\n") -> Units:
    """The paragraphs of each document; the separator is at least one character.

    >>> found = split_paragraphs(np.frombuffer("é\\n\\nb".encode(), np.uint8), np.array([0, 5]))
    >>> found.starts.tolist(), found.ends.tolist(), found.first.tolist(), found.last.tolist()
    ([0, 4], [2, 5], [0, 3], [2, 4])
    """
    text, bounds = flat_text(utf8, offsets)
    n_docs = len(bounds) - 1
    between = np.frombuffer(separator.encode(), np.uint8)
    most = np.count_nonzero(text == between[0]) + n_docs
    found = np.empty((4, most), dtype=np.int64)
    per_document = np.empty((2, n_docs), dtype=np.int64)
    n = _split(text, bounds, between, character_classes(), found, per_document)
    starts, ends, first, last = found[:, :n]
    return Units(
        starts=starts,
        ends=ends,
        first=first,
        last=last,
        begins=np.ones(n, bool),
        newline=np.zeros(n, bool),
        counts=per_document[0],
        characters=per_document[1],
    )


def split_sentences(batch: TextBatch) -> Units:
    """The sentences of each document.

    >>> found = split_sentences(TextBatch.of(["Ét. Bé!\\nC"]))
    >>> found.first.tolist(), found.last.tolist(), found.newline.tolist()
    ([0, 4, 8], [4, 7, 9], [False, True, False])
    """
    sentences, lines = batch.view(sentence_spans), batch.view(line_spans)
    starts, ends, counts = sentences.starts, sentences.ends, sentences.per_document()
    document = np.repeat(np.arange(len(batch)), counts)
    line = np.searchsorted(lines.starts, starts, side="right") - 1
    begins = np.append(True, line[1:] != line[:-1])[: len(line)]
    goes_on = ~np.append(begins[1:], True)[: len(line)]
    until = lines.ends[line]
    newline = ~goes_on & (until < batch.offsets[document + 1])
    until[goes_on] = np.append(starts[1:], 0)[: len(line)][goes_on]
    since = np.where(begins, lines.starts[line], starts)
    bounds = np.stack([since, until], axis=1).ravel()
    points = code_points_at(batch.utf8, batch.offsets, np.repeat(document, 2), bounds)
    return Units(
        starts=starts,
        ends=ends,
        first=points[::2],
        last=points[1::2],
        begins=begins,
        newline=newline,
        counts=counts,
        characters=batch.view(code_points),
    )


def unit_columns(
    unit: str,
    document: Ints,
    first: Ints,
    last: Ints,
    scores: npt.NDArray[np.float64],
    *,
    counts: Ints,
    characters: Ints,
) -> Columns:
    """`spans`, `fraction`, `n_paragraphs` (or what the `unit` is) and `n_duplicates` of documents.

    The duplicates are given in order: code points `[first, last)` of the document of this number. Of each document,
    `counts` are its units and `characters` its code points.
    """
    n_docs = len(counts)
    n_duplicates = np.bincount(document, minlength=n_docs)
    inside = np.bincount(document, weights=last - first, minlength=n_docs)
    return {
        "spans": spans_column(n_duplicates, first, last, scores),
        "fraction": pa.array(inside / np.maximum(characters, 1)),
        f"n_{unit}": pa.array(counts),
        "n_duplicates": pa.array(n_duplicates),
    }


def takes_part(
    utf8: npt.NDArray[np.uint8], starts: Ints, ends: Ints, *, min_length: int, min_words: int, window: int = 1
) -> Bools:
    """Whether each byte span has that many code points and whitespace-separated words; bool, shape `(n_spans,)`.

    It is looked at together with those after it, so many that they are a `window`, or as many as there are. Reads no
    further than it must, so that asking for one word costs nearly nothing.
    """
    enough = np.ones(len(starts), dtype=bool)
    if min_length > 0 or min_words > 0:
        text, starts, ends = read_only(utf8, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64)
        _enough(text, starts, ends, character_classes(), min_length, min_words, window, enough)
    return enough


@kernel
def _split(utf8: Any, offsets: Any, separator: Any, classes: Any, found: Any, per_document: Any) -> int:
    n = 0
    for doc in range(len(offsets) - 1):
        i, end = offsets[doc], offsets[doc + 1]
        before, character = n, 0
        while i < end:
            stop = _find(utf8, i, end, separator)
            after = min(stop + len(separator), end)
            n_characters = count_code_points(utf8, i, after)
            if skip_spaces(utf8, i, stop, classes) < stop:
                found[0, n], found[1, n] = i, stop
                found[2, n], found[3, n] = character, character + n_characters
                n += 1
            character += n_characters
            i = after
        per_document[0, doc], per_document[1, doc] = n - before, character
    return n


@kernel
def _find(utf8: Any, i: int, end: int, separator: Any) -> int:
    """Where the first separator from `i` on begins; `end` if there is none before that."""
    first = np.uint64(separator[0]) * ONES
    while i + len(separator) <= end:
        at = first_mark(equal_to(load(utf8, i), first))
        i += at
        if at < 8 and i + len(separator) <= end:
            j = 1
            while j < len(separator) and utf8[i + j] == separator[j]:
                j += 1
            if j == len(separator):
                return i
            i += 1
    return end


@kernel
def _enough(
    utf8: Any, starts: Any, ends: Any, classes: Any, min_length: int, min_words: int, window: int, enough: Any
) -> None:
    for first in range(len(starts)):
        characters, words = 0, 0
        for span in range(first, min(first + window, len(starts))):
            i, inside = starts[span], False
            while i < ends[span] and (characters < min_length or words < min_words):
                code_point, width = decode(utf8, i, ends[span])
                space = classes[code_point] & SPACE != 0
                words += not space and not inside
                inside = not space
                characters += 1
                i += width
        enough[first] = characters >= min_length and words >= min_words
