"""One pass over a piece: which documents the rules keep, and their texts after span edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dolma.config import MixConfig
from dolma.data.batch import TextBatch
from dolma.data.dataset import Piece
from dolma.data.documents import Intake, Reading, read_batches
from dolma.mixers.decisions import Decision
from dolma.mixers.join import AttributeFile, JoinedRows
from dolma.mixers.reshape import Reshape
from dolma.mixers.rules import Arrays, RuleSet
from dolma.mixers.spans import Edits, SpanCounts
from dolma.mixers.waterfall import EDITED_AWAY, MIN_LENGTH, Waterfall, WaterfallRow, by_source
from dolma.runner.ledger import Ledger
from dolma.runner.progress import advance
from dolma.runner.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceSpec:
    """What a task is called with: a piece, its place in the corpus, and the attribute files of its shard."""

    index: int
    piece: Piece
    files: tuple[AttributeFile, ...]


def tasks_of(specs: Sequence[PieceSpec]) -> list[Task]:
    """A task for each piece."""
    return [
        Task(key=spec.piece.key, size=spec.piece.size, spec=spec, file=spec.piece.shard.path, part=spec.piece.words)
        for spec in specs
    ]


@dataclass(slots=True, kw_only=True)
class Judged:
    """A batch with its columns, and what was decided on it.

    `edited` has the new text of each kept document whose text changed, `copied` the attributes that go into the
    metadata.
    """

    batch: TextBatch
    arrays: Arrays
    decision: Decision
    edited: dict[int, bytes]
    copied: list[pa.Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Rules, span edits and least length of a mix. Picklable."""

    rules: RuleSet
    edits: Edits
    min_length: int
    reading: Reading
    reshape: Reshape

    @classmethod
    def of(cls, config: MixConfig, rules: RuleSet, reading: Reading) -> Judge:
        """The judge of this mix."""
        columns = {rule.sql.lower(): rule.columns[0] for rule in rules.rules if rule.kind == "spans"}
        return cls(
            rules=rules,
            edits=Edits(tuple(config.spans), tuple(_column_of(edit.attribute, columns) for edit in config.spans)),
            min_length=config.min_length,
            reading=reading,
            reshape=Reshape.of(config, rules.copied),
        )

    @property
    def labels(self) -> list[str]:
        """What can drop a document, in order."""
        return [*self.rules.labels, *([MIN_LENGTH] if self.min_length else [])]

    def is_about(self, rule: int, source: str) -> bool:
        """Whether what stands at this place of `labels` can drop documents of a source."""
        return rule >= len(self.rules.rules) or self.rules.rules[rule].is_about(source)

    def judge(self, spec: PieceSpec, count: Count, *, records: bool) -> Iterator[Judged]:
        """Every batch of the piece, judged; `count` is filled on the way. `records`: read whole records too.

        Raises:
            DataError: attributes do not fit the documents, or a rule has no answer for one.
        """
        records = records or bool(self.rules.fields) or self.edits.need_records
        batches = read_batches(spec.piece, self.reading, intake=count.intake, records=records)
        with JoinedRows(spec.piece, spec.files) as rows:
            for batch in batches:
                n_documents, n_bytes = len(batch), len(batch.utf8)
                yield self._judged(batch, rows, count)
                del batch
                advance(documents=n_documents, bytes=n_bytes)
            rows.finish()
            count.first_row, count.rows = rows.first_row, rows.rows

    def _judged(self, batch: TextBatch, rows: JoinedRows, count: Count) -> Judged:
        arrays = self.rules.with_own(batch, rows.take(batch))
        holds = self.rules.holds(batch, arrays)
        kept = np.asarray(holds.all(axis=0))
        edited, n_spans = self.edits.apply(batch, arrays, chosen=kept, counts=count.spans)
        n_bytes = batch.n_bytes
        if edited:
            n_bytes = n_bytes.copy()
            n_bytes[list(edited)] = [len(text) for text in edited.values()]
        if self.min_length:
            long = ~kept | (characters(batch, edited) >= self.min_length)
            holds, kept = np.vstack([holds, long]), kept & long
        count.waterfall.add(holds, sources=batch.sources, n_bytes=batch.n_bytes, ids=batch.ids)
        for source, mine in by_source(batch.sources):
            count.take(source, mine, kept=kept, n_bytes=batch.n_bytes, n_bytes_after=n_bytes)
        decision = Decision(fired=~holds, edits=n_spans, n_bytes=n_bytes)
        copied = self.reshape.values(arrays)
        return Judged(batch=batch, decision=decision, edited=edited, copied=copied, arrays=arrays)


