"""`dolma.kernels.vectors` on Python's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def dot(one: Vector, other: Vector) -> float:
    """The products of two vectors, added up in four sums.

    >>> dot([1, 2, 3, 4, 5], [1, 1, 1, 1, 1])
    15.0
    """
    sums, end = [0.0, 0.0, 0.0, 0.0], len(one) - len(one) % 4
    for at, (a, b) in enumerate(zip(one, other, strict=True)):
        sums[at % 4 if at < end else 0] += a * b
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


def cosine(one: Vector, other: Vector) -> float:
    """How near two vectors are, -1 to 1.

    >>> cosine([3, 4], [4, 3]), cosine([1, 0], [0, 1])
    (0.96, 0.0)
    """
    return max(-1.0, min(1.0, dot(one, other) / math.sqrt(dot(one, one) * dot(other, other))))


def near(vectors: Sequence[Vector], threshold: float) -> list[int]:
    """The first vector of each one's cluster: two that reach the threshold are joined.

    >>> near([[1, 0], [1, 0.1], [0, 1]], 0.9)
    [0, 0, 2]
    """
    leaders = list(range(len(vectors)))
    for i, one in enumerate(vectors):
        for j in range(i):
            if cosine(vectors[j], one) >= threshold:
                low, high = sorted((leaders[i], leaders[j]))
                leaders = [low if leader == high else leader for leader in leaders]
    return leaders


def nearest(vector: Vector, centres: Sequence[Vector]) -> int:
    """The centre with the highest cosine, the first of equal ones.

    >>> nearest([1, 0.2], [[0, 1], [1, 0]])
    1
    """
    values = [dot(vector, centre) / math.sqrt(dot(centre, centre)) for centre in centres]
    return values.index(max(values))
