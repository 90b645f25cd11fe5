"""`dolma dedupe`: documents in, an attribute that says which are copies out. What is a copy is for a method to say.

A method reads the documents in phases of its own and leaves, in the work folder, a row for each document and marks for
those that have copies. The last phase, `write`, makes an attribute file for each shard of them. The answer depends on
the corpus and the settings alone, whatever the number of workers; memory is bounded by `RunOptions.max_memory`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma.data import streams
from dolma.data.attributes import AttributeWriter
from dolma.data.columns import Output
from dolma.data.dataset import AttributesFormat, Dataset, Place, Shard, pieces
from dolma.data.documents import Reading
from dolma.data.exchange import MEMORY, Partition, RunFile, Table, read_sorted
from dolma.data.manifest import REFERENCES, FileSet, InputFile, Manifest, OutputFile, fingerprint, output_file
from dolma.data.places import document_of, name_below, names_of
from dolma.dedupers.bloom import Bloom
from dolma.dedupers.clusters import first_place
from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.decontaminate import Decontaminate
from dolma.dedupers.exact import Exact
from dolma.dedupers.growth import Growth
from dolma.dedupers.index import linked
from dolma.dedupers.measured import Measured, check_vectors
from dolma.dedupers.method import Found, Job, Method, Tables
from dolma.dedupers.minhash import MinHash
from dolma.dedupers.notes import Contamination, Copies, DedupeNotes, by_source
from dolma.dedupers.semantic import Semantic
from dolma.dedupers.substring import Substring
from dolma.dedupers.windows import Windows
from dolma.errors import ConfigError
from dolma.printable import printable
from dolma.runner import attribute_sets
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger, merged
from dolma.runner.merging import partitioned
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter
from dolma.runner.report import BESIDE, StageReport
from dolma.runner.stage import StageRun, check_settings, merged_of, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult


def _exact(config: DedupeConfig) -> Method:
    """Equal documents; equal paragraphs are windows of one."""
    return Windows.of(config) if config.by == "paragraphs" else Exact.of(config)


METHODS: dict[str, Callable[[DedupeConfig], Method]] = {
    "exact": _exact,
    "bloom": Bloom.of,
    "minhash": MinHash.of,
    "windows": Windows.of,
    "substring": Substring.of,
    "decontaminate": Decontaminate.of,
    "semantic": Semantic.of,
}
_KERNELS: Mapping[str, Sequence[dict[str, Any]]] = {
    "exact": [{"normalize": ["lower", "spaces", "punctuation", "digits", "accents"]}, {"by": "paragraphs"}],
    "bloom": [{"by": "both", "word_ngrams": 2}],
    "minhash": [{"threshold": 0.05}, {"threshold": 0.05, "character_ngrams": 5}],
    "windows": [{"by": "sentences"}],
    "substring": [{}, {"min_bytes": 40}],
    "decontaminate": [{"items": ["items.jsonl"]}],
    "semantic": [{"by": "embedding.vector"}],
}
"""Settings by which a method calls all of its kernels, where those without any do not."""
_ROWS_PER_WRITE = 1 << 16


def method_of(config: DedupeConfig) -> Method:
    """The method that the config names.

    Raises:
        ConfigError: it cannot be run like this.
    """
    return METHODS[config.method](config)


def all_kernels() -> list[dict[str, Any]]:
    """Sections of a recipe that need the kernels of all methods."""
    return [
        {"name": f"{method}_{i}", "method": method, **settings}
        for method in METHODS
        for i, settings in enumerate(_KERNELS.get(method, [{}]))
    ]


def dedupe(
    dataset: Dataset,
    config: DedupeConfig,
    *,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> StageReport[DedupeNotes]:
    """Write the attribute `config.name` beside the documents; the report says what was done.

    Raises:
        ConfigError: the config cannot be run like this, or no documents match.
        DataError: no record has a value at the field `config.by`.
    """
    reading, method, options = reading or Reading(), method_of(config), options or RunOptions()
    shards, places = _named(dataset, config)
    references = _references(dataset, config, shards)
    growth = _growth(config, method, reading, places, options)
    shards, places = growth.placed(dataset, shards, places)
    inputs = Inputs(dataset.home(shards), options=options, reporter=reporter)
    if not growth.replaces:
        settings = _file_sets(config, method, reading, places, [], growth)
        check_settings(settings, options)
        if options.overwrite:
            attribute_sets.refuse_losing(settings, zip(shards, places, strict=True))
            _refuse_losing_read(settings, config.reuse or config.reference_filter or config.since)
    contents = inputs.shards([*references, *shards])
    references, shards = contents[: len(references)], contents[len(references) :]
    measured = Measured.of(dataset, config, inputs, references, shards)
    new = [growth.is_new(shard) for shard in shards]
    corpus = Corpus(
        shards=list(itertools.compress(shards, new)),
        places=list(itertools.compress(places, new)),
        references=list(filter(growth.is_new, references)),
        growth=growth,
        measured=measured,
    )
    called = {"name": config.name, "folder": dataset.attributes or BESIDE}
    if growth.replaces and not corpus.shards:
        return growth.unchanged(options, called)
    sets = _file_sets(config, method, reading, places, corpus.inputs, growth)
    growth.clear(sets)
    report = None
    with open_stage(sets, options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        report = _run(stage, corpus, config, method, reading, called)
    return growth.put_in_place(stage.noted(DedupeNotes, **called) if report is None else report)


def _run(
    stage: StageRun, corpus: Corpus, config: DedupeConfig, method: Method, reading: Reading, called: Mapping[str, Any]
) -> StageReport[DedupeNotes]:
    growth, held = corpus.growth, corpus.growth.held
    first = [piece for shard in corpus.references for piece in pieces(shard)]
    parts = [piece for shard in corpus.shards for piece in pieces(shard)]
    job = Job(
        parts=[*first, *parts],
        n_references=len(first),
        reading=reading,
        memory=stage.options.max_memory or MEMORY,
        held=held,
        index=stage.sets[0].folder if growth.keeps else "",
        measured=corpus.measured.files,
    )
    found = method.find(stage, job)
    writing = WriteShard(
        name=config.name,
        format=config.attributes_format,
        outputs=method.outputs,
        parameters=method.parameters,
        version=method.version,
        tables=found.tables,
    )
    old, new = _write_tasks(stage, corpus, job, config, found)
    rewriting = RewriteShard(writing=writing, work=stage.work_folder, table=found.table)
    rewritten = stage.run("rewrite", old, rewriting)
    written = stage.run("write", new, writing)
    reported = _report(stage, found, new, config.attributes_format)
    ledger, compared = merged_of(found.counted), merged_of(found.references)
    if held is not None:
        ledger, compared = merged([held.index.ledger, ledger]), merged([held.index.references, compared])
    copies = [result.payload["copies"] for result in (*rewritten, *written)]
    kept = growth.keep(stage, job, found, (ledger, compared), copies, [path for _, path, *_ in _specs(new)])
    sources, overlaps = by_source(copies)
    notes = DedupeNotes(
        unit=found.unit or _unit_of(method.outputs),
        documents=ledger.total().out.documents,
        duplicates=sum(source.duplicates for source in sources),
        without_key=found.without_key + (held.index.without_key if held is not None else 0),
        sources=sources,
        overlaps=overlaps,
        near=found.near,
        references=compared.total().out.documents,
        references_failed=compared.total().failed,
        without_documents=_without_documents(config, ledger, compared),
        bloom=found.bloom,
        contamination=msgspec.convert(reported[0].payload, Contamination) if reported else None,
        growth=growth.notes(rewritten),
    )
    results = [TaskResult(ledger=ledger), *found.made, *rewritten, *written, *reported, *kept]
    report = stage.finish(results, notes=msgspec.to_builtins(notes))
    warnings = list(notes.warnings(config.max_removal, never=_never(config)))
    return report.detailed(notes, remarks=list(notes.remarks()), warnings=warnings, **called)


def declares(config: DedupeConfig) -> dict[str, Mapping[str, Output]]:
    """The outputs that this dedupe writes, by name, under that of its set."""
    return {config.name: method_of(config).outputs}


def check(config: DedupeConfig, *, declared: Mapping[str, Mapping[str, Output]]) -> None:
    """Return when the vectors that it compares are among these outputs, by set, or are none of the recipe's."""
    name = config.measured.partition(".")[0]
    if name in declared:
        check_vectors(declared[name], config.measured)


