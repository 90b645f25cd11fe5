"""`stat`: how much text each source has, and what its attributes are like.

Phases: count every piece (the only one that reads text), make Dolma 1.x attribute files readable by column, describe
every output over all shards, count token shards. Nothing is sampled or estimated, and memory does not grow with the
corpus.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import pyarrow.parquet as pq

from dolma.config import StatConfig
from dolma.data import streams
from dolma.data.aligned import RowFile, check_contiguous
from dolma.data.attributes import attribute_schema, read_attributes
from dolma.data.borders import BORDERS, AttributeBorders, borders_json
from dolma.data.columns import Output
from dolma.data.dataset import Dataset, Piece, Shard, is_native, pieces
from dolma.data.documents import Reading
from dolma.data.exchange import MEMORY, RunFile
from dolma.data.identity import Content
from dolma.data.json_text import decode_json
from dolma.data.manifest import FileSet, InputFile, input_file, output_file
from dolma.data.origins import check_origins
from dolma.errors import ConfigError, did_you_mean
from dolma.printable import counted, printable
from dolma.runner.compiling import compile_by_calling
from dolma.runner.inputs import Inputs
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter
from dolma.runner.report import StageReport
from dolma.runner.stage import StageRun, check_settings, open_stage
from dolma.runner.task import Task, TaskResult
from dolma.runner.together import together
from dolma.stats.borders import VALUES, FindBorders, Measured
from dolma.stats.counts import SOURCES, CountPieces, SourceCounts
from dolma.stats.describe import Column, ShardRows, describe, held
from dolma.stats.statistics import Counts, OutputSummary, Statistics, TokenCounts
from dolma.stats.tokens import CountTokens, by_source, from_ledger, row_files

_SUMMARIES = list[OutputSummary]
_LISTED = 3  # files
_TOGETHER_BYTES = 16 << 20
"""Bytes of attribute files, on disk, whose columns are described by one task."""
VERSION = 1
NAME = "stat.json"
CONVERTED = "converted"
"""The folder, below the work folder, of Dolma 1.x attribute files as parquet."""


def stat(
    dataset: Dataset,
    config: StatConfig,
    *,
    output: str | None = None,
    tokens: Sequence[str] = (),
    home: str | None = None,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> StageReport[Statistics]:
    """Count the documents and describe the attributes; `stat.json` and a manifest go to `output` if it is given.

    The shards of `config.tokens`, else of the one folder of `tokens`, are counted too. The report warns where the
    dataset names a folder of attributes that has none of the documents, unless it is that of a recipe's output `home`.

    Raises:
        ConfigError: no documents match, or an attribute set that is asked for is not there.
        DataError: a file cannot be read, or does not fit the documents.
        AlignmentError: attributes were made from another version of a document file.
    """
    reading, options = reading or Reading(), options or RunOptions()
    if config.borders and output is None:
        raise ConfigError(
            f"go to {BORDERS}, and there is no folder for it\n  give `--output DIR`", path="$.stat.borders"
        )
    if config.tokens is None and tokens:
        if len(tokens) > 1:
            raise ConfigError(f"{len(tokens)} folders, expected one", path="$.stat.tokens")
        config = msgspec.structs.replace(config, tokens=tokens[0])
    inputs = Inputs(output or "", options=options, reporter=reporter)
    subject = _subject(dataset, config, reading)
    if output is not None:
        check_settings([_file_set(subject, output, [])], options)
    subject = _identified(subject, inputs)
    check_origins(dataset, subject.measured())
    with ExitStack() as stack:
        if output is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dolma-stat-"))
            options = options.whole()
        file_set = _file_set(subject, output or folder, _inputs(subject))
        with open_stage([file_set], options=options, reporter=reporter, inputs=inputs) as stage:
            stage.leave_if_complete()
            _run(subject, stage, file_set.folder)
        found = decode_json(streams.read_bytes(streams.join(file_set.folder, NAME)), Statistics)
        is_usual = home is not None and dataset.attributes == streams.join(home, "attributes")
        wanted = config.attributes != [] and not subject.files and not is_usual
        lacking = list(_lacking(dataset, subject.shards)) if wanted else []
        report = stage.report().detailed(found, warnings=[*lacking, *subject.unmeasured()])
        return report if output is not None else replace(report, folder="", manifests=())


def plan(
    dataset: Dataset, config: StatConfig, *, output: str | None = None, reading: Reading | None = None
) -> Iterator[dict[str, Any]]:
    """What `stat` would read, one row per document file; reads no document."""
    reading = reading or Reading()
    subject = _subject(dataset, config, reading)
    for shard in subject.shards:
        yield {
            "input": shard.path,
            "bytes": shard.size,
            "columns": ", ".join((reading.text, reading.source)),
            "attributes": [name for name, files in subject.files.items() if shard.name in files],
            "output": streams.join(output, NAME) if output is not None else "",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is to be described: `files` has per attribute set the file of each shard that has one."""

    config: StatConfig
    reading: Reading
    shards: list[Shard]
    files: dict[str, dict[str, str]]
    tokens: list[str]
    contents: dict[str, Content]  # by path, of attribute files and rows of tokens, once they were hashed

    def measured(self) -> Iterator[tuple[str, Shard, str]]:
        """The set, the shard and the path of each attribute file."""
        for name, files in self.files.items():
            yield from ((name, shard, files[shard.name]) for shard in self.shards if shard.name in files)

    def unmeasured(self) -> Iterator[str]:
        """For each attribute set that not all shards have, a sentence about these."""
        for name, files in self.files.items():
            if without := [shard.path for shard in self.shards if shard.name not in files]:
                listed = ", ".join(map(printable, without[:_LISTED])) + (", ..." if len(without) > _LISTED else "")
                yield (
                    f"no attributes {name!r} for {len(without):,} of {counted(len(self.shards), 'document file')}, "
                    f"whose documents count as missing: {listed}"
                    "\n  run the command that made the attributes for these, too"
                )


