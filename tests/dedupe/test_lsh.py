"""Bands and rows. Run: `pytest tests/dedupe/test_lsh.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.dedupers.lsh import Bands, bands_for
from dolma.errors import ConfigError


@pytest.mark.property
@given(st.floats(0.3, 1.0), st.integers(16, 512), st.floats(0.5, 0.99))
def test_the_bands_find_enough_with_the_most_rows(threshold: float, permutations: int, recall: float) -> None:
    try:
        bands = bands_for(threshold, permutations=permutations, recall=recall)
    except ConfigError:
        assert Bands(n=permutations, rows=1).found(threshold) < recall
        return
    assert bands.permutations <= permutations
    assert bands.found(threshold) >= recall
    more = bands.rows + 1
    assert more > permutations or Bands(n=permutations // more, rows=more).found(threshold) < recall


def test_the_curve_of_fineweb_is_as_published() -> None:
    # FineWeb, arXiv 2406.17557, section 3.4: 14 buckets of 8 hashes find pairs of similarity 0.7, 0.75, 0.8 and 0.85
    # with probabilities of 56 %, 77 %, 92 % and 98.8 %.
    found = [Bands(n=14, rows=8).found(similarity) for similarity in (0.7, 0.75, 0.8, 0.85)]
    assert found == pytest.approx([0.56, 0.77, 0.92, 0.988], abs=0.006)


def test_a_recall_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\$\.dedupe\.permutations: 2 permutations find 0\.190 of the pairs"):
        bands_for(0.1, permutations=2, recall=0.95)
