"""What `torch.save` wrote, one tensor or one plain value, read as data.

Such a file is a zip archive of a pickle and of the bytes of storages. `torch.load` unpickles it, also with
`weights_only`, in whose list of harmless calls faults are found now and then. A distributed checkpoint needs one call
only, that which lays a tensor over a storage, and it is done here once its numbers are known to be in bounds.
"""

from __future__ import annotations

import io
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dolma.data import streams
from dolma.errors import DataError
from dolma.printable import printable
from dolma.training.unpickle import PERSISTENT, Name, Record, load

_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_DTYPES = {
    Name("torch", "FloatStorage"): torch.float32,
    Name("torch", "BFloat16Storage"): torch.bfloat16,
    Name("torch", "HalfStorage"): torch.float16,
    Name("torch", "DoubleStorage"): torch.float64,
    Name("torch", "LongStorage"): torch.int64,
    Name("torch", "IntStorage"): torch.int32,
    Name("torch", "ShortStorage"): torch.int16,
    Name("torch", "CharStorage"): torch.int8,
    Name("torch", "ByteStorage"): torch.uint8,
    Name("torch", "BoolStorage"): torch.bool,
}
_NAMES = {_REBUILD, Name("collections", "OrderedDict"), *_DTYPES}
_MAX_OVERHEAD = 1 << 16  # bytes of an archive beside the numbers; it is 1.3 kB


@dataclass(frozen=True, slots=True)
class Part:
    """Where in a file something lies: `length` bytes from `at` on."""

    file: str
    at: int
    length: int


def read_tensor(part: Part, *, shape: Sequence[int]) -> torch.Tensor:
    """The tensor of this shape that is stored in a part of a file, on the CPU.

    Raises:
        DataError: there is none, or it is of another shape, or not all of it is there.
    """
    if part.length > math.prod(shape) * 8 + _MAX_OVERHEAD:
        raise _damaged(f"has {part.length:,} bytes for {list(shape)} numbers", part)
    with _archive(part) as archive:
        value = _value(archive, part)
        if not (isinstance(value, Record) and value.kind == _REBUILD and len(value.args) >= 4):
            raise _damaged("holds no tensor where its checkpoint says so", part)
        storage, offset, size, stride = value.args[:4]
        if size != tuple(shape) or not _are_numbers([offset, *size, *_items(stride)]) or len(stride) != len(size):
            raise _damaged("holds a tensor of another shape than its checkpoint says", part)
        dtype, name = _storage(storage, part)
        n = math.prod(size)
        content = _content(archive, name, part, most=n * dtype.itemsize)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if len(content) != n * dtype.itemsize or (n and last >= n):
        raise _damaged("does not hold as many numbers as its tensor has", part)
    if not n:
        return torch.empty(size, dtype=dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
        return torch.frombuffer(content, dtype=dtype).as_strided(size, stride, offset)


def read_value(part: Part) -> Any:
    """The number, text, or tuple, list or dictionary of them that is stored in a part of a file.

    Raises:
        DataError: there is none.
    """
    if part.length > _MAX_OVERHEAD:
        raise _damaged(f"has {part.length:,} bytes for one value", part)
    with _archive(part) as archive:
        return _value(archive, part)


def _damaged(said: str, part: Part) -> DataError:
    return DataError(f"{said}\n  copy or download the checkpoint again", file=part.file, offset=part.at)


@contextmanager
def _archive(part: Part) -> Iterator[zipfile.ZipFile]:
    """The archive in a part of a file, and what is wrong with it as a DataError."""
    with streams.open_seekable(part.file) as file:
        view = _View(file, part)
        try:
            with zipfile.ZipFile(view) as archive:
                view.most = part.length
                yield archive
        except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error) as error:
            raise _damaged(f"does not hold what `torch.save` writes: {printable(error)}", part) from error


def _value(archive: zipfile.ZipFile, part: Part) -> Any:
    if _content(archive, "byteorder", part, default=b"little") != b"little":
        raise _damaged("has its bytes in another order than little-endian", part)
    return load(_content(archive, "data.pkl", part), names=_NAMES, what="tensor or value", file=part.file)


def _content(
    archive: zipfile.ZipFile, name: str, part: Part, *, most: int = _MAX_OVERHEAD, default: bytes | None = None
) -> bytes:
    """The bytes of a member of the archive, all of whose members are in one folder."""
    for member in archive.infolist():
        if member.filename.partition("/")[2] == name:
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > most:
                raise _damaged(f"has a compressed or too long {name[:100]!r}", part)
            return archive.read(member)
    if default is not None:
        return default
    raise _damaged(f"lacks {name[:100]!r}", part)


def _storage(value: Any, part: Part) -> tuple[torch.dtype, str]:
    """The type of a storage's numbers, and the name of the member that holds them."""
    reference = value.args[0] if isinstance(value, Record) and value.kind == PERSISTENT else None
    match reference:
        case ("storage", Name() as kind, str(key), _, _) if kind in _DTYPES:
            return _DTYPES[kind], f"data/{key}"
    raise _damaged("has a tensor without a storage of numbers", part)


def _items(value: Any) -> tuple[Any, ...]:
    return value if type(value) is tuple else (None,)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)


class _View(io.RawIOBase):
    """A part of a file, as a file of which at most `most` bytes are read at a time."""

    def __init__(self, file: Any, part: Part) -> None:
        self.file, self.part, self.position = file, part, 0
        self.most = 2 * _MAX_OVERHEAD  # a comment at the archive's end is looked for in as much as _MAX_OVERHEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.part.length}[whence]
        if base + offset < 0:
            raise ValueError("a place before its beginning")
        self.position = base + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        if len(buffer) > self.most:
            raise ValueError("a list of its members that is too long")
        n = max(0, min(len(buffer), self.part.length - self.position))
        self.file.seek(self.part.at + self.position)
        n = self.file.readinto(memoryview(buffer)[:n])
        self.position += n
        return n
