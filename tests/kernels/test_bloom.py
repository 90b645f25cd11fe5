"""Blocked Bloom filters. Run: `pytest tests/kernels/test_bloom.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels import bloom
from dolma.kernels.reference.bloom import Filter

N_BLOCKS = 4096
HASHES = st.integers(0, (1 << 64) - 1) | st.integers(0, 40).map(lambda i: (i << 40) + i)


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), HASHES), max_size=60), st.integers(1, 8), st.booleans())
def test_answers_and_bits_are_those_of_the_twin(items: list[tuple[int, int]], n_hashes: int, insert: bool) -> None:
    items.sort(key=lambda item: item[0])
    units, hashes = (np.array([item[k] for item in items], np.uint64) for k in (0, 1))
    bits = np.zeros(N_BLOCKS * bloom.BLOCK_WORDS, np.uint64)
    twin = Filter(n_blocks=N_BLOCKS, n_hashes=n_hashes)
    found = bloom.look_up(bits, hashes, units, first_block=0, n_blocks=N_BLOCKS, n_hashes=n_hashes, insert=insert)
    expected = [
        known
        for _, unit in itertools.groupby(items, key=lambda item: item[0])
        for known in twin.look_up([item for _, item in unit], insert=insert)
    ]
    assert found.tolist() == expected
    assert bits.astype("<u8").tobytes() == twin.to_bytes()


@pytest.mark.parametrize("n_blocks", [4096, 4096 * 3, 4096 * 1001, bloom.MOST_BLOCKS])
def test_the_first_bits_of_a_hash_say_where_its_block_lies(n_blocks: int) -> None:
    edges = [(1 << 52) * i + k for i in (0, 1, 2047, 4095) for k in (0, (1 << 52) - 1)]
    hashes = np.array(edges, np.uint64)
    per_slice = n_blocks // bloom.SLICES
    for item, number in zip(hashes, bloom.slices_of(hashes).tolist(), strict=True):
        block = int(item) * n_blocks >> 64
        assert number * per_slice <= block < (number + 1) * per_slice
        bits = np.zeros(3 * bloom.BLOCK_WORDS, np.uint64)
        one = np.array([item], np.uint64)
        bloom.look_up(bits, one, one, first_block=block - 1, n_blocks=n_blocks, n_hashes=8)
        assert bits[: bloom.BLOCK_WORDS].any() == bits[2 * bloom.BLOCK_WORDS :].any() == np.False_
        assert bits.any()


def test_blocks_are_counted_by_how_many_bits_they_have() -> None:
    bits = np.zeros(3 * bloom.BLOCK_WORDS, np.uint64)
    bits[8:16] = np.uint64((1 << 64) - 1)
    bits[16] = 5
    found = bloom.fills(bits)
    assert {n: count for n, count in enumerate(found.tolist()) if count} == {0: 1, 2: 1, 512: 1}
