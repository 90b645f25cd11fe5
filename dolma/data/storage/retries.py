"""How many requests to remote storages failed for a passing reason and were made again, by bucket or host.

Each process counts its own. A worker hands its counts to the parent with each task, so that a command can say them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping

_counts: Counter[str] = Counter()
_counting = threading.Lock()


def add(counts: Mapping[str, int]) -> None:
    """Count these as well."""
    with _counting:
        _counts.update(counts)


def taken() -> dict[str, int]:
    """The counts since the last call."""
    with _counting:
        counts = dict(_counts)
        _counts.clear()
    return counts


def described() -> Iterator[str]:
    """The counts since the last call, a line for each place."""
    for place, n in sorted(taken().items()):
        yield f"{place}: {n:,} request{'s' if n > 1 else ''} failed for a passing reason and had to be made again"
