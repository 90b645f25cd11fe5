"""Raw ids with an index beside them, which is written when the sizes of all documents are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pyarrow as pa

from dolma.data import streams
from dolma.data.tokens import RawIds
from dolma.errors import DataError
from dolma.tokens.formats.format import Counts

Index = dict[str, Callable[[Counts], bytes]]
"""Files beside the ids by path, and what each holds where documents have these sizes."""


def read_index(path: str) -> bytes:
    """The bytes of an index.

    Raises:
        DataError: there is none.
    """
    try:
        return streams.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError("no such file\n  copy the folder of shards again", file=path) from error


class IndexedIds:
    """Ids as they are, and files that tell where documents end. 8 bytes of memory for each document."""

    def __init__(self, path: str, index: Index) -> None:
        self._ids = RawIds(path)
        self._index = [(streams.open_output(beside), encode) for beside, encode in index.items()]
        self._counts: list[Counts] = []
        self._stack = ExitStack()

    @property
    def written(self) -> list[streams.Written]:
        """The ids, then the files of the index."""
        beside = [file.written for file, _ in self._index]
        return [*self._ids.written, *(written for written in beside if written is not None)]

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for file, _ in self._index:
                opening.enter_context(file)
            opening.enter_context(self._ids)
            self._stack = opening.pop_all()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._stack.__exit__(kind, value, trace)

    def write(self, ids: Sequence[bytes | memoryview], *, counts: Counts, rows: pa.Table) -> None:
        """Append documents."""
        self._ids.write(ids, counts=counts, rows=rows)
        self._counts.append(counts)

    def end(self) -> None:
        """Write the index."""
        counts = np.concatenate(self._counts) if self._counts else np.zeros(0, np.int64)
        for file, encode in self._index:
            file.write(encode(counts))
