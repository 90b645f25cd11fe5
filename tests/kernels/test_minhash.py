"""MinHash signatures, bands and the joining of documents. Run: `pytest tests/kernels/test_minhash.py`."""

from __future__ import annotations

from collections.abc import Sequence

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels import minhash
from dolma.kernels.reference import minhash as reference
from dolma.kernels.shingles import Shingles

SETS = st.lists(st.frozensets(st.integers(0, 7), max_size=6), min_size=1, max_size=8)


def shingles_of(sets: Sequence[frozenset[int] | set[int]]) -> Shingles:
    return Shingles(
        hashes=np.array([shingle for one in sets for shingle in sorted(one)], np.uint64),
        index=np.cumsum([0, *map(len, sets)]),
    )


def joined(
    buckets: Sequence[Sequence[int]], sets: Sequence[frozenset[int] | set[int]], threshold: float
) -> minhash.Joined:
    members = np.array([document for bucket in buckets for document in bucket], np.int64)
    index = np.cumsum([0, *map(len, buckets)])
    return minhash.join(members, index, shingles_of(sets), threshold=threshold)


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 2**64 - 1), max_size=5), max_size=3), st.integers(0, 2**32 - 1))
def test_signatures_and_bands_are_those_of_the_twin(sets: list[frozenset[int]], seed: int) -> None:
    found = minhash.signatures(shingles_of(sets), n=6, seed=seed)
    assert found.tolist() == [reference.signature(one, reference.permutations(6, seed)) for one in sets]
    bands = minhash.bands(found, n=3, rows=2).tolist()
    assert bands == [[reference.band(one, i, 2) for i in range(3)] for one in found.tolist()]


@pytest.mark.parametrize("n", [1, 112, 260])
def test_signatures_are_those_of_datasketch(n: int) -> None:
    shingles = {int(shingle) for shingle in np.random.default_rng(0).integers(0, 2**64, 300, dtype=np.uint64)}
    oracle = datasketch.MinHash(num_perm=n, seed=7, scheme="affine32", hashfunc=lambda one: one & 0xFFFFFFFF)
    for shingle in shingles:
        oracle.update(shingle)
    (found,) = minhash.signatures(shingles_of([shingles]), n=n, seed=7)
    assert found.tolist() == oracle.hashvalues.tolist()


def test_datasketch_finds_what_we_have_signed() -> None:
    (one, other) = minhash.signatures(shingles_of([{1, 2, 3}, {1, 2, 3}]), n=16, seed=1)
    index = datasketch.MinHashLSH(threshold=0.5, num_perm=16)
    index.insert("one", datasketch.MinHash(hashvalues=one, seed=1, scheme="affine32"))
    assert index.query(datasketch.MinHash(hashvalues=other, seed=1, scheme="affine32")) == ["one"]


@pytest.mark.property
@settings(deadline=None)
@given(SETS, st.data())
def test_clusters_are_those_of_the_twin(sets: list[frozenset[int]], data: st.DataObject) -> None:
    documents = st.lists(st.sampled_from(range(len(sets))), min_size=1, unique=True).map(sorted)
    buckets = data.draw(st.lists(documents, max_size=6))
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]))
    assert joined(buckets, sets, threshold).leaders.tolist() == reference.joined(buckets, sets, threshold)


@pytest.mark.property
@settings(deadline=None)
@given(SETS)
def test_similarities_are_those_of_the_twin(sets: list[frozenset[int]]) -> None:
    n = len(sets)
    left, right = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    expected = [reference.jaccard(one, other) for one in sets for other in sets]
    assert minhash.jaccard(shingles_of(sets), left, right).tolist() == expected


def test_many_copies_take_one_comparison_each() -> None:
    n = 20_000
    found = joined([range(n)] * 3, [{1, 2, 3}] * n, 0.8)
    assert not found.leaders.any()
    assert (found.compared, found.alike) == (n - 1, n - 1)


def test_a_pair_that_is_not_alike_is_compared_once() -> None:
    assert joined([[0, 1]] * 5, [{1, 2}, {2, 3}], 0.8).compared == 1


def test_documents_without_shingles_are_alike() -> None:
    assert joined([[0, 1]], [set(), set()], 0.8).leaders.tolist() == [0, 0]
