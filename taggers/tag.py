"""`dolma tag`: documents in, one attribute file per tagger and shard out, a row per document in the same order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from dolma.config import TagConfig, TaggerSpec
from dolma.data import streams
from dolma.data.attributes import AttributeWriter, concatenate_attributes
from dolma.data.batch import TextBatch
from dolma.data.columns import Output
from dolma.data.dataset import Dataset, Piece, Place, Shard, is_native
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.manifest import FileSet, InputFile, Manifest, differences, output_file
from dolma.errors import ConfigError, UnmeasuredError
from dolma.printable import counted, printable
from dolma.runner import attribute_sets
from dolma.runner.executors import Executor, executor_for
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter, advance
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.separate import same_settings
from dolma.runner.stage import StageRun, check_settings, left_to_make, merged_of, open_stage
from dolma.runner.standing import finished, standing, why_again
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
    inputs = Inputs(dataset.home(shards), options=options, reporter=reporter, executor=executor)
    settings = [
        _file_set(folder, config, spec, tagger, reading)
        for spec, tagger in zip(specs, taggers, strict=True)
        for folder in sorted({dataset.attribute_folder(tagger.name, shard) for shard in shards})
    ]
    check_settings(settings, options)
    shards = inputs.shards(shards)
    plans = [
        _plan_of(dataset, shards, config, spec, tagger, reading) for spec, tagger in zip(specs, taggers, strict=True)
    ]
    if options is not None and options.overwrite:
        for plan in plans:
            others = [one for one in plan.sets if not same_settings(finished(one.folder), one)]
            attribute_sets.refuse_losing(others, ((shard, plan.places[shard.name]) for shard in shards))
    said = partial(said_of_fields, taggers, shards=shards, reading=reading)
    lefts, reports, profile = [plan.left() for plan in plans], [], None
    complete = set(range(len(plans)))
    for left in sorted(set(lefts) - {()}):
        # With those that a killed run of all of them has finished already.
        mates = [i for i, of_plan in enumerate(lefts) if of_plan in (left, ())]
        chosen = [mates[i] for i in left_to_make([plans[i].sets for i in mates])]
        if not chosen:  # other shards have just finished
            continue
        complete -= set(chosen)
        to_measure = [shard for shard in shards if shard.name in dict(left)]
        some = [plans[i] for i in chosen]
        with open_stage(_sets_of(some), options=options, reporter=reporter, executor=executor, inputs=inputs) as stage:
            executor = None
            stage.leave_if_complete()
            report, profile = _measured(dataset, stage, some, to_measure, config, reading)
            reports.append(report)
            continue
        reports.append(stage.report())
    inputs.save()
    reports = [*(_report_of(plans[i], options) for i in sorted(complete)), *reports]
    return _joined(reports, said=said, folder=dataset.attributes or BESIDE, profile=profile)


def _sets_of(plans: Sequence[_Plan]) -> list[FileSet]:
    return [file_set for plan in plans for file_set in plan.sets]


def _measured(
    dataset: Dataset,
    stage: StageRun,
    plans: Sequence[_Plan],
    shards: Sequence[Shard],
    config: TagConfig,
    reading: Reading,
) -> tuple[StageReport[None], Profile | None]:
    """Measure these documents with these taggers, in one pass."""
    work = TagWork(
        specs=tuple(plan.spec for plan in plans),
        reading=reading,
        config=config,
        work_folder=stage.work_folder,
        identities=tuple(identity_of(plan.spec, plan.tagger) for plan in plans),
    )
    parts = dataset.pieces(shards)
    places = {shard.name: tuple(plan.places[shard.name] for plan in plans) for shard in shards}
    tasks = [
        Task(
            key=piece.key,
            size=piece.size,
            spec=(piece, places[piece.shard.name]),
            file=piece.shard.path,
            part=piece.words,
        )
        for piece in parts
    ]
    compile_kernels(work.specs, stage.reporter)
    began = time.perf_counter()
    results = stage.run("measure", tasks, work)
    elapsed = time.perf_counter() - began
    joins = _join_tasks(parts, places)
    joined = stage.run("join", joins, JoinWork(tag=work)) if joins else []
    by_shard: dict[str, list[TaskResult]] = {shard.name: [] for shard in shards}
    for name, result in zip(
        [*(piece.shard.name for piece in parts), *(task.key for task in joins)], [*results, *joined], strict=True
    ):
        by_shard[name].append(result)
    made = [
        TaskResult(
            outputs=[out for result in of_shard for out in result.outputs if out.set != stage.work_folder],
            ledger=merged_of(of_shard),
        )
        for of_shard in by_shard.values()
    ]
    return stage.finish(made), profile_of([result.payload for result in results], elapsed=elapsed)


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
        kinds = "".join(f"\n  {kind}: {counted(n, 'document')}{_first(ledger, kind)}" for kind, n in unasked.items())
        raise UnmeasuredError(
            f"taggers failed on {counted(total, 'document')}; at most {max_errors:,} may be{kinds}"
            f"\n  all else is done, and `error` beside the values says why; `--max-errors {total}` accepts this"
        )


def _first(ledger: Ledger, kind: str) -> str:
    first = ledger.first_errors.get(kind)
    return "" if first is None else f", first {printable(first.file)}:{first.line}: {printable(first.reason)}"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one tagger has to do: where the rows of each shard go, by its name, and the file sets of these places."""

    spec: TaggerSpec
    tagger: Tagger
    places: dict[str, Place]
    sets: list[FileSet]

    def left(self) -> tuple[tuple[str, str], ...]:
        """The shards that are to be measured, by name, and what the set calls them."""
        left = {(file_set.folder, name) for file_set in self.sets for name in standing(file_set).left}
        return tuple((shard, place.name) for shard, place in self.places.items() if (place.folder, place.name) in left)


