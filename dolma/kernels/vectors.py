"""Vectors of documents: their cosines, the documents that are near, and the cells in which these are looked for.

A matrix product (BLAS) says which cosines may reach a threshold, and a loop of one order decides. The order in which
BLAS adds depends on the machine and its threads, so what it says is trusted up to the bound of any order (Higham,
"Accuracy and Stability of Numerical Algorithms", section 3.1), and no answer depends on it.

The readable twin is `dolma/kernels/reference/vectors.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.minhash import leader_of, settle

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 1024
"""Vectors that are multiplied with as many others at once."""


@dataclass(frozen=True, slots=True)
class Near:
    """`leaders`: the first of each vector's cluster; `alike`: pairs that reach the threshold, of those not joined."""

    leaders: Ints
    alike: int


def squares(vectors: Floats) -> Doubles:
    """The square of each vector's Euclidean norm, `vectors` being `(n, size)`; float64, shape `(n,)`."""
    found = np.empty(len(vectors))
    _squares(read_only(vectors, np.float32), found)
    return found


def norms(vectors: Floats) -> Doubles:
    """The Euclidean norm of each vector; float64, shape `(n,)`.

    >>> norms(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [5.0, 0.0]
    """
    return np.sqrt(squares(vectors))


def normal(vectors: Floats, squares: Doubles) -> Floats:
    """The vectors with a norm of 1; float32. None may be zero."""
    return (vectors / np.sqrt(squares)[:, None]).astype(np.float32)


def error(size: int) -> float:
    """By how much a product of two `normal` vectors may be off their cosine, in whatever order it was added up.

    >>> error(768) < 5e-5
    True
    """
    return 1.01 * (size + 8) * 2.0**-24


def cosines(vectors: Floats, squares: Doubles, left: Ints, right: Ints) -> Doubles:
    """The cosine of pairs of vectors, by number; float64, shape `(n_pairs,)`, -1 to 1; 1 for equal ones.

    >>> cosines(np.array([[3, 4], [4, 3]], np.float32), np.array([25.0, 25.0]), np.array([0]), np.array([1])).tolist()
    [0.96]
    """
    found = np.empty(len(left))
    _cosines(
        read_only(vectors, np.float32),
        read_only(squares, np.float64),
        read_only(left, np.int64),
        read_only(right, np.int64),
        found,
    )
    return found


def near(vectors: Floats, squares: Doubles, which: Ints, *, threshold: float) -> Near:
    """The clusters of those vectors of which pairs reach a cosine; each pair is looked at, in blocks.

    `which` are the numbers of vectors that take part; none of these may be zero. Leaders are numbers in `which`.
    """
    leaders, alike = np.arange(len(which)), 0
    least = threshold - error(vectors.shape[1])
    for rows in _blocks(len(which)):
        some = normal(vectors[which[rows]], squares[which[rows]])
        for columns in _blocks(len(which), first=rows.start):
            others = some if columns == rows else normal(vectors[which[columns]], squares[which[columns]])
            products = product(some, others)
            alike += _join(
                read_only(products, np.float32),
                rows.start,
                columns.start,
                read_only(vectors, np.float32),
                read_only(squares, np.float64),
                read_only(which, np.int64),
                least,
                threshold,
                leaders,
            )
    settle(leaders)
    return Near(leaders, alike)


def product(rows: Floats, columns: Floats) -> Floats:
    """The product of each row with each of the others, by BLAS; float32, shape `(n_rows, n_columns)`."""
    return rows @ columns.T


def nearest(vectors: Floats, squares: Doubles, centres: Floats) -> Ints:
    """The centre that has the highest cosine with each vector, the first of equal ones; int64, shape `(n,)`.

    `centres` are `normal`.
    """
    found = np.empty(len(vectors), np.int64)
    of_centres, margin = np.sqrt(_squares_of(centres)), 2 * error(vectors.shape[1])
    for rows in _blocks(len(vectors)):
        some = normal(vectors[rows], squares[rows])
        products = product(some, centres)
        best = read_only(products.max(axis=1), np.float32)
        _nearest(
            read_only(products, np.float32),
            best,
            margin,
            read_only(np.ascontiguousarray(vectors[rows]), np.float32),
            read_only(centres, np.float32),
            read_only(of_centres, np.float64),
            found[rows],
        )
    return found


