"""Items of benchmarks looked for in texts, by the hashes of their words.

An item is its question's words; where these are too few or too common, its answer's words go on behind them. Its
*seeds* are the runs of `SEED` words there. A document and an item are compared closely only where enough seeds of the
item lie in the document, all of them about as far from each other as in the item:

    `seeds_in`    words of documents -> which seeds lie where, and how many documents have each
    `places_of`   seeds found -> stretches of documents where an item may lie
    `measured`    stretches -> which words of the item's question are there, where, and how much of an answer

A word of a question counts as found if it lies in a run of `RUN` words of the question (of all, where it has fewer)
that the document has near the place where it should be. So a changed word costs few others.

The readable twin is `dolma/kernels/reference/contamination.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import kernel, read_only
from dolma.kernels.hashing import absorb64, finish64, start64

Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

SEED = 5
"""Words of a seed."""
RUN = 3
"""Words that have to stand together for each of them to count as found."""
AROUND = 100
"""Words before and behind a question in which its answer is looked for."""
_FILTER_BITS_PER_KEY = 32
_MOST_FILTER_BITS = 32
_MOST_PAIR_BITS = 22  # what a cache near the processor has room for
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Items of benchmarks, as they are looked for; numbers are int64, hashes of words and seeds uint64.

    `seeds` are the different seeds of all items in rising order. Seed `k` is that of the items `holders[first:end]` at
    their words `offsets[first:end]`, where `first, end` are `bounds[k], bounds[k + 1]`; it has none if so many items
    have it that it tells nothing. `lengths` is how many words the seeds of each item come from.

    The words of item `i`'s question are `words[index[i]:index[i + 1]]`. Its answers are the numbers from `answers[i]`
    to before `answers[i + 1]`; the words of answer `a` are `answer_words[answer_index[a]:answer_index[a + 1]]`, and
    `answer_weights`, float64, has what each of them weighs. `needed` is how many words of the item seeds have to cover,
    `reach` how far from its place, in words, a part of the question may lie.
    """

    seeds: Words
    bounds: Int64
    holders: Int64
    offsets: Int64
    words: Words
    index: Int64
    lengths: Int64
    answers: Int64
    answer_words: Words
    answer_index: Int64
    answer_weights: Floats
    needed: Int64
    reach: Int64

    def __len__(self) -> int:
        return len(self.index) - 1


class Lookup:
    """Where a seed stands among the sorted ones: a bit for short ranges of hashes, and where longer ones begin.

    Before a seed is hashed, each two of its neighbours have to be neighbours in some item: a bit for each such pair.
    """

    def __init__(self, seeds: Words, pairs: Words) -> None:
        """`pairs`, of shape `(n, 2)`: words that follow each other in what seeds are made of, or more."""
        pair_bits = min(max(len(pairs).bit_length() + 3, 6), _MOST_PAIR_BITS)
        self._pair_shift = 64 - pair_bits
        near = np.zeros(1 << (pair_bits - 3), np.uint8)
        _set_bits(read_only(pair_hashes(pairs) >> np.uint64(self._pair_shift), np.uint64), near)
        self._pairs = read_only(near, np.uint8)
        self.seeds = read_only(seeds, np.uint64)
        bits = max(len(seeds).bit_length(), 6)
        self._shift = 64 - bits
        firsts = np.arange(1 << bits, dtype=np.uint64) << np.uint64(self._shift)
        self._starts = read_only(np.append(np.searchsorted(seeds, firsts), len(seeds)), np.int64)
        filter_bits = min(bits + _FILTER_BITS_PER_KEY.bit_length() - 1, _MOST_FILTER_BITS)
        self._filter_shift = 64 - filter_bits
        at = seeds >> np.uint64(self._filter_shift)
        there = np.zeros(1 << (filter_bits - 3), np.uint8)
        _set_bits(read_only(at, np.uint64), there)
        self._filter = read_only(there, np.uint8)

    def seeds_in(self, words: Words, index: Int64, *, counts: Int64, latest: Int64, first: int) -> tuple[Int64, Int64]:
        """The places of seeds in the words of some documents, in order, and the number of each seed.

        The words of document `i` are `words[index[i]:index[i + 1]]`. `counts`, int64 of shape `(n_seeds,)`, grows by
        the documents that have each seed. `latest`, of the same shape, keeps which document had a seed last; it begins
        as -1, and the documents have the numbers from `first` on.
        """
        at, found = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        n = _find_seeds(
            read_only(words, np.uint64),
            read_only(index, np.int64),
            self.seeds,
            self._starts,
            self._shift,
            self._filter,
            self._filter_shift,
            self._pairs,
            self._pair_shift,
            counts,
            latest,
            first,
            at,
            found,
        )
        return at[:n], found[:n]


def pair_hashes(pairs: Words) -> Words:
    """A hash of each pair of words, whose high bits tell most; uint64, shape `(n,)`."""
    return (pairs[:, 0] * _MIX ^ pairs[:, 1]) * _MIX


