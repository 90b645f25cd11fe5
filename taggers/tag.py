"""`dolma tag`: documents in, one attribute file per tagger and shard out, a row per document in the same order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from dolma.config import TagConfig, TaggerSpec
from dolma.data.dataset import Dataset, Place, Shard
from dolma.data.documents import Reading
from dolma.data.manifest import FileSet, InputFile, Manifest, differences
from dolma.data.outputs import Output
from dolma.errors import ConfigError, UnmeasuredError
from dolma.printable import counted, printable
from dolma.runner import attribute_sets
from dolma.runner.executors import Executor, executor_for
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.separate import same_settings
from dolma.runner.stage import StageRun, check_settings, left_to_make, merged_of, open_stage
from dolma.runner.standing import finished, standing, why_again
from dolma.runner.task import Task, TaskResult
from dolma.taggers.needs import Said, said_of_fields
from dolma.taggers.profile import Profile, profile_of
from dolma.taggers.registry import (
    declared_taggers,
    find,
    identity_of,
    is_built_in,
    normal,
)
from dolma.taggers.tagger import ERROR, SIZE_LIMIT, Declared, outputs_of


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
    taggers = declared_taggers(config.taggers)
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
    from dolma.taggers.compiling import compile_kernels
    from dolma.taggers.measuring import JoinWork, TagWork, join_tasks

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
    joins = join_tasks(parts, places)
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
    tagger: Declared
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
    for spec, tagger in zip(map(normal, config.taggers), declared_taggers(config.taggers), strict=True):
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
    return {tagger.name: outputs_of(tagger) for tagger in declared_taggers(config.taggers)}


def sets(config: TagConfig) -> list[str]:
    """The sets that these taggers write, but those of taggers in files, which say themselves what they are called."""
    specs = [(spec, spec) if isinstance(spec, str) else (spec.name or spec.use, spec.use) for spec in config.taggers]
    return [name for name, use in specs if name != use or use.isidentifier()]


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and its files does not fit."""
    pair = len(manifest.outputs), len(manifest.inputs)
    yield from differences("its list of inputs", **{"number of files": pair})
    yield from attribute_sets.contradictions(folder, manifest, ledger, options=lambda _: manifest.config["options"])


def _file_set(folder: str, config: TagConfig, spec: TaggerSpec, tagger: Declared, reading: Reading) -> FileSet:
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
    tagger: Declared,
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


def plan(dataset: Dataset, config: TagConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `tag` would write, one row per output file; reads no document."""
    reading = reading or Reading()
    for tagger in declared_taggers(config.taggers):
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
