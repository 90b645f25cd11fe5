"""Stable hashes: 128 bits for identity (MurmurHash3), 64 bits for words and lines within a document.

`hash128` is MurmurHash3_x64_128 (Austin Appleby, public domain) with a 64-bit seed: chosen because it has published
answers, passes SMHasher, and needs only 64-bit products. It is not meant against people who craft collisions. By
the birthday bound, 10^12 different documents collide with a probability below 10^-14.

`hash64` is our own, made to cost one product for a word of up to eight bytes: `state = (state ^ chunk) * A`,
`state ^= state >> 32` for each chunk of eight little-endian bytes, zeros beyond the end, then the length and a
finalizer. Up to eight bytes it cannot collide among strings of equal length.

The readable twins are in `dolma/kernels/reference/hashing.py`. `hash128`: about 4 GB/s on documents of some kB, on one
core of a 2-core cloud machine (2026-11-23).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only
from dolma.kernels.words64 import first_bytes, load, load_eight

_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_N1, _N2, _5 = np.uint64(0x52DCE729), np.uint64(0x38495AB5), np.uint64(5)
_F1, _F2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_A, _START = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x243F6A8885A308D3)
_29, _32, _33, _64 = (np.uint64(n) for n in (29, 32, 33, 64))


def hash128_documents(
    utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], *, seed: int = 0
) -> npt.NDArray[np.uint64]:
    """The 128-bit hash of each document's bytes; uint64, shape `(n_docs, 2)`.

    >>> hash128_documents(np.frombuffer(b"hello", np.uint8), np.array([0, 5])).tolist()
    [[14688674573012802306, 6565844092913065241]]
    """
    text, bounds = flat_text(utf8, offsets)
    return hash128_spans(text, bounds[:-1], bounds[1:], seed=seed)


def hash128_spans(
    utf8: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], *, seed: int = 0
) -> npt.NDArray[np.uint64]:
    """The 128-bit hash of each byte span `[start, end)`; uint64, shape `(n_spans, 2)`. `seed`: 0 to 2^64 - 1.

    Raises:
        ValueError: a span ends before it begins or lies outside the buffer.
    """
    text, starts, ends = _checked_spans(utf8, starts, ends)
    hashes = np.empty((len(starts), 2), dtype=np.uint64)
    _hash128_spans(text, starts, ends, np.uint64(seed), hashes)
    return hashes


def hash64_spans(
    utf8: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """The 64-bit hash of each byte span `[start, end)`; uint64, shape `(n_spans,)`.

    Raises:
        ValueError: a span ends before it begins or lies outside the buffer.
    """
    text, starts, ends = _checked_spans(utf8, starts, ends)
    hashes = np.empty(len(starts), dtype=np.uint64)
    _hash64_spans(text, starts, ends, hashes)
    return hashes


def _checked_spans(
    utf8: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    text, starts, ends = read_only(utf8, np.uint8), read_only(starts, np.int64), read_only(ends, np.int64)
    if starts.shape != ends.shape or starts.ndim != 1:
        raise ValueError(f"starts have shape {starts.shape} and ends {ends.shape}; expected (n_spans,) for both")
    if len(starts) and (starts.min() < 0 or ends.max() > len(text) or (ends < starts).any()):
        raise ValueError(f"spans must lie within the {len(text)} bytes of the text and end at or after their start")
    return text, starts, ends


@kernel
def _hash128_spans(utf8: Any, starts: Any, ends: Any, seed: Any, hashes: Any) -> None:
    for span in range(len(starts)):
        hashes[span, 0], hashes[span, 1] = hash128(utf8, starts[span], ends[span], seed)


@kernel
def _hash64_spans(utf8: Any, starts: Any, ends: Any, hashes: Any) -> None:
    for span in range(len(starts)):
        hashes[span] = hash64(utf8, starts[span], ends[span])


@inlined
def hash128(utf8: Any, start: int, end: int, seed: Any) -> tuple[Any, Any]:
    """Both halves of the hash of `utf8[start:end]`, inside kernels."""
    low, high = seed, seed
    i = start
    while i + 16 <= end:
        low ^= _mix(load(utf8, i), _C1, np.uint64(31), _C2)
        low = (_rotate(low, np.uint64(27)) + high) * _5 + _N1
        high ^= _mix(load(utf8, i + 8), _C2, _33, _C1)
        high = (_rotate(high, np.uint64(31)) + low) * _5 + _N2
        i += 16
    rest = end - i
    if rest > 8:
        high ^= _mix(first_bytes(load(utf8, i + 8), rest - 8), _C2, _33, _C1)
    if rest > 0:
        low ^= _mix(first_bytes(load(utf8, i), rest), _C1, np.uint64(31), _C2)
    low ^= np.uint64(end - start)
    high ^= np.uint64(end - start)
    low += high
    high += low
    low, high = _finalize(low), _finalize(high)
    low += high
    high += low
    return low, high


@inlined
def hash64(utf8: Any, start: int, end: int) -> Any:
    """The 64-bit hash of `utf8[start:end]`, inside kernels."""
    state = _START
    i = start
    while i < end:
        state = absorb64(state, first_bytes(load(utf8, i), end - i))
        i += 8
    return finish64(state, end - start)


@inlined
def hash64_of_word(utf8: Any, start: int, size: int) -> Any:
    """`hash64` without a branch for the first 16 bytes, which must be there: how long words are cannot be foreseen."""
    state = absorb64(_START, first_bytes(load_eight(utf8, start), size))
    longer = absorb64(state, first_bytes(load_eight(utf8, start + 8), max(size - 8, 0)))
    state = longer if size > 8 else state
    for k in range(16, size, 8):
        state = absorb64(state, first_bytes(load(utf8, start + k), size - k))
    return finish64(state, size)


@inlined
def start64() -> Any:
    """The state of `hash64` before the first chunk."""
    return _START


@inlined
def absorb64(state: Any, chunk: Any) -> Any:
    """The state of `hash64` after one more chunk of up to eight bytes."""
    state = (state ^ chunk) * _A
    return state ^ (state >> _32)


@inlined
def finish64(state: Any, n_bytes: int) -> Any:
    """The hash, from the state after all chunks."""
    state = (state ^ np.uint64(n_bytes)) * _F2
    return state ^ (state >> _29)


@inlined
def _mix(chunk: Any, first: Any, bits: Any, second: Any) -> Any:
    return _rotate(chunk * first, bits) * second


@inlined
def _rotate(word: Any, bits: Any) -> Any:
    return (word << bits) | (word >> (_64 - bits))


@inlined
def _finalize(word: Any) -> Any:
    word = (word ^ (word >> _33)) * _F1
    word = (word ^ (word >> _33)) * _F2
    return word ^ (word >> _33)
