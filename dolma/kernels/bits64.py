"""Which of 64 neighbouring bytes belong to a class, as the bits of a uint64; inside kernels only.

Bit `k` speaks of byte `i + k`. One comparison of a vector register tests 16, 32 or 64 bytes, as the machine has them;
what follows is arithmetic on bits: runs, their ends, what stands before and behind them. A buffer must have at least 64
bytes: `padded` sees to that. 64 bytes that would reach beyond it are read from where they fit, and `moved` into place.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from dolma.kernels.compiled import flat_text, inlined, intrinsic, kernel, read_only
from dolma.kernels.words64 import byte_at, first_bit

BLOCK = 64
ASCII_SPACES = frozenset(byte for byte in range(128) if chr(byte).isspace())
ASCII_LETTERS, ASCII_DIGITS = frozenset(string.ascii_letters.encode()), frozenset(string.digits.encode())
_BYTES, _INDICES = ir.VectorType(ir.IntType(8), BLOCK), ir.VectorType(ir.IntType(32), BLOCK)
_0, _1, _ALL = np.uint64(0), np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)


def padded(text: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The buffer, with zeros behind it if it has fewer than 64 bytes."""
    if len(text) >= BLOCK:
        return text
    return read_only(np.concatenate([text, np.zeros(BLOCK - len(text), np.uint8)]), np.uint8)


def _copies(builder: Any, byte: Any) -> Any:
    """A vector of 64 copies of a byte."""
    nothing = ir.Constant(_BYTES, ir.Undefined)
    one = builder.insert_element(nothing, byte, ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INDICES, [0] * BLOCK))


def _loaded(context: Any, builder: Any, array_type: Any, arguments: Any) -> Any:
    """The vector `data[index:index + 64]`, of arguments that begin with these two."""
    array = context.make_array(array_type)(context, builder, arguments[0])
    value = builder.load(builder.bitcast(builder.gep(array.data, [arguments[1]]), _BYTES.as_pointer()))
    value.align = 1
    return value


def bits_of(members: Iterable[int]) -> Any:
    """A function `(data, index)` for kernels: bit `k` of a uint64 says whether byte `data[index + k]` is a member.

    The caller of that function has checked that there are 64. One comparison of a vector register tests 16, 32 or 64
    bytes, as the machine has them; each run of neighbours among the members takes one.
    """
    ranges, folded = _ranges(frozenset(members))

    def of(byte: int) -> Any:
        return ir.Constant(_BYTES, [byte] * BLOCK)

    @intrinsic("uint64", None, "intp")
    def bits(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _loaded(context, builder, signature.args[0], arguments)
        if folded:
            value = builder.or_(value, of(0x20))
        found = [
            builder.icmp_unsigned("==", value, of(first))
            if first == last
            else builder.icmp_unsigned("<=", builder.sub(value, of(first)), of(last - first))
            for first, last in ranges
        ]
        return builder.bitcast(functools.reduce(builder.or_, found), ir.IntType(64))

    return bits


def _ranges(members: frozenset[int]) -> tuple[list[tuple[int, int]], bool]:
    """First and last of each run of neighbours; and whether they are of bytes with 0x20 set, if that gives fewer."""
    if members == {member ^ 0x20 for member in members}:
        return _runs({member | 0x20 for member in members}), True
    return _runs(members), False


def _runs(members: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for member in sorted(members):
        if runs and runs[-1][1] == member - 1:
            runs[-1] = (runs[-1][0], member)
        else:
            runs.append((member, member))
    return runs


@intrinsic("uint64", None, "intp", "uint8")
def equal(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Bits of the bytes `data[index:index + 64]` that are `byte`. The caller has checked that there are 64."""
    value = _loaded(context, builder, signature.args[0], arguments)
    bits = builder.icmp_unsigned("==", value, _copies(builder, arguments[2]))
    return builder.bitcast(bits, ir.IntType(64))


@intrinsic("void", None, "intp", None, "intp")
def copy_64(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`target[n:n + 64] = source[i:i + 64]`. The caller has made sure that both have so many."""
    value = _loaded(context, builder, signature.args[0], arguments)
    written = context.make_array(signature.args[2])(context, builder, arguments[2])
    address = builder.bitcast(builder.gep(written.data, [arguments[3]]), _BYTES.as_pointer())
    builder.store(value, address).align = 1
    return context.get_dummy_value()


@intrinsic("uint64", "uint64")
def _leading_zeros(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))


@intrinsic("uint64", "uint64")
def _ones(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.ctpop(arguments[0])


@inlined
def n_high_zeros(word: Any) -> Any:
    """How many high bits are zero; 64 if none is set."""
    return np.int64(_leading_zeros(word))


@inlined
def count_bits(word: Any) -> Any:
    """How many bits are set."""
    return np.int64(_ones(word))


@inlined
def last_bit(word: Any) -> Any:
    """The index of the highest bit that is set; -1 if none is."""
    return 63 - n_high_zeros(word)


@inlined
def lowest_bit(word: Any) -> Any:
    """The word with only its lowest bit that is set; 0 if none is."""
    return word & (~word + _1)


@inlined
def first_bits(word: Any, n: int) -> Any:
    """The word with all but its lowest `n` bits zeroed; all bits are kept if there are no more."""
    return word if n >= 64 else word & ((_1 << np.uint64(n)) - _1)


@inlined
def fitting(utf8: Any, i: int) -> Any:
    """Where to read 64 bytes from so that they lie in the buffer, as near to `i` as can be."""
    return max(min(i, len(utf8) - 64), 0)


@inlined
def moved(bits: Any, read_from: int, i: int) -> Any:
    """The bits of the 64 bytes from `i` on, of those from `read_from` on; zero for bytes that were not read."""
    return bits >> np.uint64(i - read_from) if i >= read_from else bits << np.uint64(read_from - i)


@inlined
def inside(i: int, first: int, end: int) -> Any:
    """Bits of the 64 bytes from `i` on that lie in `[first, end)`; `end > i` and `first < i + 64`."""
    above = _ALL << np.uint64(first - i) if first > i else _ALL
    return above & (_ALL >> np.uint64(64 - (end - i))) if end - i < 64 else above


_newlines = bits_of(b"\n")


@inlined
def find_newline(utf8: Any, i: int, end: int) -> int:
    """The position of the first "\\n" in `[i, end)`, or `end`."""
    while i < end and i + 64 <= len(utf8):
        bits = _newlines(utf8, i)
        if bits != _0:
            return min(i + first_bit(bits), end)
        i += 64
    while i < end and byte_at(utf8, i) != 0x0A:
        i += 1
    return min(i, end)


def byte_counts(utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], byte: int) -> npt.NDArray[np.int64]:
    """How often the byte is in each document; int64, shape `(n_docs,)`.

    >>> byte_counts(np.frombuffer(b"to be or not", np.uint8), np.array([0, 5, 12]), ord("o")).tolist()
    [1, 2]
    """
    text, bounds = flat_text(utf8, offsets)
    counts = np.empty(len(bounds) - 1, dtype=np.int64)
    _byte_counts(padded(text), bounds, np.uint8(byte), counts)
    return counts


@kernel
def _byte_counts(utf8: Any, offsets: Any, byte: Any, counts: Any) -> None:
    for doc in range(len(counts)):
        first, end, n = offsets[doc], offsets[doc + 1], 0
        for block in range(first, end, BLOCK):
            at = fitting(utf8, block)
            n += count_bits(moved(equal(utf8, at, byte), at, block) & inside(block, first, end))
        counts[doc] = n
