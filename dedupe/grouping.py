"""Equal keys of one chunk, found by sorting their 128-bit hashes.

A *key* is what is compared (a text, a field's value, a paragraph); a *chunk* is a run of consecutive keys of one
piece, small enough for memory. Two keys are equal when their 128-bit hashes are: among 10^12 different keys the chance
that any two collide is below 2e-15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dolma.data.exchange import sort_order

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The keys of a sequence, grouped by equality; groups are sorted by hash.

    `hashes` is uint64 of shape `(n_groups, 2)`; `sizes` and `firsts` are int64 of shape `(n_groups,)`: how many keys,
    and the position of the first; `group` and `order` are int64 of shape `(n_keys,)`: the group of each key, and the
    positions of the keys, group by group.
    """

    hashes: Hashes
    sizes: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]

    @property
    def leads(self) -> npt.NDArray[np.bool_]:
        """Whether each key is the first of its group; shape `(n_keys,)`."""
        leads = np.zeros(len(self.group), dtype=bool)
        leads[self.firsts] = True
        return leads

    def distinct(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many values each group has, of those of the keys, which ascend; shape `(n_groups,)`.

        >>> group_equal(np.array([[9, 0], [5, 1], [9, 0]], dtype=np.uint64)).distinct(np.array([0, 0, 0])).tolist()
        [1, 1]
        """
        if not len(values):
            return self.sizes
        ordered = values[self.order]
        changes = np.append(True, ordered[1:] != ordered[:-1])
        starts = np.cumsum(self.sizes) - self.sizes
        changes[starts] = True
        return np.add.reduceat(changes, starts, dtype=np.int64)


def group_equal(hashes: Hashes) -> Groups:
    """Group equal rows of `hashes`, uint64 of shape `(n_keys, 2)`.

    >>> groups = group_equal(np.array([[9, 0], [5, 1], [9, 0]], dtype=np.uint64))
    >>> groups.firsts.tolist(), groups.sizes.tolist(), groups.group.tolist()
    ([1, 0], [1, 2], [1, 0, 1])
    """
    order, bounds = _sort(hashes)
    sizes = np.diff(bounds)
    group = np.empty(len(hashes), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(sizes)), sizes)
    firsts = order[bounds[:-1]]
    return Groups(hashes=_take(hashes, firsts), sizes=sizes, firsts=firsts, group=group, order=order)


def _sort(hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The stable order that sorts the hashes, and where each run of equal ones begins in it, the end included."""
    order = sort_order([hashes[:, 0], hashes[:, 1]])
    changes = np.flatnonzero(_any_change(_take(hashes, order)))
    return order, np.append(changes, len(order))


def _take(hashes: Hashes, order: npt.NDArray[np.int64]) -> Hashes:
    # As items of 16 bytes: 7 times faster than rows of two.
    return np.ascontiguousarray(hashes).view("V16")[:, 0][order].view(np.uint64).reshape(-1, 2)


def _any_change(ordered: Hashes) -> npt.NDArray[np.bool_]:
    changes = np.ones(len(ordered), dtype=bool)
    np.any(ordered[1:] != ordered[:-1], axis=1, out=changes[1:])
    return changes