def sets(config: DedupeConfig) -> list[str]:
    """The set that this dedupe writes."""
    return [config.name]


def plan(dataset: Dataset, config: DedupeConfig, *, reading: Reading | None = None) -> Iterator[dict[str, Any]]:
    """What `dedupe` would write, one row per output file; reads no document.

    Files that an index holds, by their names, are left out: which of theirs are written again is known later.
    """
    reading, method = reading or Reading(), method_of(config)
    measured = [config.measured] if config.measured else []
    columns = [reading.text, reading.id, reading.source, *method.reads, *measured]
    shards, places = _named(dataset, config)
    _references(dataset, config, shards)
    growth = _growth(config, method, reading, places, RunOptions())
    held = {file.name for file in growth.inputs}
    for shard, place in zip(*growth.placed(dataset, shards, places), strict=True):
        if shard.name in held:
            continue
        yield {
            "name": config.name,
            "input": shard.path,
            "bytes": shard.size,
            "columns": ", ".join(columns),
            "output": replace(place, folder=growth.folder or place.folder).path(config.attributes_format),
            "holds": list(method.outputs),
        }


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The documents that a run reads: new ones, where their rows go, and references; `growth` has the old ones."""

    shards: list[Shard]
    places: list[Place]
    references: list[Shard]
    growth: Growth
    measured: Measured

    @property
    def inputs(self) -> list[InputFile]:
        """All files, old ones first."""
        read = [*self.shards, *self.references]
        return [*self.growth.inputs, *(shard.input for shard in read), *self.measured.inputs(read)]


_ToWrite = tuple[str, str, dict[int, RunFile], Partition]


# --- write -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteShard:
    """Writes the attribute file of a shard. Called with (folder of the file set, path in it, rows, marks).

    `rows` are the files of its pieces by their numbers, in order; `tables` makes of them, and of the marks, tables with
    the columns `id`, `source`, `characters` and those of `outputs`.
    """

    name: str
    format: AttributesFormat
    outputs: Mapping[str, Output]
    parameters: Mapping[str, Any]
    version: int
    tables: Tables

    def __call__(self, shard: _ToWrite) -> TaskResult:
        folder, path, rows, marks = shard
        copies = Copies()
        with AttributeWriter(
            streams.join(folder, path),
            self.outputs,
            tagger=self.name,
            version=self.version,
            parameters=self.parameters,
            format=self.format,
        ) as writer:
            for table in _even(self.tables(rows, marks)):
                columns = {name: table[name].combine_chunks() for name in self.outputs}
                writer.write(table["id"].to_pylist(), columns, characters=table["characters"].to_pylist())
                count_copies(table, copies)
        written = output_file(folder, writer.written, rows=writer.rows)
        return TaskResult(outputs=[written], payload={"copies": copies.payload()})


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteShard:
    """Writes the attribute file of an old shard again where rows of it change, and else links it.

    Called with what is to be written, the file in the old set, and what was counted of it. The payload says by `again`
    whether it was written.
    """

    writing: WriteShard
    work: str
    table: Table

    def __call__(self, spec: tuple[_ToWrite, OutputFile, dict[str, Any]]) -> TaskResult:
        to_write, out, copies = spec
        folder, _, _, marks = to_write
        if self._grow(marks):
            written = self.writing(to_write)
            return msgspec.structs.replace(written, payload={**written.payload, "again": True})
        return TaskResult(outputs=[linked(out, folder)], payload={"copies": copies, "again": False})

    def _grow(self, marks: Partition) -> bool:
        if "grown" not in self.table.schema.names:
            return False
        return any(pc.any(batch["grown"]).as_py() for batch in read_sorted(self.table, self.work, marks))


def _unit_of(names: Iterable[str]) -> str:
    """What is counted where these are the outputs."""
    return next((unit for unit in ("paragraphs", "sentences", "characters") if f"n_{unit}" in names), "documents")


def count_copies(table: pa.Table, copies: Copies) -> None:
    """Count documents, or parts of them, and duplicates of a table that is written."""
    if "n_duplicates" in table.column_names:
        unit = _unit_of(table.column_names)
        for source, seen, duplicates in _sums(table, ["source"], [f"n_{unit}", "n_duplicates"]):
            copies.seen[source] += seen
            copies.duplicates[source] += duplicates
        return
    alone = pc.is_null(table["cluster"]) if "cluster" in table.column_names else pc.invert(table["duplicate"])
    table = table.append_column("alone", alone).append_column("seen", pa.array(np.ones(len(table), np.int64)))
    by = ["source", "duplicate", "alone", *(["kept_source"] if "kept_source" in table.column_names else [])]
    for source, duplicate, is_alone, *kept, n, n_bytes in _sums(table, by, ["seen", "bytes"]):
        copies.seen[source] += n
        copies.bytes[source] += n_bytes
        if is_alone:
            copies.unique[source] += n
        if duplicate:
            copies.duplicates[source] += n
            copies.duplicate_bytes[source] += n_bytes
            if kept and kept[0] is not None:
                copies.overlaps[source, kept[0]] += n


def _sums(table: pa.Table, by: list[str], columns: list[str]) -> Iterable[tuple[Any, ...]]:
    """The values of `by`, each once, with the sums of these columns."""
    sums = table.group_by(by, use_threads=False).aggregate([(name, "sum") for name in columns])
    return zip(*(sums[name].to_pylist() for name in (*by, *(f"{name}_sum" for name in columns))), strict=True)


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut alike wherever the chunks were: how a shard was read leaves no trace in its file."""
    held: pa.Table | None = None
    for table in tables:
        held = table if held is None else pa.concat_tables([held, table])
        while len(held) >= _ROWS_PER_WRITE:
            yield held.slice(0, _ROWS_PER_WRITE)
            held = held.slice(_ROWS_PER_WRITE)
    if held is not None and len(held):
        yield held


