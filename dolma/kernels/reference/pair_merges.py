"""`dolma.kernels.pair_merges` of one word, and the training of a BPE that it is for."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping

Pair = tuple[int, int]


def merge_pair(word: list[int], pair: Pair, new: int) -> tuple[list[int], list[tuple[Pair, int]]]:
    """The word with the pair joined, from left to right, and what that takes from and adds to the counts of pairs.

    >>> merge_pair([1, 2, 3], (1, 2), 4)
    ([4, 3], [((2, 3), -1), ((4, 3), 1)])
    """
    done: list[int] = []
    changes: list[tuple[Pair, int]] = []
    rest = list(word)
    while rest:
        if tuple(rest[:2]) != pair:
            done.append(rest.pop(0))
            continue
        rest = rest[2:]
        if done:
            changes += [((done[-1], pair[0]), -1), ((done[-1], new), 1)]
        if rest:
            changes += [((pair[1], rest[0]), -1), ((new, rest[0]), 1)]
        done.append(new)
    return done, changes


def train(words: Mapping[bytes, int], *, vocab_size: int, min_count: int = 1) -> list[tuple[bytes, bytes]]:
    """The merges of a byte-level BPE of so many tokens, 256 of them bytes, by what `dolma.tokens.bpe` says.

    >>> train({b"abab": 2, b"ab": 1}, vocab_size=258)
    [(b'a', b'b'), (b'ab', b'ab')]
    """
    tokens = [bytes([byte]) for byte in range(256)]
    ids = {token: id for id, token in enumerate(tokens)}
    spelled = [list(word) for word in words]
    times = list(words.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(spelled):
        for pair in itertools.pairwise(word):
            counts[pair] += times[number]
            places[pair].add(number)
    queue = [(counts[pair], pair, where) for pair, where in places.items()]
    merges: list[tuple[bytes, bytes]] = []
    while len(tokens) < vocab_size and queue:
        best = min(range(len(queue)), key=lambda i: (-queue[i][0], queue[i][1]))
        count, pair, where = queue.pop(best)
        if count != counts[pair]:
            queue.append((counts[pair], pair, where))
            continue
        if count < max(1, min_count):
            break
        joined = tokens[pair[0]] + tokens[pair[1]]
        if joined not in ids:
            ids[joined] = len(tokens)
            tokens.append(joined)
        merges.append((tokens[pair[0]], tokens[pair[1]]))
        grown: defaultdict[Pair, set[int]] = defaultdict(set)
        for number in sorted(where):
            spelled[number], changes = merge_pair(spelled[number], pair, ids[joined])
            for changed, change in changes:
                counts[changed] += change * times[number]
                if change > 0:
                    grown[changed].add(number)
        queue += [(counts[pair], pair, where) for pair, where in grown.items() if counts[pair] > 0]
    return list(dict.fromkeys(reversed(merges)))[::-1]
