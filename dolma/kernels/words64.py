"""Eight bytes at a time: unaligned loads, and tests of all eight bytes of a 64-bit word at once.

Inside kernels only. Text is mostly ASCII, and an ASCII byte has a free high bit; so a comparison of eight bytes is one
subtraction that cannot borrow, and its answers are eight high bits. Little-endian machines only, as is Numba's reach:
byte `i` of the text is bits `8 * i` to `8 * i + 7`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types

from dolma.kernels.compiled import inlined

intrinsic: Any = extending.intrinsic

ONES = np.uint64(0x0101010101010101)
HIGHS = np.uint64(0x8080808080808080)
LOWS = np.uint64(0x7F7F7F7F7F7F7F7F)
_1, _3 = np.uint64(1), np.uint64(3)
_TAB, _SHIFT_OUT, _FILE_SEPARATOR, _BANG = (np.uint64(b) * ONES for b in (0x09, 0x0E, 0x1C, 0x21))


@intrinsic
def _load_unaligned(typing_context: Any, data: Any, index: Any) -> Any:
    """The eight bytes `data[index:index + 8]` as a uint64. The caller has checked that there are eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        value = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        value.align = 1
        return value

    return types.uint64(data, types.intp), generate


@intrinsic
def store(typing_context: Any, data: Any, index: Any, word: Any) -> Any:
    """`data[index:index + 8] = word`, all eight bytes of it. The caller has made sure that there is room for eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(data, types.intp, types.uint64), generate


@intrinsic
def byte_at(typing_context: Any, data: Any, index: Any) -> Any:
    """`data[index]` of a uint8 array, for an index that is never negative: there is no test for that."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load(builder.gep(array.data, [arguments[1]]))

    return types.uint8(data, types.intp), generate


def _bits_of_64(data: Any, index: Any, holds: Callable[[Any, Any, Any], Any]) -> Any:
    """An intrinsic's answer: bit `k` of a uint64 is whether byte `data[index + k]` holds; `holds(builder, bytes, of)`.

    `of(n)` is 64 copies of `n`. One comparison of a vector register tests 16, 32 or 64 bytes, as the machine has them.
    """
    vector = ir.VectorType(ir.IntType(8), 64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        value = builder.load(builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer()))
        value.align = 1
        bits = holds(builder, value, lambda n: ir.Constant(vector, [n] * 64))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(data, types.intp), generate


@intrinsic
def _64_spaces(typing_context: Any, data: Any, index: Any) -> Any:
    """Bits of the bytes that are ASCII whitespace. The caller has checked that there are 64."""

    def holds(builder: Any, value: Any, of: Any) -> Any:
        control = builder.icmp_unsigned("<", builder.sub(value, of(0x09)), of(5))
        return builder.or_(control, builder.icmp_unsigned("<", builder.sub(value, of(0x1C)), of(5)))

    return _bits_of_64(data, index, holds)


@intrinsic
def _64_beyond_ascii(typing_context: Any, data: Any, index: Any) -> Any:
    """Bits of the bytes beyond ASCII. The caller has checked that there are 64."""

    def holds(builder: Any, value: Any, of: Any) -> Any:
        return builder.icmp_signed("<", value, of(0))

    return _bits_of_64(data, index, holds)


@intrinsic
def _64_letters(typing_context: Any, data: Any, index: Any) -> Any:
    """Bits of the bytes that are ASCII letters. The caller has checked that there are 64."""

    def holds(builder: Any, value: Any, of: Any) -> Any:
        return builder.icmp_unsigned("<", builder.sub(builder.or_(value, of(0x20)), of(0x61)), of(26))

    return _bits_of_64(data, index, holds)


@intrinsic
def _64_digits(typing_context: Any, data: Any, index: Any) -> Any:
    """Bits of the bytes that are ASCII digits. The caller has checked that there are 64."""

    def holds(builder: Any, value: Any, of: Any) -> Any:
        return builder.icmp_unsigned("<", builder.sub(value, of(0x30)), of(10))

    return _bits_of_64(data, index, holds)


@intrinsic
def _64_signs(typing_context: Any, data: Any, index: Any) -> Any:
    """Bits of the bytes that are "#" or ".". The caller has checked that there are 64."""

    def holds(builder: Any, value: Any, of: Any) -> Any:
        return builder.or_(builder.icmp_unsigned("==", value, of(0x23)), builder.icmp_unsigned("==", value, of(0x2E)))

    return _bits_of_64(data, index, holds)


@inlined
def bits_of_64(utf8: Any, i: int) -> tuple[Any, Any, Any, Any, Any]:
    """Bit `k` of five uint64 says of byte `i + k`: ASCII whitespace; beyond ASCII; letter; digit; "#" or ".".

    What lies beyond the buffer is whitespace. Whitespace is that of `str.isspace`, letters and digits are ASCII.
    """
    if i + 64 <= len(utf8):
        beyond, signs = _64_beyond_ascii(utf8, i), _64_signs(utf8, i)
        return _64_spaces(utf8, i), beyond, _64_letters(utf8, i), _64_digits(utf8, i), signs
    spaces, beyond, letters, digits, signs = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for k in range(64):
        byte = byte_at(utf8, i + k) if i + k < len(utf8) else np.uint8(0x20)
        bit, small = _1 << np.uint64(k), byte | 0x20
        spaces |= bit * np.uint64(((byte >= 0x09) & (byte <= 0x0D)) | ((byte >= 0x1C) & (byte <= 0x20)))
        beyond |= bit * np.uint64(byte >= 0x80)
        letters |= bit * np.uint64((small >= 0x61) & (small <= 0x7A))
        digits |= bit * np.uint64((byte >= 0x30) & (byte <= 0x39))
        signs |= bit * np.uint64((byte == 0x23) | (byte == 0x2E))
    return spaces, beyond, letters, digits, signs


@intrinsic
def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    """How many low bits of a uint64 are zero: 0 to 64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@inlined
def load(utf8: Any, i: int) -> Any:
    """The bytes `utf8[i:i + 8]` as a uint64; those beyond the end of the buffer are zero."""
    if i + 8 <= len(utf8):
        return _load_unaligned(utf8, i)
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
