"""Documents, bytes, characters and words by source, and which source each row is from.

Whether attributes are of these documents is checked here too, where the ids of documents are at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.aligned import AlignedRows, RowFile
from dolma.data.batch import TextBatch
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.exchange import RunWriter, Table
from dolma.kernels.counts import count_words
from dolma.kernels.views import code_points
from dolma.runner.ledger import Ledger, merged
from dolma.runner.progress import advance, begin
from dolma.runner.task import TaskResult
from dolma.stats.statistics import Counts

SOURCES = Table(name="sources", schema=pa.schema([("code", pa.uint32())]))
"""The source of each row of a piece, in order, by its number in the piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPieces:
    """Counts pieces and writes the source of each of their rows.

    Called with (index of the piece, piece, its attribute files) of each. `pieces` of the payload has of each `rows`,
    `first_row` of attributes, and under `counts` the fields of `Counts` per source, in the order of the codes.
    """

    work: str
    reading: Reading

    def __call__(self, specs: Sequence[tuple[int, Piece, list[RowFile]]]) -> TaskResult:
        with RunWriter(SOURCES, self.work, f"{specs[0][0]:06d}") as out:
            ledgers, counted = zip(*(self._count(piece, files, out) for _, piece, files in specs), strict=True)
        codes = [{"codes": msgspec.to_builtins(part)} for part in out.parts]
        return TaskResult(
            outputs=out.outputs,
            ledger=merged(ledgers),
            payload={"pieces": [own | found for own, found in zip(codes, counted, strict=True)]},
        )

    def _count(self, piece: Piece, files: list[RowFile], out: RunWriter) -> tuple[Ledger, dict[str, Any]]:
        begin(piece.shard.path, piece.words)
        intake, tally = Intake(), SourceCounts()
        with AlignedRows(piece, files) as rows:
            for batch in read_batches(piece, self.reading, intake=intake):
                rows.tables(batch)
                codes = pa.array(tally.add(batch).astype(np.uint32))
                out.add(pa.RecordBatch.from_arrays([codes], schema=SOURCES.schema))
                advance(documents=len(batch), bytes=len(batch.utf8))
            rows.finish()
        out.end_part()
        return tally.ledger(piece, intake), {
            "rows": intake.documents,
            "first_row": rows.first_row,
            "sources": list(tally.counts),
            "counts": [msgspec.to_builtins(counts) for counts in tally.counts.values()],
        }


class SourceCounts:
    """The counts of each source, in the order in which sources appear."""

    def __init__(self) -> None:
        self.counts: dict[str, Counts] = {}
        self._codes: dict[str, int] = {}

    def add(self, batch: TextBatch) -> npt.NDArray[np.int64]:
        """Count the batch; returns the code of each document's source, in order of appearance in the piece."""
        for source in batch.sources:
            if source not in self._codes:
                self._codes[source] = len(self._codes)
                self.counts[source] = Counts()
        codes = np.fromiter(map(self._codes.__getitem__, batch.sources), dtype=np.int64, count=len(batch))
        columns = [np.ones(len(batch), np.int64), batch.n_bytes, batch.view(code_points), batch.view(count_words)]
        sums = np.zeros((len(columns), len(self._codes)), dtype=np.int64)
        for row, column in zip(sums, columns, strict=True):
            np.add.at(row, codes, column)
        for counts, found in zip(self.counts.values(), sums.T.tolist(), strict=True):
            documents, n_bytes, characters, n_words = found
            counts.add(Counts(documents=documents, bytes=n_bytes, characters=characters, words=n_words))
        return codes

    def ledger(self, piece: Piece, intake: Intake) -> Ledger:
        """What the piece took in, all of it kept."""
        ledger = Ledger()
        for source, counts in self.counts.items():
            ledger.take(source, documents=counts.documents, bytes=counts.bytes)
            ledger.keep(source, documents=counts.documents, bytes=counts.bytes)
        ledger.fail(piece.shard.source, intake)
        return ledger
