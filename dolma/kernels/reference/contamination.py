"""`dolma.kernels.contamination` on lists of words: one document and one item at a time."""

from __future__ import annotations

from collections.abc import Sequence

SEED, RUN, AROUND = 5, 3, 100


def seeds_in(words: Sequence[int], seeds: set[tuple[int, ...]]) -> list[int]:
    """The words at which a seed begins.

    >>> seeds_in([9, 1, 2, 3, 4, 5], {(1, 2, 3, 4, 5)})
    [1]
    """
    return [i for i in range(len(words) - SEED + 1) if tuple(words[i : i + SEED]) in seeds]


def stretches_in(words: Sequence[int], item: Sequence[int], *, needed: int, reach: int) -> list[tuple[int, int]]:
    """Where an item may lie in a document: how much further on, in words, its seeds lie there, at least and at most.

    `item` are the words that its seeds come from; these have to cover `needed` of them. Seeds belong together where
    none lies more than `reach` words further on than the one before.

    >>> stretches_in([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5], needed=5, reach=3)
    [(1, 1)]
    """
    pairs = sorted(
        (at - k, at, k)
        for at in range(len(words) - SEED + 1)
        for k in range(len(item) - SEED + 1)
        if list(words[at : at + SEED]) == list(item[k : k + SEED])
    )
    if len(pairs) < max(-(-needed // SEED), 1):
        return []
    groups: list[list[tuple[int, int, int]]] = []
    for pair in pairs:
        if not groups or pair[0] - groups[-1][-1][0] > reach:
            groups.append([])
        groups[-1].append(pair)
    found = []
    for group in groups:
        covered = {word for _, _, k in group for word in range(k, k + SEED)}
        if len(covered) >= needed:
            found.append((group[0][0], group[-1][0]))
    return found


def covered_in(
    words: Sequence[int], parts: Sequence[int], *, start: int, stop: int, least: int, most: int
) -> tuple[list[int], int, int]:
    """Which of some parts are among the words from `start` to `stop`, and from where to where these lie.

    The end is 0 if none is. They stand in runs of `RUN`, or of all parts where these are fewer, each between `least`
    and `most` words further on than among the parts.
    """
    marks, first, end = [0] * len(parts), stop, 0
    run = min(RUN, len(parts))
    for i in range(len(parts) - run + 1):
        for j in range(start, stop - run + 1):
            if run and least <= j - i <= most and list(words[j : j + run]) == list(parts[i : i + run]):
                marks[i : i + run] = [1] * run
                first, end = min(first, j), max(end, j + run)
    return marks, first, end
