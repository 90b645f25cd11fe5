"""Machine code of kernels: kept in files, and called without the compiler that made it.

To import Numba and have it load one kernel of its own cache takes half a second of a processor; to load the object
code by LLVM alone takes a tenth of that. A file has a line of JSON (see `Header`), then the object code. It is used
only where its stamp and its checksum are right; there is one for each signature and kind of processor, so that machines
may share a folder.

The function is called as Numba's own wrapper calls it: a pointer to the result, one to an exception (never set: kernels
raise nothing), then the arguments, an array as its parts: two unused pointers, items, bytes per item, data, shape,
strides.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

SUFFIX = ".kernel"
_C, _FORTRAN, _OTHERS = 0x0001, 0x0002, 0x0100 | 0x0400  # flags of arrays: of both orders C counts; aligned, writable
_MOST = (1 << 63) - 1
_SCALARS: dict[str, Any] = {
    "?": ctypes.c_bool,
    "b": ctypes.c_int8,
    "B": ctypes.c_uint8,
    "h": ctypes.c_int16,
    "H": ctypes.c_uint16,
    "i": ctypes.c_int32,
    "I": ctypes.c_uint32,
    "l": ctypes.c_int64,
    "q": ctypes.c_int64,
    "L": ctypes.c_uint64,
    "Q": ctypes.c_uint64,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the object code.

    `stamp` changes with the sources and the compiler; `symbol` is the function's name in the code; `returns` has the
    dtype of the result, those of a tuple, or none for None; `checksum` is that of the code.
    """

    stamp: str
    symbol: str
    returns: tuple[str, ...]
    is_tuple: bool
    checksum: str


def kind_of(argument: Any) -> Any:
    """What decides an argument's type for a compiler; equal and hashable if the types are equal."""
    if isinstance(argument, np.ndarray):
        flags = argument.flags.num
        return argument.dtype.str, argument.ndim, flags & ((_C if flags & _C else _FORTRAN) | _OTHERS)
    if isinstance(argument, tuple):
        return type(argument).__qualname__, *map(kind_of, argument)
    if isinstance(argument, np.generic):
        return argument.dtype.char
    if isinstance(argument, bool):
        return "?"
    return "Q" if isinstance(argument, int) and argument > _MOST else "q" if isinstance(argument, int) else "d"


class Native:
    """Object code that can be called with arguments of the kinds that it was compiled for."""

    def __init__(self, header: Header, code: bytes, arguments: Sequence[Any]) -> None:
        self._engine, address = _loaded(header.symbol, code)
        types = [kind for argument in arguments for kind in _types(argument)]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)
        self._function = prototype(address)
        self._returns = bool(header.returns)
        fields = [(f"f{i}", name) for i, name in enumerate(header.returns)]
        self._result = (
            np.dtype(fields, align=True) if header.is_tuple else np.dtype(header.returns[0] if fields else "V")
        )

    def __call__(self, *arguments: Any) -> Any:
        parts: list[Any] = []
        for argument in arguments:
            _put(argument, parts)
        result, exception = np.zeros(1, self._result), ctypes.c_void_p()
        status = self._function(_address(result), ctypes.addressof(exception), *parts)
        if status != 0:
            raise SystemError(f"a kernel ended with status {status}")
        return result.item() if self._returns else None


def _put(argument: Any, parts: list[Any]) -> None:
    if isinstance(argument, np.ndarray):
        parts += (0, 0, argument.size, argument.itemsize, _address(argument), *argument.shape, *argument.strides)
    elif isinstance(argument, tuple):
        for item in argument:
            _put(item, parts)
    else:
        parts.append(argument.item() if isinstance(argument, np.generic) else argument)


def _types(argument: Any) -> Iterator[Any]:
    if isinstance(argument, np.ndarray):
        yield from [ctypes.c_int64] * (5 + 2 * argument.ndim)
    elif isinstance(argument, tuple):
        for item in argument:
            yield from _types(item)
    else:
        yield _SCALARS[kind_of(argument)]


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@functools.cache
def _target() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple()


def _loaded(symbol: str, code: bytes) -> tuple[Any, int]:
    """What keeps the code in memory, and where the function begins."""
    from llvmlite import binding

    machine = _target().create_target_machine(codemodel="jitdefault", jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine, engine.get_function_address(symbol)


@functools.cache
def processor() -> str:
    """A digest of the kind of processor that code is compiled for."""
    from llvmlite import binding

    _target()
    kind = f"{binding.get_default_triple()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    return hashlib.blake2b(kind.encode(), digest_size=4).hexdigest()


@functools.cache
def compiler() -> str:
    """The versions of what code is compiled by."""
    import importlib.metadata

    return f"numba {importlib.metadata.version('numba')}, llvmlite {importlib.metadata.version('llvmlite')}"


def read(name: str, *, stamp: str, beside: Path) -> tuple[Header, bytes] | None:
    """The code that is kept under this name; None if there is none that has the stamp and is whole."""
    for folder in _folders(beside):
        with suppress(OSError, msgspec.MsgspecError):
            first, _, code = (folder / name).read_bytes().partition(b"\n")
            header = msgspec.json.decode(first, type=Header)
            if header.stamp == stamp and header.checksum == _checksum(code):
                return header, code
    return None


def keep(name: str, header: Header, code: bytes, *, beside: Path) -> None:
    """Keep the code in the first folder that can be written to; in none, each process compiles it again."""
    for folder in _folders(beside):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            written = folder / f"{name}.{os.getpid()}.tmp"
            written.write_bytes(msgspec.json.encode(header) + b"\n" + code)
            written.replace(folder / name)
            return


def header_of(*, stamp: str, symbol: str, returns: tuple[str, ...], is_tuple: bool, code: bytes) -> Header:
    """The header of some code."""
    return Header(stamp=stamp, symbol=symbol, returns=returns, is_tuple=is_tuple, checksum=_checksum(code))


def _checksum(code: bytes) -> str:
    return hashlib.blake2b(code, digest_size=16).hexdigest()


def _folders(beside: Path) -> Iterator[Path]:
    """Where code is kept: what the environment says, as for Numba; else beside the source, else the user's cache."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(named)
        return
    yield beside / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dolma" / "kernels"
