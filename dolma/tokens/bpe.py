"""The merges of a byte-level BPE, from words and how often each occurs (Sennrich et al. 2016, arXiv:1508.07909).

The pair of tokens that stands together most often becomes a token, until there are as many as were asked for. Of pairs
with equal counts the one whose left token has the smaller id is first, then the smaller right one. That, and the
numbering (special tokens, bytes in the order of their symbols, merges as they are made), are the rules of the trainer
of `tokenizers` 0.2x, so its merges come out (`data/sample/train_tokenizer.py` has made the file that a test compares);
1.0 has no trainer. Two differences: a merge that would spell a special token is left out, and counts have 64 bits.

As there, two pairs may spell one token, such as `a`+`bc` and `ab`+`c`: both are merges, and the token has one id. What
a pair gains after it was first counted is queued apart. A pair that is joined twice has the rank of the second time.

Time grows with what merges change, not with words times merges. Memory: the bytes of different words, times about 90.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dolma.kernels.pair_merges import merge_pair
from dolma.models.tokenizer_file import BYTE_SYMBOLS

Int64 = npt.NDArray[np.int64]
ALPHABET = sorted(BYTE_SYMBOLS)
"""The first tokens behind the special ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Different words: the bytes of all, where each ends, and how often it occurs; int64, shape `(n_words,)`."""

    utf8: npt.NDArray[np.uint8]
    ends: Int64
    counts: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Merges:
    """A vocabulary, by id, written in byte symbols, and the pairs of its tokens that are joined, by rank."""

    tokens: list[str]
    pairs: list[tuple[str, str]]


def train_merges(words: Words, *, vocab_size: int, min_count: int = 1, special: Sequence[str] = ()) -> Merges:
    """The vocabulary of `vocab_size` tokens, or fewer if no pair is left that occurs `min_count` times.

    The order of words changes nothing. `special` are the first tokens, which no merge spells.
    """
    tokens = [*special, *ALPHABET]
    ids = {token: id for id, token in enumerate(tokens)}
    kept = set(special)
    spelling = _Spelling(words, np.array([ids[symbol] for symbol in BYTE_SYMBOLS], np.int32))
    pairs: dict[tuple[str, str], None] = {}
    while len(tokens) < vocab_size and (best := spelling.most_frequent()) is not None:
        count, left, right, where = best
        if count < max(1, min_count):
            break
        token = tokens[left] + tokens[right]
        if token in kept:
            continue
        if token not in ids:
            ids[token] = len(tokens)
            tokens.append(token)
        pairs.pop(made := (tokens[left], tokens[right]), None)  # made again, it comes last
        pairs[made] = None
        spelling.join((left, right), ids[token], where)
    return Merges(tokens=tokens, pairs=list(pairs))


class _Spelling:
    """The words as tokens, and a queue of pairs: their count, and the words to join them in."""

    def __init__(self, words: Words, ids: npt.NDArray[np.int32]) -> None:
        self._symbols = ids[words.utf8]
        self._counts = words.counts
        self._lengths = np.diff(words.ends, prepend=0)
        self._starts = words.ends - self._lengths
        self._pairs: dict[int, int] = {}  # how often each pair stands, `left << 32 | right`
        self._queue: list[tuple[int, int, int]] = []  # count (negative), pair, number of the words
        self._where: list[Int64 | None] = []
        of = np.repeat(np.arange(len(self._lengths)), self._lengths)
        both = np.flatnonzero(of[1:] == of[:-1])
        pairs = self._symbols[both].astype(np.int64) << 32 | self._symbols[both + 1]
        self._count(pairs, np.ones(len(pairs), np.int64), of[both])

    def most_frequent(self) -> tuple[int, int, int, Int64] | None:
        """The pair that stands most often, how often, and in which words; it leaves the queue."""
        while self._queue:
            count, pair, number = self._queue[0]
            if -count != self._pairs[pair]:
                heapq.heapreplace(self._queue, (-self._pairs[pair], pair, number))
                continue
            heapq.heappop(self._queue)
            where, self._where[number] = self._where[number], None
            assert where is not None
            return -count, pair >> 32, pair & 0xFFFFFFFF, where
        return None

    def join(self, pair: tuple[int, int], new: int, where: Int64) -> None:
        """Join the pair in these words."""
        self._count(*merge_pair(self._symbols, self._starts, self._lengths, where, pair=pair, new=new))

    def _count(self, pairs: Int64, changes: Int64, of: Int64) -> None:
        """Take these changes over, in words that ascend, and queue the pairs that there are more of."""
        if not len(pairs):
            return
        order = np.argsort(pairs, kind="stable")
        pairs, changes, of = pairs[order], changes[order], of[order]
        first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
        sums = np.add.reduceat(changes * self._counts[of], first)
        for pair, change in zip(pairs[first].tolist(), sums.tolist(), strict=True):
            self._pairs[pair] = self._pairs.get(pair, 0) + change
        for pair, where in _by_pair(pairs[changes > 0], of[changes > 0]):
            if (count := self._pairs[pair]) > 0:
                heapq.heappush(self._queue, (-count, pair, len(self._where)))
                self._where.append(where)


def _by_pair(pairs: Int64, of: Int64) -> Iterator[tuple[int, Int64]]:
    """Each pair of a sorted series with the words that it stands in, each once."""
    if not len(pairs):
        return
    is_first = np.append(True, pairs[1:] != pairs[:-1])
    new = is_first | np.append(True, of[1:] != of[:-1])
    pairs, of, is_first = pairs[new], of[new], is_first[new]
    first = np.flatnonzero(is_first)
    yield from zip(pairs[first].tolist(), np.split(of, first[1:]), strict=True)
