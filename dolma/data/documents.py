"""Documents in and out: files of any format to `TextBatch`, JSON records to files of any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dolma.data import streams
from dolma.data.formats.table import format_of
from dolma.data.intake import LISTED_FAILURES, FailedRecord, Faults, Intake, Reading
from dolma.data.shards import Piece, Shard
from dolma.data.takedown import Passing, passing

if TYPE_CHECKING:
    from dolma.data.batch import TextBatch

__all__ = [
    "LISTED_FAILURES",
    "DocumentWriter",
    "FailedRecord",
    "Faults",
    "Intake",
    "Reading",
    "concatenate_documents",
    "read_batches",
]


def read_batches(
    piece: Piece | Shard,
    reading: Reading,
    *,
    intake: Intake,
    records: bool = False,
    metadata: bool = False,
    faults: Faults | None = None,
) -> Iterator[TextBatch]:
    """The documents of a shard or a piece of one, in order, in batches of about `reading.batch_bytes`.

    Of a shard of so many `documents` no more are read. Those that `reading.takedown` names are passed over. With
    `faults` given, whoever has a batch may find further records bad, until the next one is asked for.

    Raises:
        RecordError: a record cannot be used and `reading.on_error` is "fail".
        DataError: the file is missing, truncated or corrupt.
    """
    piece = Piece(shard=piece) if isinstance(piece, Shard) else piece
    format, left = format_of(piece.shard.path), piece.shard.documents
    over = None if reading.takedown is None else passing(reading.takedown)
    whole = records or (over is not None and over.need_records)
    with faults or Faults(piece, reading, intake) as faults:
        for batch in format.batches(piece, reading, faults, records=whole, metadata=metadata):
            if over is not None:
                batch = _passed_over(batch, over, intake)
                batch.records = batch.records if records else None
            if left is not None:
                batch = batch.first(left)
                left -= len(batch)
            intake.documents += len(batch)
            intake.bytes += len(batch.utf8)
            if len(batch):
                yield batch
            del batch  # before the next one is read
            if left == 0:
                return


def _passed_over(batch: TextBatch, over: Passing, intake: Intake) -> TextBatch:
    """The documents of a batch that are not taken down."""
    mask = over.mask(batch)
    if not mask.any():
        return batch
    for i in mask.nonzero()[0].tolist():
        intake.take_down(batch.sources[i], int(batch.n_bytes[i]))
    return batch.taken((~mask).nonzero()[0])


class DocumentWriter:
    """Writes JSON objects as documents, in the format that the path's suffix names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.written: streams.Written | None = None
        self._sink = format_of(path).sink(path)

    def __enter__(self) -> DocumentWriter:
        self._sink.__enter__()
        return self

    def write(self, records: Iterable[bytes]) -> None:
        """Append records, each one JSON object without a newline."""
        self._sink.write_records(records)

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._sink.__exit__(kind, value, trace)
        self.written = self._sink.written


def concatenate_documents(parts: Sequence[str], path: str) -> streams.Written:
    """One document file of finished parts in the same format, in order."""
    return format_of(path).concatenate(parts, path)
