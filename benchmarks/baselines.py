"""Unigram and trigram models of token shards, in bits per byte on held-out shards: what a small model has to beat.

    python -m benchmarks.baselines --train runs/sample/tokens --held-out runs/sample-heldout/tokens

The unigram model is the relative frequency of each id, one added to each count. The trigram model is interpolated
Kneser-Ney with one discount per order, `n1 / (n1 + 2 n2)` of its counts (Chen and Goodman 1999, section 2.7). Both see
whole documents, each begun after an end-of-text token, and every token counts, that at the end of a document too: as in
`dolma eval`.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator

import numpy as np

from dolma.training.data.shards import open_shards
from dolma.training.eval_inputs import bytes_of_ids

Ids = np.ndarray


class Unigram:
    """Add-one smoothed frequencies."""

    def __init__(self, documents: list[Ids], vocab_size: int) -> None:
        counts = np.bincount(np.concatenate(documents), minlength=vocab_size) + 1.0
        self.log2 = np.log2(counts / counts.sum())

    def bits(self, ids: Ids) -> float:
        """Bits of a document, its first token left out."""
        return -float(self.log2[ids[1:]].sum())


class Trigram:
    """Interpolated Kneser-Ney."""

    def __init__(self, documents: list[Ids], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        trigrams: dict[tuple[int, int, int], int] = {}
        bigrams: dict[tuple[int, int], int] = {}
        for ids in documents:
            padded = [int(ids[0]), *ids.tolist()]
            for a, b, c in zip(padded, padded[1:], padded[2:], strict=False):
                trigrams[a, b, c] = trigrams.get((a, b, c), 0) + 1
        for _, b, c in trigrams:
            bigrams[b, c] = bigrams.get((b, c), 0) + 1
        unigrams: dict[int, int] = {}
        for _, c in bigrams:
            unigrams[c] = unigrams.get(c, 0) + 1
        self.trigrams, self.bigrams, self.unigrams = trigrams, bigrams, unigrams
        self.discounts = [_discount(counts) for counts in (unigrams, bigrams, trigrams)]
        self.after_two = _by_context({key[:2]: 0 for key in trigrams}, ((key[:2], n) for key, n in trigrams.items()))
        self.after_one = _by_context({key[0]: 0 for key in bigrams}, ((key[0], n) for key, n in bigrams.items()))
        self.total = sum(unigrams.values())

    def bits(self, ids: Ids) -> float:
        """Bits of a document, its first token left out."""
        padded = [int(ids[0]), *ids.tolist()]
        triples = zip(padded, padded[1:], padded[2:], strict=False)
        return -sum(math.log2(self.probability(a, b, c)) for a, b, c in triples)

    def probability(self, a: int, b: int, c: int) -> float:
        """Of `c` after `a` and `b`."""
        d1, d2, d3 = self.discounts
        lowest = max(self.unigrams.get(c, 0) - d1, 0) / self.total
        lowest += d1 * len(self.unigrams) / self.total / self.vocab_size
        middle = _interpolated(self.bigrams.get((b, c), 0), self.after_one.get(b), d2, lowest)
        return _interpolated(self.trigrams.get((a, b, c), 0), self.after_two.get((a, b)), d3, middle)


def _interpolated(count: int, context: tuple[int, int] | None, discount: float, lower: float) -> float:
    if context is None:
        return lower
    total, kinds = context
    return max(count - discount, 0) / total + discount * kinds / total * lower


def _discount(counts: dict) -> float:
    ones = sum(n == 1 for n in counts.values())
    twos = sum(n == 2 for n in counts.values())
    return ones / (ones + 2 * twos) if ones else 0.0


def _by_context(zero: dict, counts: Iterator) -> dict:
    """Sum of counts, and how many different ones, by context."""
    sums, kinds = dict(zero), dict(zero)
    for context, n in counts:
        sums[context] += n
        kinds[context] += 1
    return {context: (sums[context], kinds[context]) for context in sums}


def documents_of(tokens: str) -> tuple[list[Ids], int]:
    """Documents with an end-of-text token before them, and the vocabulary."""
    shards = open_shards(tokens)
    end = shards.eos_id or 0
    found = []
    for shard in shards.shards:
        bounds = shard.boundaries.tolist()
        for start, stop in itertools.pairwise(bounds):
            found.append(np.concatenate([[end], np.asarray(shard.ids[start:stop], dtype=np.int64)]))
    return found, shards.vocab_size


def bits_per_byte(train: str, held_out: str) -> dict[str, float]:
    """Of each model, by name."""
    documents, vocab_size = documents_of(train)
    unseen, _ = documents_of(held_out)
    sizes = bytes_of_ids(held_out, open_shards(held_out))
    n_bytes = sum(int(sizes[ids[1:]].sum()) for ids in unseen)
    models = {"unigram": Unigram(documents, vocab_size), "trigram": Trigram(documents, vocab_size)}
    return {name: sum(model.bits(ids) for ids in unseen) / n_bytes for name, model in models.items()}


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, metavar="DIR")
    parser.add_argument("--held-out", required=True, metavar="DIR")
    given = parser.parse_args()
    for name, bits in bits_per_byte(given.train, given.held_out).items():
        print(f"{name}: {bits:.4f} bits per byte")


if __name__ == "__main__":
    main()