@kernel
def _set_bits(at: Any, there: Any) -> None:
    for i in range(len(at)):
        there[at[i] >> np.uint64(3)] |= np.uint8(1) << np.uint8(at[i] & np.uint64(7))


@kernel
def _find_seeds(
    words: Any,
    index: Any,
    seeds: Any,
    starts: Any,
    shift: int,
    present: Any,
    filter_shift: int,
    pairs: Any,
    pair_shift: int,
    counts: Any,
    latest: Any,
    number: int,
    at: Any,
    found: Any,
) -> int:
    n = 0
    by_bucket, by_bit, seven = np.uint64(shift), np.uint64(filter_shift), np.uint64(7)
    by_pair = np.uint64(pair_shift)
    for doc in range(len(index) - 1):
        follow = np.int64(0)  # pairs in a row, up to the one at hand, that are in some item
        for last in range(index[doc] + 1, index[doc + 1]):
            bit = (words[last - 1] * _MIX ^ words[last]) * _MIX >> by_pair
            follow = (follow + 1) * np.int64(pairs[bit >> np.uint64(3)] >> np.uint8(bit & seven) & 1)
            if follow < SEED - 1:
                continue
            i = last - SEED + 1
            state = start64()
            for k in range(SEED):
                state = absorb64(state, words[i + k])
            seed = finish64(state, SEED)
            bit = seed >> by_bit
            if present[bit >> np.uint64(3)] >> np.uint8(bit & seven) & 1 == 0:
                continue
            bucket = seed >> by_bucket
            for k in range(starts[bucket], starts[bucket + np.uint64(1)]):
                if seeds[k] == seed:
                    at[n], found[n] = i, k
                    n += 1
                    if latest[k] != number + doc:
                        latest[k] = number + doc
                        counts[k] += 1
                    break
    return n


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Where items may lie, int64 of one length: `item` in `document`.

    Its words lie there from `least` to `most` words of the batch further on than in the item.
    """

    document: Int64
    item: Int64
    least: Int64
    most: Int64

    def __len__(self) -> int:
        return len(self.item)


def places_of(items: Items, at: Int64, found: Int64, index: Int64) -> Stretches:
    """Where items may lie in documents, given where seeds do, and which; `index` has where each document begins."""
    document = np.searchsorted(index, at, side="right") - 1
    room = max(len(at), 64)
    at, found, document = (read_only(one, np.int64) for one in (at, found, document))
    bounds, holders, offsets = (read_only(one, np.int64) for one in (items.bounds, items.holders, items.offsets))
    least = read_only(np.maximum((items.needed + SEED - 1) // SEED, 1), np.int64)
    counts = np.zeros(len(items), np.int64)
    entries = np.empty((4, room), np.int64)
    n = _gather(at, found, document, bounds, holders, offsets, least, counts, entries)
    if n > room:
        entries = np.empty((4, n), np.int64)
        _gather(at, found, document, bounds, holders, offsets, least, counts, entries)
    entries = entries[:, :n]
    order = np.lexsort((entries[2], entries[2] - entries[3], entries[1], entries[0]))
    entries = read_only(entries[:, order], np.int64)
    longest = int(items.lengths.max(initial=0))
    places = np.empty((4, n), np.int64)
    marks = np.full(longest, -1, np.int64)
    n = _group(
        entries,
        read_only(items.lengths, np.int64),
        read_only(items.needed, np.int64),
        read_only(items.reach, np.int64),
        marks,
        places,
    )
    names = [one.name for one in fields(Stretches)]
    return Stretches(**{name: row.copy() for name, row in zip(names, places[:, :n], strict=True)})


@kernel
def _gather(
    at: Any, found: Any, document: Any, bounds: Any, holders: Any, offsets: Any, least: Any, counts: Any, entries: Any
) -> int:
    """How many pairs there are of a seed's place and a word of an item that has enough seeds in the document.

    The first of them go into `entries`: document, item, word of all, word of the item.
    """
    n, start = 0, 0
    while start < len(at):
        end = start
        while end < len(at) and document[end] == document[start]:
            for k in range(bounds[found[end]], bounds[found[end] + 1]):
                counts[holders[k]] += 1
            end += 1
        for i in range(start, end):
            for k in range(bounds[found[i]], bounds[found[i] + 1]):
                item = holders[k]
                if counts[item] >= least[item]:
                    if n < entries.shape[1]:
                        entries[0, n], entries[1, n] = document[i], item
                        entries[2, n], entries[3, n] = at[i], offsets[k]
                    n += 1
        for i in range(start, end):
            for k in range(bounds[found[i]], bounds[found[i] + 1]):
                counts[holders[k]] = 0
        start = end
    return n


@kernel
def _group(entries: Any, lengths: Any, needed: Any, reach: Any, marks: Any, places: Any) -> int:
    """Pairs of one document and item that lie about as far from each other in both are a stretch."""
    n, start, n_pairs = 0, 0, entries.shape[1]
    while start < n_pairs:
        item = entries[1, start]
        least = entries[2, start] - entries[3, start]
        most, covered, end = least, 0, start
        while end < n_pairs and entries[0, end] == entries[0, start] and entries[1, end] == item:
            diagonal = entries[2, end] - entries[3, end]
            if diagonal - most > reach[item]:
                break
            most = diagonal
            for k in range(entries[3, end], min(entries[3, end] + SEED, lengths[item])):
                if marks[k] != start:
                    marks[k] = start
                    covered += 1
            end += 1
        if covered >= needed[item]:
            places[0, n], places[1, n], places[2, n], places[3, n] = entries[0, start], item, least, most
            n += 1
        start = end
    return n


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What is there of the item of each stretch.

    `covered` has a byte for each word of the question, 1 where it is found; that of stretch `i` is
    `covered[index[i]:index[i + 1]]`. What was found lies from the word `first` of all to before `end`, which is 0 where
    nothing was. `answer` is the share, by weight, of the best answer that lies near, `answer_weight` how much that is.
    """

    covered: npt.NDArray[np.uint8]
    index: Int64
    first: Int64
    end: Int64
    answer: Floats
    answer_weight: Floats


