"""Ids that look like one that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable

_MOST = 3
_LEAST_LIKENESS = 0.6
_ENDS = 4  # characters at either end of which one has to agree before two ids are compared


def nearest_ids(id: str, ids: Iterable[str]) -> list[str]:
    """At most three ids that are most like this one, the nearest first.

    Only ids are compared that have a beginning, an end or all letters, whatever their case, in common with it.

    >>> nearest_ids("web/17", ["web/1", "web/171", "books/17", "x"])
    ['web/171', 'web/1']
    """
    wanted = id.lower()
    start, end = wanted[:_ENDS], wanted[-_ENDS:]
    matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
    best: list[tuple[float, str]] = []
    for other in ids:
        lower = other.lower()
        if not (lower.startswith(start) or lower.endswith(end)):
            continue
        least = best[0][0] if len(best) == _MOST else _LEAST_LIKENESS
        matcher.set_seq1(lower)
        if matcher.real_quick_ratio() <= least or matcher.quick_ratio() <= least or matcher.ratio() <= least:
            continue
        if all(other != one for _, one in best):
            (heapq.heappush if len(best) < _MOST else heapq.heapreplace)(best, (matcher.ratio(), other))
    return [other for _, other in sorted(best, reverse=True)]


def is_called(path: str, given: str) -> bool:
    """Whether a path is what was given, or ends with it.

    >>> is_called("data/a/documents/x.jsonl", "documents/x.jsonl"), is_called("data/ax.jsonl", "x.jsonl")
    (True, False)
    """
    return path == given or path.endswith(f"/{given.removeprefix('./')}")
