"""Items of benchmarks looked for in batches of documents, and scored: all of decontamination that needs no file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch
from dolma.dedupers.items import Benchmarks, score_of
from dolma.kernels import contamination, shingles

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Where half of a question is, or more; lists of one length, of documents in order.

    `document` is the number in the batch; `start` and `end` are code points, from the first word of the question that
    was found to behind the last one; `covered` has a byte for each of its words, 1 where it was found; `answer` and
    `answer_weight` are those of `contamination.Measures`.
    """

    document: list[int]
    item: list[int]
    start: list[int]
    end: list[int]
    covered: list[bytes]
    answer: list[float]
    answer_weight: list[float]


class Search:
    """Looks for items in batches, which come in order, and counts the documents that have each seed."""

    def __init__(self, benchmarks: Benchmarks) -> None:
        self._items = benchmarks.items
        self._lookup = benchmarks.lookup
        self._latest = np.full(len(self._items.seeds), -1, np.int64)
        self.counts = np.zeros(len(self._items.seeds), np.int64)
        self.documents = 0

    def __call__(self, batch: TextBatch) -> Hits:
        """The hits in the next batch."""
        words = shingles.word_hashes(batch.utf8, batch.offsets)
        at, seeds = self._lookup.seeds_in(
            words.hashes, words.index, counts=self.counts, latest=self._latest, first=self.documents
        )
        self.documents += len(batch)
        stretches = contamination.places_of(self._items, at, seeds, words.index)
        found = contamination.measured(self._items, stretches, words.hashes, words.index)
        n_words = np.diff(found.index)
        n_found = np.add.reduceat(np.append(found.covered, 0), found.index[:-1]) if len(stretches) else n_words
        chosen = np.flatnonzero((found.end > 0) & (2 * n_found >= n_words))
        document = stretches.document[chosen]
        starts, ends = _code_points(batch, words.index, document, found.first[chosen], found.end[chosen])
        return Hits(
            document=document.tolist(),
            item=stretches.item[chosen].tolist(),
            start=starts,
            end=ends,
            covered=[found.covered[found.index[i] : found.index[i + 1]].tobytes() for i in chosen.tolist()],
            answer=found.answer[chosen].tolist(),
            answer_weight=found.answer_weight[chosen].tolist(),
        )


def _code_points(batch: TextBatch, index: Ints, document: Ints, first: Ints, end: Ints) -> tuple[list[int], list[int]]:
    """From where to where the words from `first` of all to before `end` lie in their documents, which come in order."""
    starts, ends = [], []
    latest, bounds = -1, np.zeros((0, 2), np.int64)
    last = np.zeros(len(batch), np.int64)
    np.maximum.at(last, document, end)
    for doc, one, other in zip(document.tolist(), first.tolist(), end.tolist(), strict=True):
        if doc != latest:
            text = batch.utf8[batch.offsets[doc] : batch.offsets[doc + 1]]
            latest, bounds = doc, shingles.word_bounds(text, int(last[doc] - index[doc]))
        starts.append(int(bounds[one - index[doc], 0]))
        ends.append(int(bounds[other - 1 - index[doc], 1]))
    return starts, ends


class Scores:
    """Scores hits, given how many of so many documents have each seed."""

    def __init__(self, benchmarks: Benchmarks, documents: Ints, n_documents: int) -> None:
        self._items = benchmarks.items
        self._weights = benchmarks.weights(documents, n_documents)

    def __call__(self, item: int, covered: bytes, answer: float, answer_weight: float) -> float:
        start, end = self._items.index[item], self._items.index[item + 1]
        return score_of(
            self._weights[start:end],
            np.frombuffer(covered, np.uint8),
            answered=bool(self._items.answers[item + 1] > self._items.answers[item]),
            answer=answer,
            answer_weight=answer_weight,
        )