def _report(stage: StageRun, found: Found, written: Sequence[Task], format: AttributesFormat) -> list[TaskResult]:
    if found.report is None:
        return []
    shards = [(folder, document_of(path, format), marks) for folder, path, _, marks in _specs(written)]
    key = fingerprint([marks.fingerprint for _, _, marks in shards])
    size = sum(marks.n_bytes for _, _, marks in shards)
    return stage.run("report", [Task(key=key, size=size, spec=shards)], found.report)


def _write_tasks(
    stage: StageRun, corpus: Corpus, job: Job, config: DedupeConfig, found: Found
) -> tuple[list[Task], list[Task]]:
    """Those of old shards, and those of new ones."""
    shards, old, held = corpus.shards, corpus.growth.old(), corpus.growth.held
    files: dict[str, dict[int, RunFile]] = {shard.name: {} for shard in shards}
    own = enumerate(job.parts[job.n_references :], job.first + job.n_references)
    for (index, piece), file in zip(own, found.rows, strict=True):
        files[piece.shard.name][index] = file
    first_pieces = [held.first_pieces[i] for i, *_ in old] if held is not None else []
    first_pieces += [min(files[shard.name]) for shard in shards] + [job.first + len(job.parts)]
    marked = partitioned(stage, found.table, found.marks, list(map(first_place, first_pieces)), memory=job.memory)
    folder, of_old, of_new = stage.sets[0].folder, [], []
    for (i, held_file, out), part in zip(old, marked, strict=False):
        assert held is not None
        spec = (folder, out.path, held.rows(i), part), out, held_file.copies
        of_old.append(Task(key=out.path, size=out.bytes, spec=spec, file=streams.join(folder, out.path)))
    for shard, place, part in zip(shards, corpus.places, marked[len(old) :], strict=True):
        to_write: _ToWrite = place.folder, place.below(config.attributes_format), files[shard.name], part
        of_new.append(Task(key=shard.name, size=shard.size, spec=to_write, file=shard.path))
    return of_old, of_new