def _subject(dataset: Dataset, config: StatConfig, reading: Reading) -> _Subject:
    shards = dataset.shards()
    files: dict[str, dict[str, str]] = {}
    for name in _names(dataset, shards, config):
        found = zip(shards, dataset.attribute_files(name, shards), strict=True)
        files[name] = {shard.name: path for shard, (_, path) in found if path is not None}
    tokens = [] if config.tokens is None else row_files(config.tokens)
    chosen = {name: paths for name, paths in files.items() if paths}
    return _Subject(config=config, reading=reading, shards=shards, files=chosen, tokens=tokens, contents={})


def _identified(subject: _Subject, inputs: Inputs) -> _Subject:
    paths = [path for files in subject.files.values() for path in files.values()] + subject.tokens
    return replace(subject, shards=inputs.shards(subject.shards), contents=inputs.contents(paths))


def _names(dataset: Dataset, shards: list[Shard], config: StatConfig) -> list[str]:
    if config.attributes == []:
        return []
    if config.attributes is None and dataset.attributes is None:
        shards = [shard for shard in shards if shard.inner]  # others have no place for attributes
    found = dataset.attribute_names(shards)
    for i, name in enumerate(config.attributes or []):
        if name not in found:
            hint = did_you_mean(name, found) if found else "there are none; run `dolma tag` first"
            raise ConfigError(f"no attributes called {name!r}\n  {hint}", path=f"$.stat.attributes[{i}]")
    return found if config.attributes is None else list(dict.fromkeys(config.attributes))


def _lacking(dataset: Dataset, shards: Sequence[Shard]) -> Iterator[str]:
    try:
        dataset.check_attributes(shards)
    except ConfigError as error:
        yield error.message


def _inputs(subject: _Subject) -> list[InputFile]:
    contents = subject.contents
    inputs = [shard.input for shard in subject.shards]
    for name, files in subject.files.items():
        inputs += [input_file(f"attributes/{name}/{shard}", contents[path]) for shard, path in files.items()]
    inputs += [input_file(f"tokens/{path.rpartition('/')[2]}", contents[path]) for path in subject.tokens]
    return inputs


