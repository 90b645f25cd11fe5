"""Bits of 64 bytes agree with looking at each byte. Run: `pytest tests/kernels/test_bits64.py`."""

from __future__ import annotations

import string

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.bits64 import (
    ASCII_SPACES,
    bits_of,
    byte_counts,
    copy_64,
    count_bits,
    equal,
    find_newline,
    first_bits,
    last_bit,
    lowest_bit,
)
from dolma.kernels.compiled import kernel
from dolma.kernels.words64 import first_bit

CLASSES = [
    ASCII_SPACES,
    frozenset(string.ascii_letters.encode()),
    frozenset(range(0x80, 0x100)),
    frozenset(b"#"),
    frozenset(b",:;!?()[]{}<>_#*&`'\""),
    frozenset([*range(0x20), 0x22, 0x5C]),
    frozenset(range(0x40, 0x80)),
    frozenset({0x00, 0xFF}),
]


def kernel_of(members: frozenset[int]):
    bits = bits_of(members).made
    return numba.njit(lambda data, i: bits(data, i))


KERNELS = [kernel_of(members) for members in CLASSES]


@kernel
def equal_bits(data, i, byte):
    return equal(data, i, byte)


@kernel
def copied(data, i, target, n):
    copy_64(data, i, target, n)


@kernel
def newline(data, i, end):
    return find_newline(data, i, end)


@kernel
def of_a_word(word, n):
    return first_bit(word), last_bit(word), count_bits(word), lowest_bit(word), first_bits(word, n)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=64, max_size=70), st.integers(0, 6), st.integers(0, 255))
@example(bytes(range(64)), 0, 10)
@example(bytes(range(64, 128)), 0, 127)
@example(bytes(range(192, 256)), 0, 255)
def test_bits_are_those_of_the_bytes(data, i, byte):
    i = min(i, len(data) - 64)
    for members, bits in zip(CLASSES, KERNELS, strict=True):
        assert int(bits(array(data), i)) == sum(1 << k for k in range(64) if data[i + k] in members)
    assert int(equal_bits(array(data), i, np.uint8(byte))) == sum(1 << k for k in range(64) if data[i + k] == byte)
    target = np.zeros(66, dtype=np.uint8)
    copied(array(data), i, target, 1)
    assert target.tobytes() == b"\0" + data[i : i + 64] + b"\0"


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 70))
@example(0, 0)
@example(2**64 - 1, 64)
def test_a_word_of_bits(word, n):
    found = of_a_word(np.uint64(word), n)
    low = word & -word
    assert [int(part) for part in found] == [
        low.bit_length() - 1 if word else 64,
        word.bit_length() - 1,
        word.bit_count(),
        low,
        word & ((1 << n) - 1),
    ]


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"a" * 63, b"b", b"\n", b"\x8a" * 9])).map(b"".join), st.data())
def test_the_first_newline(data, draw):
    i = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(i, len(data)))
    at = data.find(b"\n", i, end)
    assert newline(array(data), i, end) == (end if at < 0 else at)


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(alphabet="ab?\u00e9") | st.sampled_from(["?" * 64, "a?" * 100]), max_size=6))
def test_bytes_are_counted_in_each_document(documents):
    batch = TextBatch.of(documents)
    assert byte_counts(batch.utf8, batch.offsets, ord("?")).tolist() == [text.count("?") for text in documents]