def _specs(tasks: Iterable[Task]) -> Iterator[_ToWrite]:
    return (task.spec for task in tasks)


# --- what the stage is -----------------------------------------------------------------------------------------------


def made_again(dataset: Dataset, config: DedupeConfig, *, reading: Reading) -> dict[str, str]:
    """Why this stage would replace what it has finished; empty where it would not. Reads no document."""
    if config.since:  # a set that goes on from another one replaces nothing
        return {}
    shards, places = _named(dataset, config)
    sizes = {shard.name: shard.size for shard in (*shards, *_references(dataset, config, shards))}
    method = method_of(config)
    growth = _growth(config, method, reading, places, RunOptions())
    made = _file_sets(config, method, reading, places, [], growth)
    return next(({config.name: why} for file_set in made if (why := why_again(file_set, sizes=sizes))), {})


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and its files does not fit."""
    made = manifest.config
    return attribute_sets.contradictions(
        folder, manifest, ledger, options=lambda given: {key: made.get(key) for key in given}
    )


def _settings(config: DedupeConfig, method: Method, reading: Reading) -> dict[str, Any]:
    return {
        **method.parameters,
        "version": method.version,
        "attributes_format": config.attributes_format,
        "outputs": {name: output.declared for name, output in method.outputs.items()},
        **reading.identity,
    }


def _growth(
    config: DedupeConfig, method: Method, reading: Reading, places: Sequence[Place], options: RunOptions
) -> Growth:
    return Growth.of(config, {"name": config.name, **_settings(config, method, reading)}, places, options)


def _file_sets(
    config: DedupeConfig,
    method: Method,
    reading: Reading,
    places: Sequence[Place],
    inputs: Sequence[InputFile],
    growth: Growth,
) -> list[FileSet]:
    """One per attributes folder. Each depends on every input: a copy may be anywhere."""
    remedy = (
        "each of its rows depends on all of its documents: `--overwrite` makes it for these documents, if those of its "
        "others are gone; or give this one a `--name` of its own"
    )
    return [
        FileSet(
            folder=folder,
            stage="dedupe",
            name=config.name,
            config={**_settings(config, method, reading), **growth.config},
            inputs=list(inputs),
            root=places[0].root,
            remedy=remedy,
        )
        for folder in sorted({place.folder for place in places})
    ]


def _named(dataset: Dataset, config: DedupeConfig) -> tuple[list[Shard], list[Place]]:
    """The shards, each called as the attribute set calls it, and where their rows go.

    Names depend on which documents there are, and not on the patterns: beside documents, they are paths below the
    folder that all of them have in common.
    """
    shards = dataset.shards()
    places = replace(dataset, further=()).places(config.name, shards)
    by_place = bool(config.index or config.since or places[0].root)
    called = [
        replace(shard, name=place.name if by_place else name)
        for shard, place, name in zip(shards, places, _names(shards), strict=True)
    ]
    return called, places


def _names(shards: Sequence[Shard]) -> list[str]:
    """The paths of these shards below the folder that all have in common."""
    paths = [names_of(shard.path) for shard in shards]
    levels = zip(*(names[:-1] for names in paths), strict=False)
    common = tuple(level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
    return [name_below(names, common) for names in paths]


def _references(dataset: Dataset, config: DedupeConfig, shards: Sequence[Shard]) -> list[Shard]:
    """The shards of documents that these are compared with and that are never marked; called as no other input is.

    Raises:
        ConfigError: a pattern matches nothing, or documents of the corpus.
    """
    if not config.reference:
        return []
    found = Dataset(documents=tuple(config.reference), outputs=dataset.outputs).shards()
    own = {streams.real_path(shard.path) for shard in shards}
    if both := [shard.path for shard in found if streams.real_path(shard.path) in own]:
        raise ConfigError(
            f"{printable(both[0])} is one of the documents, too\n"
            "  a reference is never marked: leave it out of `documents`, or of `reference`",
            path="$.dedupe.reference",
        )
    return [replace(shard, name=REFERENCES + name) for shard, name in zip(found, _names(found), strict=True)]


def _without_documents(config: DedupeConfig, *ledgers: Ledger) -> list[str]:
    """The sources of `priority` of which there is no document."""
    there = {source for ledger in ledgers for source in ledger.accounts}
    return [source for source in config.priority or () if source not in there]


def _never(config: DedupeConfig) -> str | None:
    """The source that can have no duplicates, if there is one: across sources, the one that comes before all others."""
    if config.scope != "across-sources" or not config.priority or config.reference:
        return None
    return config.priority[0]


def _refuse_losing_read(sets: Sequence[FileSet], path: str | None) -> None:
    if path is not None and any(streams.is_below(path, file_set.folder) for file_set in sets):
        raise ConfigError(
            f"{printable(path)} is of the set that `--overwrite` would remove\n  give the new set a `--name` of its own"
        )
