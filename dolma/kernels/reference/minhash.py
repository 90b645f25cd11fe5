"""`dolma.kernels.minhash` on Python integers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

_32, _64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def permutations(n: int, seed: int) -> list[tuple[int, int]]:
    """The factor, which is odd, and the summand of each permutation."""
    generator = np.random.RandomState(seed)
    factors = [2 * int(i) + 1 for i in generator.randint(0, 1 << 31, n, dtype=np.uint32)]
    return list(zip(factors, map(int, generator.randint(0, 1 << 32, n, dtype=np.uint32)), strict=True))


def mixed(value: int) -> int:
    """The finalizer of MurmurHash3 on 32 bits."""
    value = (value ^ value >> 16) * 0x85EBCA6B & _32
    value = (value ^ value >> 13) * 0xC2B2AE35 & _32
    return value ^ value >> 16


def signature(shingles: Collection[int], by: Iterable[tuple[int, int]]) -> list[int]:
    """The smallest value of all shingles under each permutation.

    >>> signature([1, 2], [(1, 0)]) == [min(mixed(1), mixed(2))]
    True
    """
    values = [mixed(shingle & _32) for shingle in shingles]
    return [min((factor * value + summand & _32 for value in values), default=_32) for factor, summand in by]


def band(signature: Sequence[int], number: int, rows: int) -> int:
    """The hash of one band of a signature: of its number, then of its rows."""
    state = 0x243F6A8885A308D3
    for part in [number, *signature[number * rows : (number + 1) * rows]]:
        state = (state ^ part) * 0x9E3779B97F4A7C15 & _64
        state ^= state >> 32
    state = (state ^ rows) * 0xC4CEB9FE1A85EC53 & _64
    return state ^ state >> 29


def jaccard(left: Iterable[int], right: Iterable[int]) -> float:
    """Shared elements by elements of either; 1 for two empty sets.

    >>> jaccard([1, 2, 3], [2, 3, 4])
    0.5
    """
    one, other = set(left), set(right)
    return len(one & other) / len(one | other) if one | other else 1.0


def joined(buckets: Iterable[Sequence[int]], sets: Sequence[Iterable[int]], threshold: float) -> list[int]:
    """The first document of each document's cluster: two in one bucket and at least this alike are joined.

    >>> joined([[0, 1], [1, 2]], [[1], [1], [2]], 0.5)
    [0, 0, 2]
    """
    leaders = list(range(len(sets)))
    for bucket in buckets:
        for left in bucket:
            for right in bucket:
                if jaccard(sets[left], sets[right]) >= threshold:
                    low, high = sorted((leaders[left], leaders[right]))
                    leaders = [low if leader == high else leader for leader in leaders]
    return leaders
