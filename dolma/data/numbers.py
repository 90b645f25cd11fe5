"""Numbers in a file as an array: mapped where the file is local, else read by ranges as they are asked for."""

from __future__ import annotations

import threading
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dolma.data import streams


class RemoteNumbers:
    """The numbers of a remote file. A slice is read when it is taken; each thread has a connection of its own.

    Raises:
        DataError: on reading, the file has changed since it was opened by this thread, or does not answer.
    """

    def __init__(self, path: str, dtype: npt.DTypeLike, size: int) -> None:
        self.path, self.dtype, self.nbytes = path, np.dtype(dtype), size
        self._opened = threading.local()

    def __len__(self) -> int:
        return self.nbytes // self.dtype.itemsize

    def __getitem__(self, at: int | slice) -> Any:
        """One number, or the array of a slice without steps."""
        if isinstance(at, slice):
            start, end, _ = at.indices(len(self))
            return self._read(start, max(start, end))
        place = range(len(self))[at]
        return self._read(place, place + 1)[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return self._read(0, len(self)).astype(dtype or self.dtype, copy=False)

    def _read(self, start: int, end: int) -> npt.NDArray[Any]:
        if not hasattr(self._opened, "file"):
            self._opened.file = streams.open_seekable(self.path)
        file: BinaryIO = self._opened.file
        file.seek(start * self.dtype.itemsize)
        return np.frombuffer(file.read((end - start) * self.dtype.itemsize), dtype=self.dtype)


def numbers_in(path: str, dtype: npt.DTypeLike, *, size: int) -> Any:
    """The numbers of a file of `size` bytes, read-only; shape `(numbers,)`."""
    if not size:
        return np.zeros(0, dtype=dtype)
    if streams.is_url(path):
        return RemoteNumbers(path, dtype, size)
    return np.memmap(streams.local_path(path), dtype=dtype, mode="r")
