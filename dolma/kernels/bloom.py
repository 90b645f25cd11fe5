"""A blocked Bloom filter: an item has its bits in one block of 512, a cache line, so that to look it up costs one miss.

An item is a 64-bit hash `h`. Its block is `h * n_blocks >> 64`, so blocks rise with hashes, and the first 12 bits of a
hash, its *slice*, say in which 1/4,096 of the filter it lies (`n_blocks` is a multiple of that). Its bits are the first
9 bits of each of the next `n_hashes` states of the generator `x = x * 6364136223846793005 + 1442695040888963407` (that
of Knuth's MMIX), which begins with `x = (h ^ 0x243F6A8885A308D3) * 0x9E3779B97F4A7C15; x ^= x >> 32`, all of it modulo
2^64. A bit `b` of a block is bit `b % 64` of its word `b // 64`; words are little-endian.

Blocks know nothing of each other, so the answers of a filter into which items are put one after the other can be found
block by block. The readable twin is `dolma/kernels/reference/bloom.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.bits64 import count_bits
from dolma.kernels.compiled import inlined, kernel, read_only
from dolma.kernels.hashing import absorb64, start64

Words = npt.NDArray[np.uint64]

BLOCK_BITS, BLOCK_BYTES, BLOCK_WORDS = 512, 64, 8
SLICES = 1 << 12
MOST_BLOCKS = (1 << 32) - SLICES
_SLICE_SHIFT = np.uint64(52)
_A, _C = np.uint64(6364136223846793005), np.uint64(1442695040888963407)
_1, _6, _32, _55, _63 = (np.uint64(n) for n in (1, 6, 32, 55, 63))
_LOW = np.uint64(0xFFFFFFFF)


def slices_of(hashes: Words) -> Words:
    """In which slice of the filter each hash lies; uint64, 0 to 4,095."""
    return hashes >> _SLICE_SHIFT


def look_up(
    bits: Words, hashes: Words, units: Words, *, first_block: int, n_blocks: int, n_hashes: int, insert: bool = True
) -> npt.NDArray[np.bool_]:
    """Whether each item is in the filter when its turn comes; bool, shape `(n_items,)`.

    `bits`, uint64, are the words of the blocks from `first_block` on. Items that follow each other with the same number
    in `units` are looked up together, then put in together, unless `insert` is false.
    """
    known = np.empty(len(hashes), np.bool_)
    looked_up = read_only(hashes, np.uint64), read_only(units, np.uint64)
    _look_up(bits, *looked_up, first_block, np.uint64(n_blocks), n_hashes, insert, known)
    return known


def fills(bits: Words) -> npt.NDArray[np.int64]:
    """How many blocks have 0, 1, ... 512 bits set; int64, shape `(513,)`."""
    counts = np.zeros(BLOCK_BITS + 1, np.int64)
    _fills(read_only(bits, np.uint64), counts)
    return counts


@kernel
def _look_up(
    bits: Any, hashes: Any, units: Any, first_block: int, n_blocks: Any, n_hashes: int, insert: Any, known: Any
) -> None:
    start = 0
    while start < len(hashes):
        end = start + 1
        while end < len(hashes) and units[end] == units[start]:
            end += 1
        for i in range(start, end):
            at = _first_word(hashes[i], n_blocks, first_block)
            state, found = absorb64(start64(), hashes[i]), True
            for _ in range(n_hashes):
                state = state * _A + _C
                bit = state >> _55
                found = found and bits[at + np.int64(bit >> _6)] >> (bit & _63) & _1 != np.uint64(0)
                if not found:
                    break
            known[i] = found
        for i in range(start, end if insert else start):
            if not known[i]:
                at = _first_word(hashes[i], n_blocks, first_block)
                state = absorb64(start64(), hashes[i])
                for _ in range(n_hashes):
                    state = state * _A + _C
                    bit = state >> _55
                    bits[at + np.int64(bit >> _6)] |= _1 << (bit & _63)
        start = end


@inlined
def _first_word(item: Any, n_blocks: Any, first_block: int) -> Any:
    block = ((item >> _32) * n_blocks + ((item & _LOW) * n_blocks >> _32)) >> _32
    return (np.int64(block) - first_block) * BLOCK_WORDS


@kernel
def _fills(bits: Any, counts: Any) -> None:
    for block in range(len(bits) // BLOCK_WORDS):
        n = 0
        for word in range(BLOCK_WORDS):
            n += count_bits(bits[block * BLOCK_WORDS + word])
        counts[n] += 1
