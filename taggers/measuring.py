"""The work of `tag`: documents are measured by all taggers in one pass, and rows of a long shard's parts are joined."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from dolma.config import TagConfig, TaggerSpec
from dolma.data import streams
from dolma.data.attributes import AttributeWriter, concatenate_attributes
from dolma.data.batch import TextBatch
from dolma.data.dataset import Piece, Place, is_native
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import output_file
from dolma.runner.ledger import Ledger
from dolma.runner.progress import advance
from dolma.runner.task import Task, TaskResult
from dolma.taggers.compiling import characters_of
from dolma.taggers.limits import Limits, counts_of, first_of, measure, select
from dolma.taggers.needs import FieldCounts
from dolma.taggers.profile import READING, WRITING, Stopwatch
from dolma.taggers.registry import check_unchanged, is_built_in, tagger_of_process
from dolma.taggers.tagger import ERROR, Tagger, outputs_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TagWork:
    """Measures one piece of a shard with all taggers in one pass. Called with (piece, place of the rows by tagger)."""

    specs: tuple[TaggerSpec, ...]
    reading: Reading
    config: TagConfig
    work_folder: str
    identities: tuple[dict[str, Any], ...]

    def __call__(self, spec: tuple[Piece, tuple[Place, ...]]) -> TaskResult:
        piece, places = spec
        taggers = self._taggers()
        intake, ledger, watch = Intake(), Ledger(), Stopwatch()
        with ExitStack() as stack:
            writers = [
                stack.enter_context(self._writer(tagger, tagger_spec, piece, place))
                for tagger, tagger_spec, place in zip(taggers, self.specs, places, strict=True)
            ]
            counts = FieldCounts(taggers)
            # What has no id is named after its file as the sets call it, whichever pattern matched it.
            named = replace(piece, shard=replace(piece.shard, name=places[0].name))
            batches = read_batches(named, self.reading, intake=intake, metadata=counts.any)
            for batch in watch.each(batches, READING):
                with watch.timed(READING):
                    counts.count(batch, ledger)
                self._measure(batch, taggers, writers, ledger, watch)
                advance(documents=len(batch), bytes=len(batch.utf8))
            with watch.timed(WRITING):
                stack.close()
        self._taggers()
        ledger.fail(piece.shard.source, intake)
        watch.documents, watch.bytes = intake.documents, intake.bytes
        return TaskResult(
            outputs=[
                output_file(place.folder if piece.parts == 1 else self.work_folder, writer.written, rows=writer.rows)
                for writer, place in zip(writers, places, strict=True)
            ],
            ledger=ledger,
            payload=watch.payload(),
        )

    @property
    def foreign(self) -> bool:
        """Whether one of the taggers is code of the user's."""
        return not all(map(is_built_in, self.specs))

    def _taggers(self) -> list[Tagger]:
        """The taggers of this process; DataError where their models and lists are not those of the stage's start."""
        for spec, identity in zip(self.specs, self.identities, strict=True):
            check_unchanged(spec, identity)
        return [tagger_of_process(spec) for spec in self.specs]

    def path(self, tagger: str, piece: Piece, place: Place) -> str:
        """Where this piece's rows of this tagger go: the attribute file, or a part of it to be joined."""
        target = place.path(self.config.attributes_format)
        if piece.parts == 1:
            return target
        compression = os.path.splitext(target)[1] if streams.compression_of(target) else ""
        suffix = ".parquet" if is_native(target) else f".jsonl{compression}"
        return streams.join(self.work_folder, tagger, piece.key + suffix)

    def _writer(self, tagger: Tagger, spec: TaggerSpec, piece: Piece, place: Place) -> AttributeWriter:
        return AttributeWriter(
            self.path(tagger.name, piece, place),
            outputs_of(tagger),
            tagger=tagger.name,
            version=tagger.version,
            parameters=spec.options,
            format=self.config.attributes_format,
            experiment=self.config.experiment,
        )

    def _measure(
        self,
        batch: TextBatch,
        taggers: Sequence[Tagger],
        writers: Sequence[AttributeWriter],
        ledger: Ledger,
        watch: Stopwatch,
    ) -> None:
        characters = characters_of(batch).tolist() if self.config.attributes_format == "dolma1" else None
        limits = Limits.of(self.config)
        rows = limits.within(batch)
        within = None if rows is None else select(batch, rows)
        seen = batch if within is None else within
        for tagger, writer in zip(taggers, writers, strict=True):
            views = sum(seen.view_seconds.values())
            began = time.perf_counter()
            columns = measure(tagger, batch, limits, within=within)
            took = time.perf_counter() - began
            watch.add(f"tagger {tagger.name}", took - (sum(seen.view_seconds.values()) - views))
            with watch.timed(WRITING):
                writer.write(batch.ids, columns, characters=characters, sources=batch.sources)
            first = first_of(columns[ERROR], batch)
            for kind, n in counts_of(columns[ERROR]).items():
                ledger.err(f"{tagger.name}: {kind}", n, first=first[kind])
        for name, seconds in seen.view_seconds.items():
            watch.add(f"view {name}", seconds)
        ledger.pass_on(batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWork:
    """Makes one attribute file of the parts of a long shard. Called with (its pieces, place of the rows by tagger)."""

    tag: TagWork

    def __call__(self, spec: tuple[tuple[Piece, ...], tuple[Place, ...]]) -> TaskResult:
        parts, places = spec
        outputs = []
        for tagger_spec, place in zip(self.tag.specs, places, strict=True):
            name = tagger_of_process(tagger_spec).name
            paths = [self.tag.path(name, piece, place) for piece in parts]
            written, rows = concatenate_attributes(paths, place.path(self.tag.config.attributes_format))
            outputs.append(output_file(place.folder, written, rows=rows))
        return TaskResult(outputs=outputs)


def join_tasks(parts: Sequence[Piece], places: Mapping[str, tuple[Place, ...]]) -> list[Task]:
    by_shard: dict[str, list[Piece]] = {}
    for piece in parts:
        if piece.parts > 1:
            by_shard.setdefault(piece.shard.name, []).append(piece)
    return [
        Task(key=name, size=group[0].shard.size, spec=(tuple(group), places[name]), file=group[0].shard.path)
        for name, group in by_shard.items()
    ]
