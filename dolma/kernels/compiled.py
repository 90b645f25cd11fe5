"""`kernel`: how every hot loop is compiled, and kept.

Numba compiles a kernel for each kind of arguments that it is called with; the machine code is kept beside the source,
or under `NUMBA_CACHE_DIR` (`dolma/kernels/native.py`), and where it is found, Numba is not imported. A kernel calls
functions of other files, so the code is stamped with a digest of the file and of every kernel file that it imports,
directly or not.

What that saves is in benchmarks/results/2026-11-29-startup.md.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dolma.kernels import native
from dolma.kernels.native import Native, kind_of

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

KERNELS: list[Compiled] = []
_listeners: list[Callable[[], object]] = []


class Compiled:
    """A function that Numba compiles, or an intrinsic that it is told of, when it is needed."""

    def __init__(self, function: Callable[..., Any], make: Callable[[Callable[..., Any]], Any]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._make = function, make
        self.natives: dict[Any, Native] = {}  # by the kinds of the arguments

    def __call__(self, *arguments: Any) -> Any:
        kinds = tuple(map(kind_of, arguments))
        native = self.natives.get(kinds)
        if native is None:
            native = self.natives[kinds] = self._native(kinds, arguments)
        return native(*arguments)

    @functools.cached_property
    def made(self) -> Any:
        """What Numba made of the function: a dispatcher, or an intrinsic."""
        return self._make(self._function)

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes this for where another kernel calls it."""
        from numba.core.registry import cpu_target

        made = self.made
        cpu_target.typing_context.refresh()  # which may not know of a new intrinsic yet
        return cpu_target.typing_context.resolve_value_type(made)

    def _native(self, kinds: tuple[Any, ...], arguments: Sequence[Any]) -> Native:
        source = Path(inspect.getfile(self._function))
        stamp = f"{_digest(source)} {native.compiler()}"
        parameters = hashlib.blake2b(repr(kinds).encode(), digest_size=6).hexdigest()
        name = f"{source.stem}.{self._function.__name__}.{parameters}.{native.processor()}{native.SUFFIX}"
        kept = native.read(name, stamp=stamp, beside=source.parent)
        if kept is None:
            kept = self._compile(arguments, stamp)
            native.keep(name, *kept, beside=source.parent)
        return Native(*kept, arguments)

    def _compile(self, arguments: Sequence[Any], stamp: str) -> tuple[native.Header, bytes]:
        import numba
        from numba.np.numpy_support import as_dtype

        for listener in _listeners:
            listener()
        types = tuple(map(numba.typeof, arguments))
        self.made.compile(types)
        compiled = self.made.overloads[types]
        returned = compiled.signature.return_type
        is_tuple = isinstance(returned, numba.types.BaseTuple)
        results = () if returned == numba.none else tuple(returned) if is_tuple else (returned,)
        code = compiled.library._get_compiled_object()
        header = native.header_of(
            stamp=stamp,
            symbol=compiled.fndesc.llvm_func_name,
            returns=tuple(as_dtype(result).str for result in results),
            is_tuple=is_tuple,
            code=code,
        )
        return header, code


@contextmanager
def noticing(listener: Callable[[], object]) -> Iterator[None]:
    """While entered, the listener is called before a kernel is compiled, not when one is loaded."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def in_use() -> bool:
    """Whether this process has called a kernel, so that calling others costs little."""
    return any(kernel.natives for kernel in KERNELS)


def kernel(function: Function) -> Function:
    """The function, compiled on first use, cached on disk, and run without the GIL.

    Kernels do arithmetic on arrays that their caller has allocated and checked; they allocate nothing and raise
    nothing. So reference counting is off (`_nrt`): with it, Numba counted two arrays up and down for each word.
    """
    return _listed(Compiled(function, _dispatcher))


def inlined(function: Function) -> Function:
    """As `kernel`, for what kernels call once per word or byte: its code is copied to where it is called.

    A call that passes arrays costs some 20 instructions. Both measures took words from 180 to 480 MB/s.
    """
    return _listed(Compiled(function, functools.partial(_dispatcher, forceinline=True)))


def intrinsic(returned: str, *taken: str | None) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: the function writes the code of what kernels call, as for `numba.extending.intrinsic`.

    It is called with a context, a builder, the signature and the arguments. Types are Numba's, by name; None is
    whatever type is given.
    """
    return lambda function: Compiled(function, functools.partial(_intrinsic, returned=returned, taken=taken))


def _listed(made: Compiled) -> Any:
    KERNELS.append(made)
    return made


def _intrinsic(function: Callable[..., Any], *, returned: str, taken: Sequence[str | None]) -> Any:
    from numba import extending, types

    def typed(typing_context: Any, *given: Any) -> Any:
        named = [one if name is None else getattr(types, name) for name, one in zip(taken, given, strict=True)]
        return getattr(types, returned)(*named), function

    names = ("typing_context", *(f"argument_{i}" for i in range(len(taken))))  # Numba counts them
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    typed.__signature__, typed.__name__ = inspect.Signature(parameters), function.__name__  # type: ignore[attr-defined]
    return extending.intrinsic(typed)


def _dispatcher(function: Callable[..., Any], **options: bool) -> Any:
    import numba

    njit: Any = numba.njit
    return njit(**_OPTIONS, **options)(function)


def flat_text(utf8: npt.ArrayLike, offsets: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The buffers of a text batch as all kernels take them: contiguous, read-only uint8 and int64, checked.

    One array type means one compilation: Numba compiles again for each layout, dtype and writability.

    Raises:
        ValueError: `offsets` is empty, does not begin at 0, decreases, or does not end at `len(utf8)`.
    """
    text = read_only(utf8, np.uint8)
    bounds = read_only(offsets, np.int64)
    if text.ndim != 1 or bounds.ndim != 1 or len(bounds) == 0:
        raise ValueError(f"utf8 has shape {text.shape} and offsets {bounds.shape}; expected (n_bytes,), (n_docs + 1,)")
    if bounds[0] != 0 or bounds[-1] != len(text) or (bounds[1:] < bounds[:-1]).any():
        raise ValueError(
            f"offsets must rise from 0 to the {len(text)} bytes of the text; they go from {bounds[0]} to {bounds[-1]}"
        )
    return text, bounds


def read_only(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The array as a contiguous read-only view of the given dtype; copied only where that cannot be had by a view."""
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


@functools.cache
def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for source in sorted(_with_imports(file)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _with_imports(file: Path) -> set[Path]:
    """The file, and the files of this package that it imports, directly or not."""
    found, todo = set(), [file]
    while todo:
        source = todo.pop()
        if source not in found:
            found.add(source)
            imports = re.findall(r"^from dolma\.kernels\.([\w.]+) import", source.read_text(encoding="utf-8"), re.M)
            todo += [Path(__file__).parent.joinpath(*name.split(".")).with_suffix(".py") for name in imports]
    return found
