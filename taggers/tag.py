"""`dolma tag`: documents in, one attribute file per tagger and shard out, a row per document in the same order."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from dolma.config import TagConfig, TaggerSpec
from dolma.data import streams
from dolma.data.attributes import AttributeWriter, concatenate_attributes
from dolma.data.batch import TextBatch
from dolma.data.dataset import Dataset, Piece, Shard, identified, is_native
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import FileSet, InputFile, OutputFile
from dolma.errors import UnmeasuredError
from dolma.printable import printable
from dolma.runner.executors import Executor, executor_for
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter, advance
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.stage import left_to_make, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult
from dolma.taggers.compiling import characters_of, compile_kernels
from dolma.taggers.limits import ERROR, SIZE_LIMIT, Limits, counts_of, first_of, measure, outputs_of, select
from dolma.taggers.needs import FieldCounts, Said, said_of_fields
from dolma.taggers.profile import READING, WRITING, Profile, Stopwatch, profile_of
from dolma.taggers.registry import (
    check_unchanged,
    find,
    identity_of,
    is_built_in,
    make_taggers,
    normal,
    tagger_of_process,
)
from dolma.taggers.tagger import Tagger


def tag(
    dataset: Dataset,
    config: TagConfig,
    *,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> StageReport[TagDetails]:
    """Measure every document. Taggers whose attributes are there already are not run again.

    Raises:
        ConfigError: an unknown tagger, nothing to read, or outputs of another configuration in the way.
        DataError: a file or, unless `reading.on_error` says otherwise, a record cannot be used.
    """
    reading = reading or Reading()
    specs = [normal(spec) for spec in config.taggers]
    shards = dataset.shards()
    with ExitStack() as leaving:
        executor = _started(dataset, shards, specs, options or RunOptions(), reporter or NullReporter())
        if executor is not None:
            leaving.callback(executor.close)
        return _tag(dataset, shards, specs, config, reading, options=options, reporter=reporter, executor=executor)


def _started(
    dataset: Dataset, shards: list[Shard], specs: list[TaggerSpec], options: RunOptions, reporter: Reporter
) -> Executor | None:
    """Workers that import taggers while this process does too, if it seems that there is work for them.

    Seems: what is left to do is only known when taggers are made, which takes as long as the workers' imports. Where
    there are no attributes yet, all is left.
    """
    folders = [dataset.attribute_folder(spec.name or spec.use, shard) for spec in specs for shard in shards[:1]]
    if options.executor != "local" or any(map(os.path.isdir, folders)):
        return None
    executor = executor_for(options, note=reporter.note)
    tasks = [Task(key=shard.name, size=shard.size, spec=None) for shard in shards]
    executor.start(tasks, _Imports(specs=tuple(specs)))
    return executor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Imports:
    """Imports the built-in taggers, and calls none: kernels may not be compiled yet."""

    specs: tuple[TaggerSpec, ...]

    def __call__(self) -> None:
        for spec in self.specs:
            if is_built_in(spec):
                find(spec.use)


def _tag(
    dataset: Dataset,
    shards: list[Shard],
    specs: list[TaggerSpec],
    config: TagConfig,
    reading: Reading,
    *,
    options: RunOptions | None,
    reporter: Reporter | None,
    executor: Executor | None,
) -> StageReport[TagDetails]:
    taggers = make_taggers(config.taggers)
    shards = identified(shards)
    plans = [
        _Plan(spec, tagger, _file_sets(dataset, shards, config, spec, tagger, reading))
        for spec, tagger in zip(specs, taggers, strict=True)
    ]
    left = left_to_make([plan.sets for plan in plans])
    todo = [plans[i] for i in left]
    reports = [_report_of(plan, options) for i, plan in enumerate(plans) if i not in left]
    said = partial(said_of_fields, taggers, shards=shards, reading=reading)
    joined_of = partial(_joined, said=said, folder=dataset.attributes or BESIDE)
    if not todo:
        return joined_of(reports)
    sets = [file_set for plan in todo for file_set in plan.sets]
    with open_stage(sets, options=options, reporter=reporter, executor=executor) as stage:
        stage.leave_if_complete()
        work = TagWork(
            dataset=dataset,
            specs=tuple(plan.spec for plan in todo),
            reading=reading,
            config=config,
            work_folder=stage.work_folder,
            identities=tuple(identity_of(plan.spec, plan.tagger) for plan in todo),
        )
        parts = dataset.pieces(shards)
        tasks = [Task(key=piece.key, size=piece.size, spec=piece, file=piece.shard.path) for piece in parts]
        compile_kernels(work.specs, stage.reporter)
        began = time.perf_counter()
        results = stage.run("measure", tasks, work)
        elapsed = time.perf_counter() - began
        joins = _join_tasks(parts)
        joined = stage.run("join", joins, JoinWork(tag=work)) if joins else []
        profile = profile_of([result.payload for result in results], elapsed=elapsed)
        return joined_of([*reports, stage.finish([*results, *joined])], profile=profile)
    return joined_of([*reports, stage.report()])


@dataclass(frozen=True, slots=True, kw_only=True)
class TagDetails:
    """Where the time of a tag run went; None when nothing was left to run."""

    profile: Profile | None = None


def check_measured(report: StageReport[Any], max_errors: int) -> None:
    """Return when taggers failed no more often than allowed. What a size limit left out was asked for.

    Raises:
        UnmeasuredError: says how often which of them did.
    """
    ledger = report.ledger
    unasked = {kind: n for kind, n in ledger.errors.items() if not kind.endswith(f": {SIZE_LIMIT}")}
    if (total := sum(unasked.values())) > max_errors:
        kinds = "".join(f"\n  {kind}: {n:,} documents{_first(ledger, kind)}" for kind, n in unasked.items())
        raise UnmeasuredError(
            f"taggers failed on {total:,} documents; at most {max_errors:,} may be{kinds}"
            f"\n  all else is done, and `error` beside the values says why; `--max-errors {total}` accepts this"
        )


def _first(ledger: Ledger, kind: str) -> str:
    first = ledger.first_errors.get(kind)
    return "" if first is None else f", first {printable(first.file)}:{first.line}: {printable(first.reason)}"


@dataclass(frozen=True, slots=True)
class _Plan:
    spec: TaggerSpec
    tagger: Tagger
    sets: list[FileSet]


def made_again(dataset: Dataset, config: TagConfig, *, reading: Reading) -> dict[str, str]:
    """The attribute sets that this stage has finished and would replace, and why; reads no document."""
    shards = dataset.shards()
    found: dict[str, str] = {}
    for spec, tagger in zip(map(normal, config.taggers), make_taggers(config.taggers), strict=True):
        homes: dict[str, dict[str, int]] = {}
        for shard in shards:
            homes.setdefault(dataset.attribute_folder(tagger.name, shard), {})[shard.name] = shard.size
        for folder, sizes_there in homes.items():
            settings = _settings(config, spec, tagger, reading)
            made = FileSet(folder=folder, stage="tag", name=tagger.name, config=settings, inputs=[])
            if why := why_again(made, sizes=sizes_there):
                found[tagger.name] = why
    return found


def _settings(config: TagConfig, spec: TaggerSpec, tagger: Tagger, reading: Reading) -> dict[str, Any]:
    return {
        **identity_of(spec, tagger),
        "version": tagger.version,
        "options": spec.options,
        "outputs": {name: _declared(output) for name, output in outputs_of(tagger).items()},
        "attributes_format": config.attributes_format,
        "experiment": config.experiment,
        "max_document_bytes": config.max_document_bytes,
        "max_seconds_per_document": config.max_seconds_per_document,
        "on_tagger_error": config.on_tagger_error,
        "fields": {"text": reading.text, "id": reading.id, "source": reading.source},
        "on_error": reading.on_error,
        "max_line_bytes": reading.max_line_bytes,
        "invalid_unicode": reading.invalid_unicode,
    }


def _file_sets(
    dataset: Dataset,
    shards: Sequence[Shard],
    config: TagConfig,
    spec: TaggerSpec,
    tagger: Tagger,
    reading: Reading,
) -> list[FileSet]:
    settings = _settings(config, spec, tagger, reading)
    homes: dict[str, list[InputFile]] = {}
    for shard in shards:
        homes.setdefault(dataset.attribute_folder(tagger.name, shard), []).append(shard.input)
    return [
        FileSet(folder=folder, stage="tag", name=tagger.name, config=settings, inputs=files)
        for folder, files in sorted(homes.items())
    ]


def _declared(output: Any) -> dict[str, str]:
    return {"kind": output.kind, "meaning": output.meaning, "unit": output.unit, "range": output.range}


def _report_of(plan: _Plan, options: RunOptions | None) -> StageReport[None]:
    with open_stage(plan.sets, options=options) as stage:
        pass
    return stage.report()


def _joined(
    reports: Sequence[StageReport[None]],
    *,
    said: Callable[[Ledger], Said],
    folder: str,
    profile: Profile | None = None,
) -> StageReport[TagDetails]:
    """One report for all taggers: each of them took in the same documents, so the last ledger stands for all."""
    made = [report for report in reports if not report.complete_before]
    ledger = (made or reports)[-1].ledger
    ledger.fields = {field: n for report in reports for field, n in report.ledger.fields.items()}
    remarks, gaps = said(ledger)
    unmeasured = [
        f"{kind}: {n:,} documents have no values; {kind.partition(':')[0]}.{ERROR} says why"
        for kind, n in ledger.errors.items()
    ]
    return StageReport(
        stage="tag",
        name="tag",
        folder=folder,
        complete_before=not made,
        ledger=ledger,
        manifests=[path for report in reports for path in report.manifests],
        outputs=sum(report.outputs for report in reports),
        bytes=sum(report.bytes for report in reports),
        remarks=remarks,
        warnings=[*unmeasured, *gaps],
        details=TagDetails(profile=profile),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TagWork:
    """Measures one piece of a shard with all taggers in one pass."""

    dataset: Dataset
    specs: tuple[TaggerSpec, ...]
    reading: Reading
    config: TagConfig
    work_folder: str
    identities: tuple[dict[str, Any], ...]

    def __call__(self, piece: Piece) -> TaskResult:
        taggers = self._taggers()
        intake, ledger, watch = Intake(), Ledger(), Stopwatch()
        with ExitStack() as stack:
            writers = [
                stack.enter_context(self._writer(tagger, spec, piece))
                for tagger, spec in zip(taggers, self.specs, strict=True)
            ]
            counts = FieldCounts(taggers)
            batches = read_batches(piece, self.reading, intake=intake, metadata=counts.any)
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
            outputs=[self._output(t, w, piece) for t, w in zip(taggers, writers, strict=True)],
            ledger=ledger,
            payload=watch.payload(),
        )

    def _taggers(self) -> list[Tagger]:
        """The taggers of this process; DataError where their models and lists are not those of the stage's start."""
        for spec, identity in zip(self.specs, self.identities, strict=True):
            check_unchanged(spec, identity)
        return [tagger_of_process(spec) for spec in self.specs]

    def path(self, tagger: str, piece: Piece) -> str:
        """Where this piece's rows of this tagger go: the attribute file, or a part of it to be joined."""
        target = self.dataset.attribute_path(tagger, piece.shard, self.config.attributes_format)
        if piece.parts == 1:
            return target
        compression = os.path.splitext(target)[1] if streams.compression_of(target) else ""
        suffix = ".parquet" if is_native(target) else f".jsonl{compression}"
        return streams.join(self.work_folder, tagger, piece.key + suffix)

    def _writer(self, tagger: Tagger, spec: TaggerSpec, piece: Piece) -> AttributeWriter:
        return AttributeWriter(
            self.path(tagger.name, piece),
            outputs_of(tagger),
            tagger=tagger.name,
            version=tagger.version,
            parameters=spec.options,
            format=self.config.attributes_format,
            experiment=self.config.experiment,
        )

    def _output(self, tagger: Tagger, writer: AttributeWriter, piece: Piece) -> OutputFile:
        assert writer.written is not None
        home = self.dataset.attribute_folder(tagger.name, piece.shard) if piece.parts == 1 else self.work_folder
        return output_file(home, writer.written, rows=writer.rows)

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
        _account(batch, ledger)


