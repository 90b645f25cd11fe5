"""Items looked for in words. Run: `pytest tests/kernels/test_contamination.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.items import Asked
from dolma.dedupers.items import Benchmarks
from dolma.kernels import contamination, shingles
from dolma.kernels.reference import contamination as reference

WORDS = st.lists(st.sampled_from(["apple", "bird", "c", "4"]), max_size=24).map(" ".join)
ITEMS = st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=2)), min_size=1, max_size=3)


def parts_of(hashes: np.ndarray, index: np.ndarray) -> list[list[int]]:
    return [hashes[start:end].tolist() for start, end in itertools.pairwise(index.tolist())]


@pytest.mark.property
@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, max_size=3), ITEMS)
def test_stretches_and_words_are_those_of_the_twin(texts: list[str], given_items: list[tuple[str, list[str]]]) -> None:
    asked = [("b", Asked(id=str(i), question=q, answers=tuple(a))) for i, (q, a) in enumerate(given_items)]
    benchmarks = Benchmarks.of(asked)
    items, lookup = benchmarks.items, benchmarks.lookup
    batch = TextBatch.of(texts)
    words = shingles.word_hashes(batch.utf8, batch.offsets)
    documents, questions = parts_of(words.hashes, words.index), parts_of(items.words, items.index)
    answers = parts_of(items.answer_words, items.answer_index)
    counts, latest = np.zeros(len(items.seeds), np.int64), np.full(len(items.seeds), -1, np.int64)
    at, seeds = lookup.seeds_in(words.hashes, words.index, counts=counts, latest=latest, first=0)
    found = contamination.places_of(items, at, seeds, words.index)
    measures = contamination.measured(items, found, words.hashes, words.index)

    sequences = []
    for i, question in enumerate(questions):
        more = answers[items.answers[i]] if items.lengths[i] > len(question) else []
        sequences.append(question + more)
    known = {tuple(one[k : k + 5]) for one in sequences for k in range(len(one) - 4)}
    starts = words.index.tolist()
    assert at.tolist() == [starts[d] + k for d, doc in enumerate(documents) for k in reference.seeds_in(doc, known)]
    assert counts.sum() == sum(len({tuple(doc[k : k + 5]) for k in range(len(doc) - 4)} & known) for doc in documents)
    expected = [
        (d, i, starts[d] + least, starts[d] + most)
        for d, doc in enumerate(documents)
        for i, one in enumerate(sequences)
        for least, most in reference.stretches_in(doc, one, needed=items.needed[i], reach=items.reach[i])
    ]
    columns = (found.document, found.item, found.least, found.most)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected

    for n, (d, i, least, most) in enumerate(expected):
        start, stop, reach = starts[d], starts[d + 1], int(items.reach[i])
        whole = words.hashes.tolist()
        marks, first, end = reference.covered_in(
            whole, questions[i], start=start, stop=stop, least=least - reach, most=most + reach
        )
        assert measures.covered[measures.index[n] : measures.index[n + 1]].tolist() == marks
        assert measures.end[n] == end
        if not end:
            continue
        assert measures.first[n] == first
        best = 0.0
        for a in range(items.answers[i], items.answers[i + 1]):
            weights = items.answer_weights[items.answer_index[a] : items.answer_index[a + 1]]
            near = max(first - reference.AROUND, start)
            beyond = min(end + reference.AROUND + 2 * len(answers[a]), stop)
            there, _, _ = reference.covered_in(
                whole, answers[a], start=near, stop=beyond, least=-len(whole), most=len(whole)
            )
            if weights.sum() > 0:
                best = max(best, float((weights * there).sum() / weights.sum()))
        assert measures.answer[n] == pytest.approx(best)


def test_a_document_counts_once_for_a_seed_however_often_it_has_it() -> None:
    text = np.frombuffer(b"a b c d e", np.uint8), np.array([0, 9])
    seeds, words = shingles.word_shingles(*text, n=5).hashes, shingles.word_hashes(*text).hashes
    lookup = contamination.Lookup(seeds, np.column_stack([words[:-1], words[1:]]))
    counts, latest = np.zeros(1, np.int64), np.full(1, -1, np.int64)
    for first, texts in ((0, ["a b c d e a b c d e", "x"]), (2, ["A, b\nc d e."])):
        batch = TextBatch.of(texts)
        words = shingles.word_hashes(batch.utf8, batch.offsets)
        lookup.seeds_in(words.hashes, words.index, counts=counts, latest=latest, first=first)
    assert counts.tolist() == [2]


def test_there_may_be_no_seeds_and_no_words() -> None:
    lookup = contamination.Lookup(np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64))
    nothing = np.zeros(0, np.int64)
    at, found = lookup.seeds_in(np.zeros(0, np.uint64), np.zeros(1, np.int64), counts=nothing, latest=nothing, first=0)
    assert (len(at), len(found)) == (0, 0)