def _column_of(attribute: str, columns: dict[str, tuple[str, str]]) -> tuple[str, str]:
    if attribute.lower() in columns:
        return columns[attribute.lower()]
    name, output = attribute.split(".")
    return name, output


def characters(batch: TextBatch, edited: dict[int, bytes]) -> npt.NDArray[np.int64]:
    """Code points of each document after edits; int64, shape `(n_docs,)`."""
    from dolma.kernels.views import code_points

    counts = np.array(batch.view(code_points), dtype=np.int64)
    if edited:
        counts[list(edited)] = [
            code_points(np.frombuffer(text, np.uint8), np.array([0, len(text)]))[0] for text in edited.values()
        ]
    return counts


@dataclass(slots=True)
class Count:
    """What one task counted: documents in by source, the waterfall, span edits, and what is kept so far."""

    waterfall: Waterfall
    spans: SpanCounts
    intake: Intake = field(default_factory=Intake)
    taken: dict[str, list[int]] = field(default_factory=dict)
    kept: dict[str, list[int]] = field(default_factory=dict)
    edited_away: dict[str, int] = field(default_factory=dict)
    first_row: int = -1
    rows: int = 0

    @classmethod
    def of(cls, judge: Judge) -> Count:
        """Nothing counted yet."""
        return cls(Waterfall(judge.labels), SpanCounts.of(len(judge.edits.edits)))

    def take(
        self,
        source: str,
        mine: npt.NDArray[np.bool_],
        *,
        kept: npt.NDArray[np.bool_],
        n_bytes: npt.NDArray[np.int64],
        n_bytes_after: npt.NDArray[np.int64],
    ) -> None:
        """Count the documents `mine` of a source."""
        stays = mine & kept
        for counts, chosen, sizes in ((self.taken, mine, n_bytes), (self.kept, stays, n_bytes_after)):
            entry = counts.setdefault(source, [0, 0])
            entry[0] += int(chosen.sum())
            entry[1] += int(sizes[chosen].sum())
        if edited_away := int((n_bytes - n_bytes_after)[stays].sum()):
            self.edited_away[source] = self.edited_away.get(source, 0) + edited_away

    def ledger(self, piece: Piece, *, keep: bool) -> Ledger:
        """Everything that came in and what the rules dropped; with `keep`, the rest as kept."""
        ledger = self.balance(keep=keep)
        ledger.fail(piece.shard.source, self.intake)
        return ledger

    def balance(self, *, keep: bool) -> Ledger:
        """The same without records that could not be read."""
        ledger = Ledger()
        for source, (documents, n_bytes) in self.taken.items():
            ledger.take(source, documents=documents, bytes=n_bytes)
            if keep:
                ledger.keep(source, documents=self.kept[source][0], bytes=self.kept[source][1])
        self.waterfall.drop(ledger)
        for source, n_bytes in self.edited_away.items():
            ledger.drop(source, EDITED_AWAY, bytes=n_bytes)
        return ledger

    def payload(self) -> dict[str, Any]:
        """What the stage needs of this task, as JSON-able values."""
        return {
            "waterfall": [[rule, msgspec.to_builtins(row)] for rule, row in self.waterfall.indexed()],
            "spans": msgspec.to_builtins(self.spans),
            "kept": self.kept,
            "first_row": self.first_row,
            "rows": self.rows,
        }


def waterfall_of(labels: Sequence[str], payloads: Sequence[dict[str, Any]]) -> Waterfall:
    """The waterfall of all tasks, in corpus order."""
    whole = Waterfall(labels)
    for payload in payloads:
        whole.merge((rule, msgspec.convert(row, WaterfallRow)) for rule, row in payload["waterfall"])
    return whole


def spans_of(n_edits: int, payloads: Sequence[dict[str, Any]]) -> SpanCounts:
    """What the span edits did in all tasks."""
    whole = SpanCounts.of(n_edits)
    for payload in payloads:
        whole.add(msgspec.convert(payload["spans"], SpanCounts))
    return whole