def centres(vectors: Floats, squares: Doubles, *, n: int, rounds: int) -> Floats:
    """Centres of `n` cells by k-means on the sphere, beginning with the first `n` vectors; float32, shape `(n, size)`.

    A cell that loses all of its vectors stays where it was.
    """
    units = normal(vectors, squares)
    found = units[:n].copy()
    before = np.full(len(vectors), -1)
    for _ in range(rounds):
        cells = nearest(vectors, squares, found)
        if np.array_equal(cells, before):
            break
        before = cells
        sums, counts = np.zeros(found.shape), np.zeros(n, np.int64)
        _add(read_only(units, np.float32), read_only(cells, np.int64), sums, counts)
        lengths = np.sqrt(_squares_of(sums.astype(np.float32)))
        there = (counts > 0) & (lengths > 0)
        found[there] = (sums[there] / lengths[there, None]).astype(np.float32)
    return found


def _squares_of(vectors: Floats) -> Doubles:
    return squares(np.ascontiguousarray(vectors))


def _blocks(n: int, *, first: int = 0) -> Iterator[slice]:
    yield from (slice(start, min(start + BLOCK, n)) for start in range(first, n, BLOCK))


@inlined
def _dot(one: Any, i: int, other: Any, j: int) -> float:
    # A product of two float32 is exact in float64. Four sums, always of the same numbers in the same order.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    size = one.shape[1]
    end = size - size % 4
    for at in range(0, end, 4):
        a += np.float64(one[i, at]) * np.float64(other[j, at])
        b += np.float64(one[i, at + 1]) * np.float64(other[j, at + 1])
        c += np.float64(one[i, at + 2]) * np.float64(other[j, at + 2])
        d += np.float64(one[i, at + 3]) * np.float64(other[j, at + 3])
    for at in range(end, size):
        a += np.float64(one[i, at]) * np.float64(other[j, at])
    return (a + b) + (c + d)


@inlined
def _cosine(vectors: Any, squares: Any, i: int, j: int) -> float:
    return max(-1.0, min(1.0, _dot(vectors, i, vectors, j) / np.sqrt(squares[i] * squares[j])))


@kernel
def _squares(vectors: Any, found: Any) -> None:
    for i in range(len(vectors)):
        found[i] = _dot(vectors, i, vectors, i)


@kernel
def _cosines(vectors: Any, squares: Any, left: Any, right: Any, found: Any) -> None:
    for pair in range(len(left)):
        found[pair] = _cosine(vectors, squares, left[pair], right[pair])


@kernel
def _join(
    products: Any,
    first_row: int,
    first_column: int,
    vectors: Any,
    squares: Any,
    which: Any,
    least: float,
    threshold: float,
    leaders: Any,
) -> int:
    alike = 0
    for row in range(products.shape[0]):
        i = first_row + row
        for column in range(max(0, i + 1 - first_column), products.shape[1]):
            if products[row, column] < least:
                continue
            j = first_column + column
            one, other = leader_of(leaders, i), leader_of(leaders, j)
            if one != other and _cosine(vectors, squares, which[i], which[j]) >= threshold:
                leaders[max(one, other)] = min(one, other)
                alike += 1
    return alike


@kernel
def _nearest(products: Any, best: Any, margin: float, vectors: Any, centres: Any, of_centres: Any, found: Any) -> None:
    for i in range(len(vectors)):
        least, cell, highest = best[i] - margin, -1, 0.0
        for k in range(len(centres)):
            if products[i, k] >= least:
                value = _dot(vectors, i, centres, k) / of_centres[k]
                if cell < 0 or value > highest:
                    cell, highest = k, value
        found[i] = cell


@kernel
def _add(vectors: Any, cells: Any, sums: Any, counts: Any) -> None:
    for i in range(len(vectors)):
        counts[cells[i]] += 1
        for at in range(vectors.shape[1]):
            sums[cells[i], at] += vectors[i, at]
