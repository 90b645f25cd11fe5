"""How many bands and rows find near-duplicates at a threshold, and what that misses.

Two documents of Jaccard similarity `s` have one equal value of a signature with probability `s`; so they share a band
of `r` rows with probability `s ** r`, and at least one of `b` bands with probability `1 - (1 - s ** r) ** b`
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dolma.errors import ConfigError

STEPS = [step / 20 for step in range(1, 21)]
"""Similarities of the curve that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """`n` bands of `rows` rows each."""

    n: int
    rows: int

    @property
    def permutations(self) -> int:
        """Values of a signature that take part."""
        return self.n * self.rows

    def found(self, similarity: float) -> float:
        """The probability that two documents of this similarity share a band, 0-1.

        >>> round(Bands(n=14, rows=8).found(0.8), 3)
        0.924
        """
        return 1.0 - (1.0 - similarity**self.rows) ** self.n

    def curve(self) -> Iterator[tuple[float, float]]:
        """The similarity, and the probability that it is found, at each of `STEPS`."""
        return ((step, self.found(step)) for step in STEPS)


def bands_for(threshold: float, *, permutations: int, recall: float) -> Bands:
    """The most rows whose bands find this share of the pairs at the threshold; so the fewest pairs are looked at.

    >>> bands_for(0.8, permutations=128, recall=0.95)
    Bands(n=18, rows=7)

    Raises:
        ConfigError: not even single rows do.
    """
    for rows in range(permutations, 0, -1):
        bands = Bands(n=permutations // rows, rows=rows)
        if bands.found(threshold) >= recall:
            return bands
    best = Bands(n=permutations, rows=1).found(threshold)
    raise ConfigError(
        f"{permutations} permutations find {best:.3f} of the pairs at the threshold {threshold}, "
        f"expected {recall} or more\n"
        "  give more `permutations`, a lower `recall`, or `bands` and `rows`",
        path="$.dedupe.permutations",
    )
