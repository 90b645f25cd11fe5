"""Which of 64 neighbouring bytes belong to a class, as the bits of a uint64; inside kernels only.

Bit `k` speaks of byte `i + k`. One comparison of a vector register tests 16, 32 or 64 bytes, as the machine has them;
what follows is arithmetic on bits: runs, their ends, what stands before and behind them. A buffer must have at least 64
bytes: `padded` sees to that. 64 bytes that would reach beyond it are read from where they fit, and `moved` into place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import extending, types

from dolma.kernels.compiled import flat_text, inlined, kernel, read_only

intrinsic: Any = extending.intrinsic

BLOCK = 64
_BYTES, _INDICES = ir.VectorType(ir.IntType(8), BLOCK), ir.VectorType(ir.IntType(32), BLOCK)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


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


@intrinsic
def equal(typing_context: Any, data: Any, index: Any, byte: Any) -> Any:
    """Bits of the bytes `data[index:index + 64]` that are `byte`. The caller has checked that there are 64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _loaded(context, builder, signature.args[0], arguments)
        bits = builder.icmp_unsigned("==", value, _copies(builder, arguments[2]))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(data, types.intp, types.uint8), generate


@intrinsic
def among(typing_context: Any, data: Any, index: Any, least: Any, n: Any) -> Any:
    """Bits of the bytes `data[index:index + 64]` from `least` up to but not `least + n`, as `equal`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _loaded(context, builder, signature.args[0], arguments)
        above = builder.sub(value, _copies(builder, arguments[2]))
        bits = builder.icmp_unsigned("<", above, _copies(builder, arguments[3]))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(data, types.intp, types.uint8, types.uint8), generate


@intrinsic
def letters(typing_context: Any, data: Any, index: Any, n: Any) -> Any:
    """Bits of the bytes `data[index:index + 64]` that are among the first `n` letters of ASCII, as `equal`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _loaded(context, builder, signature.args[0], arguments)
        lower = builder.or_(value, _copies(builder, ir.IntType(8)(0x20)))
        above = builder.sub(lower, _copies(builder, ir.IntType(8)(0x61)))
        bits = builder.icmp_unsigned("<", above, _copies(builder, arguments[2]))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(data, types.intp, types.uint8), generate


@intrinsic
def _leading_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic
def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic
def _ones(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@inlined
def n_low_zeros(word: Any) -> Any:
    """How many low bits are zero, which is the index of the lowest that is set; 64 if none is."""
    return np.int64(_trailing_zeros(word))


@inlined
def n_high_zeros(word: Any) -> Any:
    """How many high bits are zero; 64 if none is set."""
    return np.int64(_leading_zeros(word))


@inlined
def n_ones(word: Any) -> Any:
    """How many bits are set."""
    return np.int64(_ones(word))


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
            n += n_ones(moved(equal(utf8, at, byte), at, block) & inside(block, first, end))
        counts[doc] = n