def _account(batch: TextBatch, ledger: Ledger) -> None:
    documents: Counter[str] = Counter(batch.sources)
    sizes: Counter[str] = Counter()
    if len(documents) == 1:
        sizes[batch.sources[0]] = len(batch.utf8)
    else:
        for source, size in zip(batch.sources, batch.n_bytes.tolist(), strict=True):
            sizes[source] += size
    for source, n in documents.items():
        ledger.take(source, documents=n, bytes=sizes[source])
        ledger.keep(source, documents=n, bytes=sizes[source])


def output_file(home: str, written: streams.Written, *, rows: int) -> OutputFile:
    """A finished file as an output of the file set at `home`."""
    below = written.path.removeprefix(home.rstrip("/") + "/")
    return OutputFile(set=home, path=below, bytes=written.bytes, checksum=written.checksum, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWork:
    """Makes one attribute file of the parts of a long shard."""

    tag: TagWork

    def __call__(self, parts: tuple[Piece, ...]) -> TaskResult:
        outputs = []
        for spec in self.tag.specs:
            tagger = tagger_of_process(spec)
            shard = parts[0].shard
            target = self.tag.dataset.attribute_path(tagger.name, shard, self.tag.config.attributes_format)
            written, rows = concatenate_attributes([self.tag.path(tagger.name, piece) for piece in parts], target)
            outputs.append(output_file(self.tag.dataset.attribute_folder(tagger.name, shard), written, rows=rows))
        return TaskResult(outputs=outputs)


def _join_tasks(parts: Sequence[Piece]) -> list[Task]:
    by_shard: dict[str, list[Piece]] = {}
    for piece in parts:
        if piece.parts > 1:
            by_shard.setdefault(piece.shard.name, []).append(piece)
    return [
        Task(key=name, size=group[0].shard.size, spec=tuple(group), file=group[0].shard.path)
        for name, group in by_shard.items()
    ]


def plan(dataset: Dataset, config: TagConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `tag` would write, one row per output file; reads no document."""
    reading = reading or Reading()
    for tagger in make_taggers(config.taggers):
        for shard in dataset.shards():
            yield {
                "tagger": tagger.name,
                "input": shard.path,
                "bytes": shard.size,
                "columns": f"{reading.text}, {reading.id}, {reading.source}",
                "output": dataset.attribute_path(tagger.name, shard, config.attributes_format),
                "holds": list(outputs_of(tagger)),
            }
