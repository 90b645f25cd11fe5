"""Benchmark items as they are looked for in documents, and what a hit of one counts.

Each word of a question weighs 1, but less if it has fewer than four characters, is of digits, or is part of a run of
five words that many documents or many items have. Of what weighs `whole`, `found` is there, and

    known(found, whole) = (found - common) / (whole - common) * min(1, found / 5)
    common              = min(3.5, 0.8 * whole), what any phrase has in common with some question

    question = known(words of the question)
    both     = known(words of the question and the answer) * share of the question
    score    = max(question * (0.9 + 0.1 * share of the answer), both)

and `question` alone where the file has no answer. So an answer alone counts nothing, a question counts less without its
answer, and a short one that anybody may ask needs it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch
from dolma.data.items import Asked
from dolma.kernels import contamination, shingles
from dolma.kernels.contamination import AROUND, SEED
from dolma.kernels.shingles import Shingles

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ENOUGH = 5.0
"""Weight of words from which on they are no phrase that anyone writes."""
COMMON, COMMON_SHARE = 3.5, 0.8
WITHOUT_ANSWER = 0.9
"""What a question counts without its answer, where that is known."""
_MOST_HOLDERS = 64  # items of one seed
_LEAST_DOCUMENTS, _LEAST_ITEMS = 100_000, 1_000  # that frequencies are compared with, at the least
_COVERED = 0.25  # of an item's words, by its seeds, before it is compared closely
_WHOLE_WORD = 4  # characters


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a benchmark: its name there. `searchable` is false where it has too few words to be looked for."""

    benchmark: str
    id: str
    searchable: bool


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """Items of benchmarks, made ready.

    `names` of all items, in order; `items`, what kernels look for; of each word of a question, in the order of
    `items.words`, `content`, float64, what it weighs by itself, and `seed`, int64, the number of the seed that begins
    there, or -1; `held`, int64, how many items have each seed.
    """

    names: list[Item]
    items: contamination.Items
    content: Floats
    seed: Ints
    held: Ints

    @classmethod
    def of(cls, asked: Iterable[tuple[str, Asked]]) -> Benchmarks:
        """The items of some benchmarks, each with the name of its benchmark."""
        named = list(asked)
        questions = [item.question for _, item in named]
        answers = [answer for _, item in named for answer in item.answers]
        n_answers = np.array([len(item.answers) for _, item in named], np.int64)
        question, content = _words(questions)
        answer, answer_content = _words(answers)
        weights = answer_content * _rarity_of_answers(answer, len(named))
        sequences, needs_answer = _sequences(question, content, answer, n_answers)
        seeds, inverse, item, offset = _seeds(sequences)
        held = _held(inverse, item, len(seeds))
        told = held[inverse] <= _MOST_HOLDERS
        order = np.argsort(inverse[told], kind="stable")
        lengths = np.diff(sequences.index)
        n_question = np.diff(question.index)
        shorter = np.where(needs_answer, np.minimum(n_question, lengths - n_question), n_question)
        needed = np.maximum(np.ceil(_COVERED * shorter), SEED).astype(np.int64)
        items = contamination.Items(
            seeds=seeds,
            bounds=np.searchsorted(inverse[told][order], np.arange(len(seeds) + 1)).astype(np.int64),
            holders=item[told][order],
            offsets=offset[told][order],
            words=question.hashes,
            index=question.index,
            lengths=lengths,
            answers=np.concatenate([[0], np.cumsum(n_answers)]).astype(np.int64),
            answer_words=answer.hashes,
            answer_index=answer.index,
            answer_weights=weights,
            needed=needed,
            reach=np.where(needs_answer, AROUND, 3 + n_question // 10).astype(np.int64),
        )
        searchable = np.bincount(items.holders, minlength=len(named)) > 0
        names = [
            Item(benchmark=benchmark, id=item.id, searchable=found)
            for (benchmark, item), found in zip(named, searchable.tolist(), strict=True)
        ]
        begins = np.full(len(question.hashes), -1, np.int64)
        in_question = offset + SEED <= n_question[item]
        begins[question.index[item[in_question]] + offset[in_question]] = inverse[in_question]
        return cls(names=names, items=items, content=content, seed=begins, held=held)

    @functools.cached_property
    def lookup(self) -> contamination.Lookup:
        """Where a seed stands among those of the items."""
        return contamination.Lookup(self.items.seeds, self._neighbours())

    def _neighbours(self) -> npt.NDArray[np.uint64]:
        """Each two words that follow each other in a question, in its first answer, or from one to the other."""
        items = self.items
        asked = np.flatnonzero((np.diff(items.index) > 0) & (np.diff(items.answers) > 0))
        ends, begins = items.words[items.index[asked + 1] - 1], items.answer_index[items.answers[asked]]
        there = begins < items.answer_index[items.answers[asked] + 1]
        between = ends[there], items.answer_words[begins[there]]
        inside = ((words[:-1], words[1:]) for words in (items.words, items.answer_words))
        return np.concatenate([np.column_stack(pair) for pair in (*inside, between)])

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        own = {name: getattr(self, name) for name in ("content", "seed", "held")}
        return own | {one.name: getattr(self.items, one.name) for one in fields(self.items)}

    @classmethod
    def from_arrays(cls, names: list[Item], arrays: dict[str, npt.NDArray[Any]]) -> Benchmarks:
        """What has these `arrays`."""
        items = contamination.Items(**{one.name: arrays[one.name] for one in fields(contamination.Items)})
        return cls(names=names, items=items, **{name: arrays[name] for name in ("content", "seed", "held")})

    def weights(self, documents: Ints, n_documents: int) -> Floats:
        """What each word of the questions weighs, where each seed is in so many of so many documents; 0-1."""
        of_seeds = _rarity(documents, max(n_documents, _LEAST_DOCUMENTS))
        of_seeds = of_seeds * _rarity(self.held, max(len(self.names), _LEAST_ITEMS)) ** 2
        rarity = np.ones(len(self.seed))
        begun = np.flatnonzero(self.seed >= 0)
        for k in range(SEED):
            rarity[begun + k] = np.minimum(rarity[begun + k], of_seeds[self.seed[begun]])
        return self.content * rarity


def score_of(
    weights: Floats, covered: npt.NDArray[np.uint8], *, answered: bool, answer: float, answer_weight: float
) -> float:
    """The score of a hit, 0-1: `weights` and `covered` are of the words of the question.

    `answered`: the item has an answer in its file; `answer`, `answer_weight`: of `contamination.Measures`.

    >>> score_of(np.ones(8), np.ones(8, np.uint8), answered=True, answer=0.0, answer_weight=0.0)
    0.9
    """
    whole = math.fsum(weights.tolist())
    found = math.fsum((weights * covered).tolist())
    question = _known(found, whole)
    if not answered:
        return question
    question *= WITHOUT_ANSWER + (1 - WITHOUT_ANSWER) * answer
    if answer == 0.0 or found == 0.0:
        return question
    return max(question, _known(found + answer_weight, whole + answer_weight / answer) * found / whole)


def _known(found: float, whole: float) -> float:
    common = min(COMMON, COMMON_SHARE * whole)
    return (found - common) / (whole - common) * min(1.0, found / ENOUGH) if found > common else 0.0


def _words(texts: Sequence[str]) -> tuple[Shingles, Floats]:
    """The words of each text, and what each of them weighs by itself."""
    batch = TextBatch.of(texts)
    found = shingles.word_hashes(batch.utf8, batch.offsets)
    joined = "\n".join(batch.texts())
    bounds = shingles.word_bounds(np.frombuffer(joined.encode(), np.uint8), len(found.hashes))
    characters = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    lengths = bounds[:, 1] - bounds[:, 0]
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    digits = np.concatenate([[0], np.cumsum(is_digit)])
    content = np.minimum(lengths / _WHOLE_WORD, 1.0)
    first = characters[bounds[:, 0]]
    content[(first >= 0x0E00) & (lengths <= 2)] = 0.75  # a letter of a script that tells more than one of Latin
    content[digits[bounds[:, 1]] - digits[bounds[:, 0]] == lengths] *= 0.5
    return found, content


def _sequences(question: Shingles, content: Floats, answer: Shingles, n_answers: Ints) -> tuple[Shingles, Any]:
    """The words that seeds come from: of the question, and of the first answer if the question may not be enough."""
    n_question = np.diff(question.index)
    ones = shingles.Shingles(hashes=question.hashes, index=question.index)
    seeds, inverse, item, _ = _seeds(ones)
    held = _held(inverse, item, len(seeds))
    telling = np.bincount(item[held[inverse] <= _MOST_HOLDERS], minlength=len(n_question))
    weight = np.add.reduceat(np.append(content, 0.0), question.index[:-1]) if len(n_question) else np.zeros(0)
    needs = ((telling == 0) | (n_question < SEED) | (weight < ENOUGH)) & (n_answers > 0)
    first_answer = np.concatenate([[0], np.cumsum(n_answers)])[:-1]
    parts, index = [], [0]
    for i in range(len(n_question)):
        parts.append(question.hashes[question.index[i] : question.index[i + 1]])
        index.append(index[-1] + len(parts[-1]))
        if needs[i]:
            a = first_answer[i]
            parts.append(answer.hashes[answer.index[a] : answer.index[a + 1]])
            index[-1] += len(parts[-1])
    hashes = np.concatenate([question.hashes[:0], *parts])
    return Shingles(hashes=hashes, index=np.array(index, np.int64)), needs


def _seeds(words: Shingles) -> tuple[npt.NDArray[np.uint64], Ints, Ints, Ints]:
    """The different seeds, sorted; and of each seed of each item in order: its number, the item, and its word there."""
    runs = shingles.runs_of(words, n=SEED)
    n_runs = np.diff(runs.index)
    item = np.repeat(np.arange(len(n_runs)), n_runs)
    offset = np.arange(len(runs.hashes)) - runs.index[item]
    whole = np.diff(words.index)[item] >= SEED
    seeds, inverse = np.unique(runs.hashes[whole], return_inverse=True)
    return seeds, inverse.astype(np.int64), item[whole], offset[whole]


def _held(inverse: Ints, item: Ints, n_seeds: int) -> Ints:
    """How many items have each seed."""
    n_items = int(item.max(initial=0)) + 1
    pairs = np.sort(inverse * n_items + item)
    different = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))]
    return np.bincount(different // n_items, minlength=n_seeds)


def _rarity(count: Ints, of: int) -> Floats:
    """1 for what is there once at the most, 0 for what is in all of so many."""
    return np.maximum(1.0 - np.log(np.maximum(count, 1)) / math.log(of), 0.0)


def _rarity_of_answers(answer: Shingles, n_items: int) -> Floats:
    """For each word of each answer, how rare the answer is among those of all items."""
    index = answer.index.tolist()
    wholes = [answer.hashes[start:end].tobytes() for start, end in itertools.pairwise(index)]
    counts = Counter(wholes)
    rarity = _rarity(np.array([counts[whole] for whole in wholes], np.int64), max(n_items, _LEAST_ITEMS)) ** 2
    return np.repeat(rarity, np.diff(answer.index))
