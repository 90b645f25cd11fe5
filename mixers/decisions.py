"""Decisions: one row for each document that was read, with what was decided on it and why.

`decisions/<shard>.parquet` has them in the order of the shard, so that row `i` is about the document of row `i` of an
attribute file. Columns:

    id, line, source   of the document (`line` is 1-based; parquet: row)
    bytes              UTF-8 bytes of its text as read
    kept               whether all rules leave it in
    rules              the rules that drop it, as the ledger calls them, in the order of the recipe; empty if it is kept
    edits              spans that are replaced, and stretches that `keep_only` deletes; of a document that rules drop, 0
    edited_bytes       UTF-8 bytes of its text after edits
    tokens             that `dolma tokenize` makes of that; null where they are not counted
    draw               its key in the order in which its source is sampled, uint64; null where nothing is sampled
    held_out           whether it is held out for validation
    copies             how often it is written: 0 where it is dropped, held out or sampled out

A sampled mix decides first and draws afterwards; what was decided goes from one phase to the other by `DECIDED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.exchange import RunFile, Table, read_sorted, whole_runs
from dolma.mixers.holdout import Holding, Marks
from dolma.mixers.sampling import Candidates
from dolma.mixers.token_counts import NOT_COUNTED

DECISIONS = "decisions"
DECISIONS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("line", pa.int64()),
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("bytes", pa.int64()),
        ("kept", pa.bool_()),
        ("rules", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        ("edits", pa.int32()),
        ("edited_bytes", pa.int64()),
        ("tokens", pa.int64()),
        ("draw", pa.uint64()),
        ("held_out", pa.bool_()),
        ("copies", pa.int32()),
    ]
)
DECIDED = Table(
    name="decided",
    schema=pa.schema(
        [
            ("line", pa.uint64()),
            ("cell", pa.int32()),  # its source and stratum, by their number in the piece
            ("bytes", pa.int64()),
            ("tokens", pa.int64()),  # NOT_COUNTED where they are not
            ("draw", pa.uint64()),
            ("edits", pa.int32()),
            ("group", pa.uint64()),  # a cluster that it is in, 0 for none
            ("forced", pa.bool_()),  # its id is held out
            ("rules", pa.binary()),  # one bit for each rule that drops the document
        ]
    ),
    key=("line",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided on some documents; arrays of shape `(n_docs,)`, `fired` of shape `(n_rules, n_docs)`.

    `fired` is True where a rule drops the document. `edits` counts spans and `n_bytes` the UTF-8 after edits;
    `n_tokens` has `NOT_COUNTED` where tokens are not counted.
    """

    fired: npt.NDArray[np.bool_]
    edits: npt.NDArray[np.int32]
    n_bytes: npt.NDArray[np.int64]
    draws: npt.NDArray[np.uint64] | None = None
    n_tokens: npt.NDArray[np.int64] | None = None
    marks: Marks | None = None
    held_out: npt.NDArray[np.bool_] | None = None

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether all rules leave the document in; bool, shape `(n_docs,)`."""
        return np.asarray(~self.fired.any(axis=0))

    def rows(self, batch: TextBatch, times: npt.NDArray[np.int64], labels: Sequence[str]) -> pa.Table:
        """The rows of a batch, each document of which is written as often as `times` says."""
        documents, rules = np.nonzero(self.fired.T)
        bounds = np.zeros(len(batch) + 1, dtype=np.int32)
        np.cumsum(np.bincount(documents, minlength=len(batch)), out=bounds[1:])
        fired = pa.DictionaryArray.from_arrays(pa.array(rules, pa.int32()), pa.array(labels, pa.string()))
        columns = [
            pa.array(batch.ids, pa.string()),
            pa.array(batch.lines, pa.int64()),
            pa.array(batch.sources, pa.string()).dictionary_encode(),
            pa.array(batch.n_bytes, pa.int64()),
            pa.array(self.kept),
            pa.ListArray.from_arrays(pa.array(bounds), fired),
            pa.array(self.edits, pa.int32()),
            pa.array(self.n_bytes, pa.int64()),
            pa.nulls(len(batch), pa.int64())
            if self.n_tokens is None
            else pa.array(self.n_tokens, mask=self.n_tokens == NOT_COUNTED),
            pa.nulls(len(batch), pa.uint64()) if self.draws is None else pa.array(self.draws, pa.uint64()),
            pa.array(np.zeros(len(batch), bool) if self.held_out is None else self.held_out),
            pa.array(times, pa.int32()),
        ]
        return pa.Table.from_arrays(columns, schema=DECISIONS_SCHEMA)

    def records(self, lines: npt.NDArray[np.int64], codes: npt.NDArray[np.int32]) -> pa.RecordBatch:
        """The same as records of `DECIDED`, with the number of each document's cell."""
        bits = np.packbits(self.fired, axis=0).T
        n_bytes = bits.shape[1]
        bounds = np.arange(len(lines) + 1, dtype=np.int32) * np.int32(n_bytes)
        packed = pa.Array.from_buffers(
            pa.binary(), len(lines), [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(bits))]
        )
        columns = [lines.astype(np.uint64), codes, self.n_bytes, self.n_tokens, self.draws, self.edits]
        marks = self.marks or Marks.none(len(lines))
        columns += [marks.group, marks.forced]
        return pa.RecordBatch.from_arrays([*map(pa.array, columns), packed], schema=DECIDED.schema)

    @classmethod
    def of_records(cls, records: pa.RecordBatch | pa.Table, *, n_rules: int) -> Decision:
        """What `records` has made records of."""
        packed = np.frombuffer(b"".join(records["rules"].to_pylist()), dtype=np.uint8)
        bits = packed.reshape(len(records), -(-n_rules // 8)).T
        return cls(
            fired=np.unpackbits(bits, axis=0, count=n_rules).astype(bool),
            edits=records["edits"].to_numpy(),
            n_bytes=records["bytes"].to_numpy(),
            n_tokens=records["tokens"].to_numpy(),
            marks=Marks(
                group=records["group"].to_numpy(),
                forced=records["forced"].to_numpy(zero_copy_only=False),
                edges=None,
            ),
            draws=records["draw"].to_numpy(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedPiece:
    """Where the decisions on a piece lie, by how many rules.

    Of its `i`-th cell, `codes[i]` is the number of the source, `quotas[i]` that of what it fills, and `rates[i]` the
    tokens to a byte of documents that are not counted.
    """

    shard: str
    file: RunFile
    codes: tuple[int, ...]
    quotas: tuple[int, ...]
    rates: tuple[float, ...]
    n_rules: int
    holding: Holding | None = None

    def read(self, work: str, *, memory: int) -> Iterator[pa.RecordBatch]:
        """The decisions, by line."""
        return read_sorted(DECIDED, work, whole_runs([self.file]), memory=memory)

    def decision(self, records: pa.RecordBatch) -> Decision:
        """What some records say."""
        return Decision.of_records(records, n_rules=self.n_rules)

    def candidates(self, records: pa.RecordBatch) -> Candidates:
        """The documents that the rules leave in and that are not held out, of those that some records are about."""
        return self._chosen(records, ~self.held_out(records))

    def held_out(self, records: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Whether each document is held out that some records are about; bool, shape `(n_docs,)`."""
        decision = self.decision(records)
        held = np.zeros(len(records), bool)
        if self.holding is not None and decision.marks is not None:
            kept = decision.kept
            held[kept] = self.holding.mask(self._chosen(records, kept), decision.marks.of(kept))
        return held

    def held(self, records: pa.RecordBatch) -> Candidates:
        """The documents that are held out."""
        return self._chosen(records, self.held_out(records))

    def marked(self, records: pa.RecordBatch) -> tuple[Candidates, Marks]:
        """All documents that the rules leave in, and their clusters."""
        decision = self.decision(records)
        assert decision.marks is not None
        return self._chosen(records, decision.kept), decision.marks.of(decision.kept)

    def _chosen(self, records: pa.RecordBatch, chosen: npt.NDArray[np.bool_]) -> Candidates:
        kept = self.decision(records).kept & chosen
        cells, n_bytes, n_tokens = (records[name].to_numpy()[kept] for name in ("cell", "bytes", "tokens"))
        estimated = np.rint(np.array([*self.rates, 0.0])[cells] * n_bytes).astype(np.int64)
        return Candidates(
            shard=self.shard,
            lines=records["line"].to_numpy().astype(np.int64)[kept],
            sources=np.array([*self.codes, 0], dtype=np.int32)[cells],
            quotas=np.array([*self.quotas, 0], dtype=np.int32)[cells],
            n_bytes=n_bytes,
            n_tokens=np.where(n_tokens == NOT_COUNTED, estimated, n_tokens),
            keys=records["draw"].to_numpy()[kept],
        )