def _file_set(subject: _Subject, folder: str, inputs: list[InputFile]) -> FileSet:
    reading = subject.reading
    config = {
        "version": VERSION,
        "attributes": list(subject.files),
        "bins": subject.config.bins,
        "quantiles": list(subject.config.quantiles),
        "borders": subject.config.borders,
        "borders_by": subject.config.borders_by,
        "tokens": bool(subject.tokens),
        **reading.identity,
    }
    return FileSet(folder=folder, stage="stat", name="stat", config=config, inputs=inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatistics:
    """Writes a file. Called with its name and what it holds."""

    folder: str

    def __call__(self, spec: tuple[str, bytes]) -> TaskResult:
        name, content = spec
        with streams.open_output(streams.join(self.folder, name)) as out:
            out.write(content)
        return TaskResult(outputs=[output_file(self.folder, out.written)])


def _run(subject: _Subject, stage: StageRun, folder: str) -> None:
    parts = [piece for shard in subject.shards for piece in pieces(shard)]
    compile_by_calling(stage.reporter, lambda batch: SourceCounts().add(batch))
    count = CountPieces(work=stage.work_folder, reading=subject.reading)
    results = stage.run("count", _count_tasks(parts, subject), count, reads=True)
    counted = [of_piece for result in results for of_piece in result.payload["pieces"]]
    check_contiguous(parts, counted)
    sources = sorted({source for of_piece in counted for source in of_piece["sources"]})
    rows = _rows(subject, parts, counted, sources, stage.work_folder)
    outputs = [output for name in subject.files for output in _outputs(stage, name, subject)]
    borders = _borders(subject, stage, rows, outputs)
    attributes = _describe(subject, stage, rows, sources, outputs)
    found = Statistics(
        sources=_sums(counted),
        total=_total(counted),
        tokens=_tokens(subject, stage, rows, sources),
        attributes=attributes,
    )
    contents = {NAME: found.to_json()} | ({BORDERS: borders_json(borders)} if borders else {})
    tasks = [Task(key=name, size=1, spec=(name, content)) for name, content in contents.items()]
    written = stage.run("write", tasks, WriteStatistics(folder=folder))
    stage.finish([*results, *written])


# --- documents -------------------------------------------------------------------------------------------------------


def _count_tasks(parts: Sequence[Piece], subject: _Subject) -> list[Task]:
    files: dict[str, list[RowFile]] = {shard.name: [] for shard in subject.shards}
    for paths in subject.files.values():
        for shard, path in paths.items():
            files[shard].append(RowFile(path=path, content=subject.contents.get(path)))
    return together(
        Task(
            key=piece.key,
            size=piece.size,
            spec=(i, piece, files[piece.shard.name]),
            file=piece.shard.path,
            part=piece.words,
        )
        for i, piece in enumerate(parts)
    )


def _sums(counted: Sequence[Mapping[str, Any]]) -> dict[str, Counts]:
    sums: dict[str, Counts] = {}
    for of_piece in counted:
        for source, counts in zip(of_piece["sources"], of_piece["counts"], strict=True):
            sums.setdefault(source, Counts()).add(Counts(**counts))
    return dict(sorted(sums.items()))


def _total(counted: Sequence[Mapping[str, Any]]) -> Counts:
    total = Counts()
    for counts in _sums(counted).values():
        total.add(counts)
    return total


def _rows(
    subject: _Subject, parts: Sequence[Piece], counted: Sequence[Mapping[str, Any]], sources: list[str], work: str
) -> dict[str, ShardRows]:
    """The rows of each shard, by its name, without attributes."""
    codes = {source: code for code, source in enumerate(sources)}
    by_shard: dict[str, list[tuple[RunFile, tuple[int, ...], int]]] = {shard.name: [] for shard in subject.shards}
    for piece, of_piece in zip(parts, counted, strict=True):
        file = msgspec.convert(of_piece["codes"], RunFile)
        meanings = tuple(codes[source] for source in of_piece["sources"])
        by_shard[piece.shard.name].append((file, meanings, of_piece["rows"]))
    rows = {}
    for shard in subject.shards:
        of_shard = by_shard[shard.name]
        rows[shard.name] = ShardRows(
            documents=shard.path,
            attributes=None,
            work=work,
            codes=tuple((file, meanings) for file, meanings, _ in of_shard),
            n_rows=sum(n_rows for *_, n_rows in of_shard),
            sources=frozenset(code for _, meanings, _ in of_shard for code in meanings),
        )
    return rows


# --- attributes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertFile:
    """Makes parquet of a Dolma 1.x attribute file. Called with (path, what it holds, path below the work folder)."""

    work: str

    def __call__(self, spec: tuple[str, Content, str]) -> TaskResult:
        source, content, below = spec
        table = read_attributes(source, content=content)
        target = streams.join(self.work, below)
        with streams.RawOutput(target) as out:
            pq.write_table(table, out)
        outputs = {name: output.declared for name, output in attribute_schema(target).items()}
        written = output_file(self.work, out.written, rows=len(table))
        return TaskResult(outputs=[written], payload={"outputs": outputs})


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeColumns:
    """Describes outputs of one set. Called with their columns."""

    sources: list[str]
    bins: int
    quantiles: tuple[float, ...]
    memory: int

    def __call__(self, columns: Sequence[Column]) -> TaskResult:
        memory = self.memory // 2 if len(columns) > 1 else self.memory
        describe_one = partial(describe, sources=self.sources, bins=self.bins, quantiles=self.quantiles, memory=memory)
        found = list(map(describe_one, held(columns, memory=memory)))
        return TaskResult(payload={"summaries": msgspec.to_builtins(found)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """One output of an attribute set, and the file of each shard that holds it."""

    set: str
    name: str
    kind: Output
    files: dict[str, str]


def _borders(
    subject: _Subject, stage: StageRun, rows: dict[str, ShardRows], outputs: Sequence[_Output]
) -> list[AttributeBorders]:
    named = {f"{output.set}.{output.name}": output for output in outputs}

    def column(name: str, kinds: Sequence[str], path: str) -> Column:
        output = named.get(name)
        if output is None or output.kind.kind not in kinds:
            fit = [other for other, of in named.items() if of.kind.kind in kinds]
            what = "no attribute" if output is None else f"{output.kind.kind}, expected {' or '.join(kinds)}:"
            raise ConfigError(f"{what} {name!r}\n  {did_you_mean(name, fit)}", path=path)
        return _column(output, rows, subject)

    by = subject.config.borders_by
    labels = None if by is None else column(by, ("text", "int", "bool"), "$.stat.borders_by")
    measured = [
        Measured(
            attribute=name,
            buckets=buckets,
            values=column(name, ("float", "int"), f"$.stat.borders[{i}]"),
            by=by,
            labels=labels,
        )
        for i, (name, buckets) in enumerate(subject.config.buckets.items())
    ]
    n_rows = sum(shard.n_rows for shard in rows.values())
    tasks = [Task(key=of.attribute, size=n_rows, spec=of) for of in measured]
    work = FindBorders(work=stage.work_folder, memory=(stage.options.max_memory or MEMORY) // 2)
    found = stage.run("borders", tasks, work, uses_up=(VALUES.name,)) if tasks else []
    return [msgspec.convert(result.payload["borders"], AttributeBorders) for result in found]


def _column(output: _Output, rows: dict[str, ShardRows], subject: _Subject) -> Column:
    shards = tuple(_with_file(rows[name], output.files.get(name), subject.contents) for name in rows)
    return Column(name=output.name, output=output.kind, shards=shards)


def _describe(
    subject: _Subject, stage: StageRun, rows: dict[str, ShardRows], sources: list[str], outputs: Sequence[_Output]
) -> dict[str, dict[str, OutputSummary]]:
    n_rows = sum(shard.n_rows for shard in rows.values())
    groups = _read_together(outputs, subject.contents)
    tasks = [
        Task(
            key=f"{group[0].set}.{group[0].name}",
            size=n_rows * len(group),
            spec=[_column(output, rows, subject) for output in group],
        )
        for group in groups
    ]
    work = DescribeColumns(
        sources=sources,
        bins=subject.config.bins,
        quantiles=tuple(subject.config.quantiles),
        memory=(stage.options.max_memory or MEMORY) // 2,
    )
    described: dict[str, dict[str, OutputSummary]] = {name: {} for name in subject.files}
    results = stage.run("describe", tasks, work, uses_up=(SOURCES.name, CONVERTED)) if tasks else []
    summaries = [found for result in results for found in msgspec.convert(result.payload["summaries"], _SUMMARIES)]
    for output, summary in zip(itertools.chain.from_iterable(groups), summaries, strict=True):
        described[output.set][output.name] = summary
    return described


def _read_together(outputs: Sequence[_Output], contents: dict[str, Content]) -> list[list[_Output]]:
    """The outputs in groups for a task each: those of small files that have all of them, else one by one."""
    groups: list[list[_Output]] = []
    for output in outputs:
        # What was converted is not among the contents, and is read column by column.
        sizes = [contents[path].size if path in contents else _TOGETHER_BYTES for path in output.files.values()]
        last = groups[-1][0] if groups else None
        if last and (last.set, last.files) == (output.set, output.files) and sum(sizes) < _TOGETHER_BYTES:
            groups[-1].append(output)
        else:
            groups.append([output])
    return groups


def _with_file(rows: ShardRows, path: str | None, contents: dict[str, Content]) -> ShardRows:
    return replace(rows, attributes=path, content=None if path is None else contents.get(path))


def _outputs(stage: StageRun, name: str, subject: _Subject) -> list[_Output]:
    """The outputs of an attribute set. Native files of one set all hold the same; those of Dolma 1.x what occurs."""
    files, contents = subject.files[name], subject.contents
    native = {shard: path for shard, path in files.items() if is_native(path)}
    others = {shard: path for shard, path in files.items() if shard not in native}
    first = next(iter(native.values()), None)
    kinds = {} if first is None else attribute_schema(first, content=contents[first])
    holders = {output: dict(native) for output in kinds}
    for shard, (path, outputs) in _converted(stage, name, others, contents).items():
        for output, kind in outputs.items():
            kinds.setdefault(output, kind)
            holders.setdefault(output, {})[shard] = path
    return [_Output(set=name, name=output, kind=kind, files=holders[output]) for output, kind in kinds.items()]


def _converted(
    stage: StageRun, name: str, files: dict[str, str], contents: dict[str, Content]
) -> dict[str, tuple[str, dict[str, Output]]]:
    if not files:
        return {}
    below = {shard: streams.join(CONVERTED, name, shard + ".parquet") for shard in files}
    tasks = [
        Task(key=shard, size=contents[path].size, spec=(path, contents[path], below[shard]), file=path)
        for shard, path in files.items()
    ]
    results = stage.run(f"convert-{name}", tasks, ConvertFile(work=stage.work_folder))
    return {
        shard: (
            streams.join(stage.work_folder, below[shard]),
            {output: Output(**kind) for output, kind in result.payload["outputs"].items()},
        )
        for shard, result in zip(files, results, strict=True)
    }


# --- tokens ----------------------------------------------------------------------------------------------------------


def _tokens(
    subject: _Subject, stage: StageRun, rows: dict[str, ShardRows], sources: list[str]
) -> dict[str, TokenCounts] | None:
    if not subject.tokens:
        return None
    known_already = from_ledger(subject.tokens[0].rpartition("/")[0])
    if known_already is not None:
        return known_already
    contents = subject.contents
    tasks = [
        Task(key=path, size=contents[path].size, spec=(path, contents[path]), file=path) for path in subject.tokens
    ]
    # A shard with documents of several sources does not tell which its tokens are of: its folder stands for them.
    known = {
        named: sources[min(rows[shard.name].sources)] if len(rows[shard.name].sources) == 1 else shard.source
        for shard in subject.shards
        for named in (shard.name, shard.path)  # ours name them so, other tools by their path
    }
    return by_source(stage.run("tokens", tasks, CountTokens()), known)