def measured(items: Items, stretches: Stretches, words: Words, index: Int64) -> Measures:
    """Look closely at each stretch; the words of document `i` are `words[index[i]:index[i + 1]]`."""
    lengths = (items.index[1:] - items.index[:-1])[stretches.item]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = len(stretches)
    covered, first, end = np.zeros(bounds[-1], np.uint8), np.zeros(n, np.int64), np.zeros(n, np.int64)
    answer, answer_weight = np.zeros(n), np.zeros(n)
    longest = int(np.diff(items.answer_index).max(initial=0))
    places = np.stack([getattr(stretches, one.name) for one in fields(stretches)])
    _measure(
        read_only(words, np.uint64),
        read_only(index, np.int64),
        read_only(places.reshape(4, n), np.int64),
        read_only(items.words, np.uint64),
        read_only(items.index, np.int64),
        read_only(items.answers, np.int64),
        read_only(items.answer_words, np.uint64),
        read_only(items.answer_index, np.int64),
        read_only(items.reach, np.int64),
        read_only(items.answer_weights, np.float64),
        read_only(bounds, np.int64),
        np.zeros(longest, np.uint8),
        covered,
        first,
        end,
        answer,
        answer_weight,
    )
    return Measures(covered=covered, index=bounds, first=first, end=end, answer=answer, answer_weight=answer_weight)


@kernel
def _measure(
    words: Any,
    index: Any,
    places: Any,
    item_words: Any,
    item_index: Any,
    answers: Any,
    answer_words: Any,
    answer_index: Any,
    reach: Any,
    weights: Any,
    bounds: Any,
    marks: Any,
    covered: Any,
    first: Any,
    end: Any,
    answer: Any,
    answer_weight: Any,
) -> None:
    for n in range(places.shape[1]):
        document, item = places[0, n], places[1, n]
        start, stop = index[document], index[document + 1]
        least, most = places[2, n] - reach[item], places[3, n] + reach[item]
        first[n], end[n] = _cover(
            words, start, stop, least, most, item_words, item_index[item], item_index[item + 1], covered, bounds[n]
        )
        if end[n] == 0:
            continue
        for one in range(answers[item], answers[item + 1]):
            begin, finish = answer_index[one], answer_index[one + 1]
            size = finish - begin
            marks[:size] = 0
            near = max(first[n] - AROUND, start)
            beyond = min(end[n] + AROUND + 2 * size, stop)
            _cover(words, near, beyond, -len(words), len(words), answer_words, begin, finish, marks, 0)
            found, whole = 0.0, 0.0
            for k in range(size):
                whole += weights[begin + k]
                if marks[k] != 0:
                    found += weights[begin + k]
            if whole > 0.0 and found / whole > answer[n]:
                answer[n], answer_weight[n] = found / whole, found


@kernel
def _cover(
    words: Any, start: int, stop: int, least: int, most: int, parts: Any, begin: int, finish: int, marks: Any, to: int
) -> tuple[int, int]:
    """Mark which of some parts are among the words from `start` to `stop`, in runs; from where to where these lie.

    Each lies between `least` and `most` words further on than among the parts.
    """
    first, end = stop, 0
    run = min(RUN, finish - begin)
    for i in range(finish - begin - run + 1):
        for j in range(max(i + least, start), min(i + most + 1, stop - run + 1)):
            k = 0
            while k < run and words[j + k] == parts[begin + i + k]:
                k += 1
            if run > 0 and k == run:
                for m in range(run):
                    marks[to + i + m] = 1
                first, end = min(first, j), max(end, j + run)
    return first, end