def made_again(dataset: Dataset, config: TagConfig, *, reading: Reading) -> dict[str, str]:
    """The attribute sets that this stage has finished and would replace, and why; reads no document."""
    shards = dataset.shards()
    found: dict[str, str] = {}
    for spec, tagger in zip(map(normal, config.taggers), make_taggers(config.taggers), strict=True):
        homes: dict[str, dict[str, int]] = {}
        for shard, place in zip(shards, dataset.places(tagger.name, shards), strict=True):
            homes.setdefault(place.folder, {})[place.name] = shard.size
        for folder, sizes_there in homes.items():
            made = _file_set(folder, config, spec, tagger, reading)
            if why := why_again(made, sizes=sizes_there):
                found[tagger.name] = why
    return found


def declares(config: TagConfig) -> dict[str, Mapping[str, Output]]:
    """The outputs that these taggers write, by name, under that of their set."""
    return {tagger.name: outputs_of(tagger) for tagger in make_taggers(config.taggers)}


def sets(config: TagConfig) -> list[str]:
    """The sets that these taggers write, but those of taggers in files, which say themselves what they are called."""
    specs = [(spec, spec) if isinstance(spec, str) else (spec.name or spec.use, spec.use) for spec in config.taggers]
    return [name for name, use in specs if name != use or use.isidentifier()]


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and its files does not fit."""
    pair = len(manifest.outputs), len(manifest.inputs)
    yield from differences("its list of inputs", **{"number of files": pair})
    yield from attribute_sets.contradictions(folder, manifest, ledger, options=lambda _: manifest.config["options"])


def _file_set(folder: str, config: TagConfig, spec: TaggerSpec, tagger: Tagger, reading: Reading) -> FileSet:
    vector = next((name for name, output in outputs_of(tagger).items() if output.kind == "vector"), None)
    if vector is not None and config.attributes_format == "dolma1":
        raise ConfigError(
            f"{tagger.name}.{vector} is a vector, which attributes of Dolma 1.x cannot hold\n"
            "  leave `attributes_format` out, or this tagger"
        )
    settings = {
        **identity_of(spec, tagger),
        "version": tagger.version,
        "options": spec.options,
        "outputs": {name: output.declared for name, output in outputs_of(tagger).items()},
        "attributes_format": config.attributes_format,
        "experiment": config.experiment,
        "max_document_bytes": config.max_document_bytes,
        "max_seconds_per_document": config.max_seconds_per_document,
        "on_tagger_error": config.on_tagger_error,
        **reading.identity,
    }
    return FileSet(folder=folder, stage="tag", name=tagger.name, config=settings, inputs=[], separate=True)


def _plan_of(
    dataset: Dataset,
    shards: Sequence[Shard],
    config: TagConfig,
    spec: TaggerSpec,
    tagger: Tagger,
    reading: Reading,
) -> _Plan:
    places = dataset.places(tagger.name, shards)
    homes: dict[str, list[InputFile]] = {}
    for shard, place in zip(shards, places, strict=True):
        file = msgspec.structs.replace(shard.input, name=place.name)
        homes.setdefault(place.folder, []).append(file)
    sets = [
        msgspec.structs.replace(_file_set(folder, config, spec, tagger, reading), inputs=files, root=places[0].root)
        for folder, files in sorted(homes.items())
    ]
    return _Plan(spec, tagger, {shard.name: place for shard, place in zip(shards, places, strict=True)}, sets)


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
    for report in made:
        ledger.errors = report.ledger.errors | ledger.errors
        ledger.first_errors = report.ledger.first_errors | ledger.first_errors
    ledger.fields = {field: n for report in reports for field, n in report.ledger.fields.items()}
    remarks, gaps = said(ledger)
    unmeasured = [
        f"{kind}: no values for {counted(n, 'document')}; {kind.partition(':')[0]}.{ERROR} says why"
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


def _join_tasks(parts: Sequence[Piece], places: Mapping[str, tuple[Place, ...]]) -> list[Task]:
    by_shard: dict[str, list[Piece]] = {}
    for piece in parts:
        if piece.parts > 1:
            by_shard.setdefault(piece.shard.name, []).append(piece)
    return [
        Task(key=name, size=group[0].shard.size, spec=(tuple(group), places[name]), file=group[0].shard.path)
        for name, group in by_shard.items()
    ]


def plan(dataset: Dataset, config: TagConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `tag` would write, one row per output file; reads no document."""
    reading = reading or Reading()
    for tagger in make_taggers(config.taggers):
        shards = dataset.shards()
        for shard, place in zip(shards, dataset.places(tagger.name, shards), strict=True):
            yield {
                "tagger": tagger.name,
                "input": shard.path,
                "bytes": shard.size,
                "columns": f"{reading.text}, {reading.id}, {reading.source}",
                "output": place.path(config.attributes_format),
                "holds": list(outputs_of(tagger)),
            }
