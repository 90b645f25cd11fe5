"""What a format of documents has to say: one module of this package each, and a line in `table.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch
from dolma.data.intake import Faults, Reading
from dolma.data.shards import Piece, Shard
from dolma.data.streams import Written

Lines = npt.NDArray[np.int64]


class RecordSink(Protocol):
    """A document file being written. A context manager; `written` afterwards."""

    @property
    def written(self) -> Written | None: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None: ...

    def write_records(self, records: Iterable[bytes]) -> None:
        """Append records, each one JSON object without a newline."""


class DocumentFormat(ABC):
    """How files of documents are read, cut, counted and written."""

    @abstractmethod
    def batches(
        self, piece: Piece, reading: Reading, faults: Faults, *, records: bool, metadata: bool
    ) -> Iterator[TextBatch]:
        """The documents of a piece, in order; a batch may be empty. Bad records go to `faults`."""

    @abstractmethod
    def pieces(self, shard: Shard, piece_bytes: int) -> list[Piece]:
        """The parts of a shard, about `piece_bytes` on disk each; one where a file cannot be entered in the middle."""

    @abstractmethod
    def count(self, path: str) -> int:
        """Records in the file, good and bad.

        Raises:
            DataError: it is missing, truncated or corrupt.
        """

    @abstractmethod
    def sink(self, path: str) -> RecordSink:
        """A file to be written."""

    @abstractmethod
    def without(self, path: str, lines: Lines, out: str) -> Written:
        """The file without the records at these lines (ascending), written at `out`, whose suffix is that of `path`.

        All other records keep their bytes, or in columns their values, and their lines.
        """

    @abstractmethod
    def concatenate(self, parts: Sequence[str], path: str) -> Written:
        """One file of finished parts in this format, in order."""
