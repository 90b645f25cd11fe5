"""Eight bytes at a time: unaligned loads, and tests of all eight bytes of a 64-bit word at once.

Inside kernels only. Text is mostly ASCII, and an ASCII byte has a free high bit; so a comparison of eight bytes is one
subtraction that cannot borrow, and its answers are eight high bits. Little-endian machines only, as is Numba's reach:
byte `i` of the text is bits `8 * i` to `8 * i + 7`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from dolma.kernels.compiled import inlined, intrinsic

ONES = np.uint64(0x0101010101010101)
HIGHS = np.uint64(0x8080808080808080)
LOWS = np.uint64(0x7F7F7F7F7F7F7F7F)
_0, _1, _3 = np.uint64(0), np.uint64(1), np.uint64(3)
_TAB, _SHIFT_OUT, _FILE_SEPARATOR, _BANG = (np.uint64(b) * ONES for b in (0x09, 0x0E, 0x1C, 0x21))


@intrinsic("uint64", None, "intp")
def load_eight(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The eight bytes `data[index:index + 8]` as a uint64. The caller has checked that there are eight."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    address = builder.gep(array.data, [arguments[1]])
    value = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
    value.align = 1
    return value


@intrinsic("void", None, "intp", "uint64")
def store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`data[index:index + 8] = word`, all eight bytes of it. The caller has made sure that there is room for eight."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    address = builder.gep(array.data, [arguments[1]])
    builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer())).align = 1
    return context.get_dummy_value()


@intrinsic("uint8", None, "intp")
def byte_at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`data[index]` of a uint8 array, for an index that is never negative: there is no test for that."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.load(builder.gep(array.data, [arguments[1]]))


@intrinsic("uint64", None, "intp")
def word_at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """`data[index]` of a uint64 array, for an index that is never negative: there is no test for that."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.load(builder.gep(array.data, [arguments[1]]))


@intrinsic("void", None, "intp")
def prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Ask for the cache line of `data[index]`, which is read soon; the index may be one beyond the array."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [address.type, *[ir.IntType(32)] * 3])
    asked = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
    builder.call(asked, [address, *(ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))])
    return context.get_dummy_value()


@intrinsic("uint64", "uint64")
def _trailing_zeros(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """How many low bits of a uint64 are zero: 0 to 64."""
    return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))


@inlined
def load(utf8: Any, i: int) -> Any:
    """The bytes `utf8[i:i + 8]` as a uint64; those beyond the end of the buffer are zero."""
    if i + 8 <= len(utf8):
        return load_eight(utf8, i)
    word = np.uint64(0)
    for j in range(len(utf8) - i):
        word |= np.uint64(utf8[i + j]) << np.uint64(8 * j)
    return word


@inlined
def first_bytes(word: Any, n: int) -> Any:
    """The word with all but its first `n` bytes zeroed; `n` from 0 to 8."""
    if n >= 8:
        return word
    return word & ((_1 << np.uint64(8 * n)) - _1)


@inlined
def first_bit(word: Any) -> Any:
    """The index of the lowest bit that is set; 64 if none is."""
    return np.int64(_trailing_zeros(word))


@inlined
def first_mark(marks: Any) -> Any:
    """The index (0-7) of the first byte whose high bit is set; 8 if none is."""
    return np.int64(_trailing_zeros(marks) >> _3)


@inlined
def at_least(word: Any, bound: Any) -> Any:
    """High bits of the ASCII bytes that are at least `bound`, eight copies of an ASCII byte. Else undefined."""
    return ((word | HIGHS) - bound) & HIGHS


@inlined
def equal_to(word: Any, copies: Any) -> Any:
    """High bits of the bytes equal to the byte of which `copies` holds eight; exact for all bytes."""
    difference = word ^ copies
    return ~(((difference & LOWS) + LOWS) | difference | LOWS)


@inlined
def spaces_or_beyond_ascii(word: Any) -> Any:
    """High bits of the bytes that end a run of ASCII non-whitespace: whitespace as `str.isspace`, and non-ASCII."""
    control = at_least(word, _TAB) & ~at_least(word, _SHIFT_OUT)
    separator = at_least(word, _FILE_SEPARATOR) & ~at_least(word, _BANG)
    return control | separator | (word & HIGHS)
