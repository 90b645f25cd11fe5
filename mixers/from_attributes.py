"""What the rules drop, told by attributes alone: no document is read.

That is enough where rules read attributes, which say how long texts are, and nothing is edited or sampled. Documents
count for the source that their folder is called after: the account of the stage that measured them says whether they
are of no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data.attributes import AttributeReader
from dolma.data.batch import TextBatch
from dolma.data.dataset import Shard, is_native
from dolma.errors import AlignmentError
from dolma.mixers.catalogue import DOCUMENT, Column
from dolma.mixers.join import AttributeFile, column_of
from dolma.mixers.judge import Count, Judge
from dolma.mixers.subject import Subject, sources_measured
from dolma.printable import printable
from dolma.runner.progress import advance
from dolma.runner.task import Task, TaskResult

_ROWS = 1 << 16


def why_documents(subject: Subject) -> str:
    """Why attributes do not tell what the rules drop; "" where they do."""
    config, rules = subject.config, subject.judge.rules
    for rule in rules.rules:
        if any(name == DOCUMENT for name, _ in rule.columns):
            return f"the rule `{printable(rule.label)}` is about the documents themselves"
    if config.is_sampled or config.spans or config.min_length or config.metadata:
        return "texts are edited, or documents are sampled"
    if not rules.sets or subject.dataset.limited is not None or subject.judge.reading.limit is not None:
        return "no attributes are of all of them"
    if subject.sizes is None:
        return "no attribute says how long texts are; `dolma tag --taggers length` measures it"
    if any(not is_native(file.path) for files in subject.files.values() for file in files):
        return "attributes of Dolma 1.x have no row for each"
    measured = sources_measured(subject.dataset, subject.shards, rules.sets[0], subject.judge.reading)
    if not measured or measured != {shard.source for shard in subject.shards}:
        return "some are of other sources than their folders are called after"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRows:
    """Judges the rows of a shard. Called with the shard and its attribute files; `sizes` are the bytes of texts."""

    judge: Judge
    sizes: Column

    def __call__(self, spec: tuple[Shard, tuple[AttributeFile, ...]]) -> TaskResult:
        shard, files = spec
        count, rules = Count.of(self.judge), self.judge.rules
        at = 0
        with ExitStack() as opened:
            readers = [
                opened.enter_context(AttributeReader(file.path, file.columns, content=file.content)) for file in files
            ]
            while len(ids := _ids(shard, files, tables := [reader.take(_ROWS) for reader in readers])):
                arrays: dict[str, dict[str, pa.Array]] = {}
                for file, found in zip(files, tables, strict=True):
                    arrays.setdefault(file.set, {}).update(
                        {name: column_of(found, name, output, path=file.path) for name, output in file.outputs.items()}
                    )
                n_bytes = arrays[self.sizes[0]][self.sizes[1]].fill_null(0).to_numpy(zero_copy_only=False)
                batch = _without_texts(shard, ids, n_bytes, at)
                holds = rules.holds(batch, arrays)
                kept = np.asarray(holds.all(axis=0))
                count.waterfall.add(holds, sources=batch.sources, n_bytes=n_bytes, ids=batch.ids)
                everything = np.ones(len(batch), dtype=bool)
                count.take(shard.source, everything, kept=kept, n_bytes=n_bytes, n_bytes_after=n_bytes)
                advance(documents=len(batch), bytes=int(n_bytes.sum()))
                at += len(batch)
        return TaskResult(ledger=count.balance(keep=True), payload=count.payload())


def tasks_of_rows(subject: Subject) -> list[Task]:
    """A task for each shard."""
    return [
        Task(key=shard.name, size=max(shard.size, 1), spec=(shard, subject.files[shard.name]), file=shard.path)
        for shard in subject.shards
    ]


def _ids(shard: Shard, files: tuple[AttributeFile, ...], tables: list[pa.Table]) -> pa.ChunkedArray:
    ids = tables[0].column("id")
    for file, table in zip(files[1:], tables[1:], strict=True):
        others = table.column("id")
        if len(others) != len(ids) or not pc.all(pc.equal(ids, others), min_count=0).as_py():
            raise AlignmentError(
                f"{printable(files[0].path)} and {printable(file.path)} are of other documents"
                "\n  measure again: `dolma tag --overwrite`",
                file=shard.path,
                line=1,
            )
    return ids


class _Ids(Sequence[str]):
    """Ids that become strings when they are asked for: those of some examples are."""

    def __init__(self, ids: pa.ChunkedArray) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, i: Any) -> Any:
        return self._ids[i].as_py()


def _without_texts(shard: Shard, ids: pa.ChunkedArray, n_bytes: np.ndarray, at: int) -> TextBatch:
    """The documents of these rows, all characters of whose texts are NUL: only their lengths are known."""
    offsets = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum(n_bytes, out=offsets[1:])
    return TextBatch(
        utf8=np.broadcast_to(np.zeros(1, np.uint8), int(offsets[-1])),
        offsets=offsets,
        ids=_Ids(ids),
        sources=[shard.source] * len(ids),
        lines=np.arange(at + 1, at + len(ids) + 1, dtype=np.int64),
        path=shard.path,
    )
