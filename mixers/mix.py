"""`dolma mix`: documents and attributes in, the documents that the rules keep out, with where each came from.

mix      a piece of a document shard -> its kept documents and their rows; the only phase when nothing is sampled
decide   where something is sampled or held out: a piece -> what is decided on each document, and its sampling key
hold_out with `holdout`: all decisions -> which documents are kept apart, clusters whole
cut      after `decide`: all decisions -> which of them the sample takes
write    after `cut`: a piece -> the documents that the sample takes
join     parts of long shards -> one file each
arrange, parts   with `shuffle` or `parts`: documents and rows into other files (`dolma.mixers.arrange`)
waterfall, ids, describe   all results -> `waterfall.parquet`, `holdout.jsonl`, `mixture.json`

Below `output`: `documents/<shard>`, `rows/<shard>.parquet` and `decisions/<shard>.parquet`, one of each per input
shard, and with `dropped` `dropped/<shard>`; `waterfall.parquet`; and the manifest, whose ledger and notes hold the
waterfall too. Nothing is read before rules, shares, attributes and names are checked.

Measured on one core of a 2-core cloud machine, 115 MB of mixed text in zst (2026-11-23), processor time against
decompress, decode, compress: one rule 1.4 times, four rules with two span edits and `min_length` 1.5 times; deciding
alone, which sampling adds, 0.6 times.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from dolma.config import Holdout, MixConfig, TokenizeConfig
from dolma.data import streams
from dolma.data.aligned import check_contiguous
from dolma.data.columns import Output
from dolma.data.dataset import Dataset, Piece
from dolma.data.documents import Reading
from dolma.data.exchange import MEMORY, RunFile, read_sorted, whole_runs
from dolma.data.manifest import FileSet, fingerprint
from dolma.mixers.arrange import Arrangement, arranged, is_arranged, n_parts
from dolma.mixers.catalogue import Catalogue
from dolma.mixers.decisions import DECIDED, DecidedPiece
from dolma.mixers.first_look import first_look
from dolma.mixers.from_attributes import JudgeRows, tasks_of_rows, why_documents
from dolma.mixers.holdout import GROUPS, IDS, Holding, Marks, choose, grouping_of
from dolma.mixers.judge import PieceSpec, spans_of, tasks_of, waterfall_of
from dolma.mixers.mixture import MIXTURE, Mixture, mixture_of
from dolma.mixers.notes import MixNotes, SpanRow, mixture_warnings
from dolma.mixers.rules import compile_rules
from dolma.mixers.sampling import (
    Candidates,
    Cut,
    Quota,
    Supply,
    check_seen,
    check_sources,
    find_cuts,
    times_of,
    with_weights,
)
from dolma.mixers.strata import Cell, allotment, strata_of
from dolma.mixers.subject import (
    Subject,
    check_names,
    finished_inputs,
    identified_subject,
    inputs_of,
    settings_of,
    subject_of,
)
from dolma.mixers.token_counts import Calibration, calibrated, counting_of
from dolma.mixers.waterfall import WriteWaterfall, gone_sources, warnings_of
from dolma.mixers.write import (
    DecidePiece,
    JoinParts,
    Layout,
    MixPiece,
    WriteIds,
    WriteMixture,
    WritePiece,
    Written,
    count_held,
    count_sampled,
)
from dolma.runner.inputs import Inputs
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter
from dolma.runner.report import StageReport
from dolma.runner.stage import StageRun, check_settings, merged_of, open_stage
from dolma.runner.standing import why_again
from dolma.runner.task import Task, TaskResult


def mix(
    dataset: Dataset,
    config: MixConfig,
    *,
    output: str,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
    tokenize: TokenizeConfig | None = None,
) -> StageReport[MixNotes]:
    """Write the documents that the rules keep, edited and sampled as the recipe says.

    Raises:
        ConfigError: rules, shares or inputs cannot be used as they are; nothing was written.
        DataError: a file cannot be read, attributes do not fit their documents, or a rule has no answer.
    """
    reading = reading or Reading()
    inputs = Inputs(output, options=options, reporter=reporter)
    config = with_weights(config)
    settings = settings_of(config, reading, seed, tokenize)
    file_set = FileSet(folder=output, stage="mix", name="mix", config=settings, inputs=[])
    check_settings([file_set], options)
    if (finished := finished_inputs(dataset, file_set, inputs)) is not None:
        subject, file_set = None, msgspec.structs.replace(file_set, inputs=finished)
    else:
        subject = identified_subject(subject_of(dataset, config, reading, tokenize), inputs)
        file_set = msgspec.structs.replace(file_set, inputs=inputs_of(subject))
    with open_stage([file_set], options=options, reporter=reporter, inputs=inputs) as stage:
        stage.leave_if_complete()
        subject = subject or identified_subject(subject_of(dataset, config, reading, tokenize), inputs)
        for line in first_look(subject):
            stage.reporter.note(line)
        layout = _layout(stage, config, output=output, seed=seed)
        specs = subject.specs()
        made = (
            _sampled(subject, stage, layout, specs, seed) if config.is_sampled else _kept(stage, layout, specs, subject)
        )
        parts = _parts_tasks(specs)
        joined = stage.run("join", parts, JoinParts(layout=layout)) if parts else []
        if layout.arrangement is not None:
            placed, n_shards, memory = made.written or made.judged, len(subject.shards), _memory(stage)
            joined += arranged(stage, placed, config, n_shards=n_shards, output=output, memory=memory)
        notes = _notes(subject, made)
        rows = tuple(notes.waterfall)
        task = Task(key=fingerprint(msgspec.to_builtins(rows)), size=0, spec=rows)
        waterfall = stage.plan("waterfall", task, WriteWaterfall(output=output))
        if config.holdout is not None:
            paths = tuple(layout.decisions_path(shard) for shard in subject.shards)
            joined += stage.run("ids", [Task(key=IDS, size=1, spec=paths)], WriteIds(output=output))
        mixture = [] if notes.mixture is None else [Task(key=MIXTURE, size=1, spec=notes.mixture)]
        described = stage.run("describe", mixture, WriteMixture(output=output)) if mixture else []
        results = [*made.judged, *made.written, *joined, waterfall, *described]
        report = stage.finish(results, notes=msgspec.to_builtins(notes))
        return report.detailed(notes, warnings=notes.warnings, reasons=notes.rules)
    done = stage.noted(MixNotes)
    return replace(done, warnings=done.details.warnings, reasons=done.details.rules)


def check(
    dataset: Dataset,
    config: MixConfig,
    *,
    declared: Mapping[str, Mapping[str, Output]],
    reading: Reading | None = None,
    tokenize: TokenizeConfig | None = None,
) -> None:
    """Return when rules, spans and shares fit the attributes that are there or `declared`: still to be made.

    Reads no attribute, and no document but the first ones where a rule names a field of them. A dataset without
    documents is one that is still to be made.

    Raises:
        ConfigError: they do not; carries the key's path.
    """
    shards = dataset.shards() if dataset.documents else []
    config = with_weights(config)
    check_sources(config)
    check_names(config, shards)
    catalogue = Catalogue.of(dataset, shards, config, reading=reading or Reading(), declared=declared)
    compile_rules(config, catalogue)
    counting_of(config, tokenize, catalogue)
    grouping_of(config.holdout, catalogue)
    strata_of(config, catalogue)


def made_again(
    dataset: Dataset,
    config: MixConfig,
    *,
    output: str,
    reading: Reading,
    seed: int,
    tokenize: TokenizeConfig | None = None,
) -> dict[str, str]:
    """Why this stage would replace what it has finished, attributes left aside; empty where it would not."""
    settings = settings_of(with_weights(config), reading, seed, tokenize)
    made = FileSet(folder=output, stage="mix", name="mix", config=settings, inputs=[])
    why = why_again(made, sizes={shard.name: shard.size for shard in dataset.shards()})
    return {"": why} if why else {}


def plan(
    dataset: Dataset,
    config: MixConfig,
    *,
    output: str,
    reading: Reading | None = None,
    seed: int = 0,
    tokenize: TokenizeConfig | None = None,
) -> Iterator[dict[str, Any]]:
    """What `mix` would read and write, one row per document file; rules are checked, no document is read."""
    subject = subject_of(dataset, with_weights(config), reading or Reading(), tokenize)
    layout = Layout(output=output, work="", format=config.format)
    fields = subject.judge.reading
    where = _arranged_path(config, n_shards=len(subject.shards))
    for shard in subject.shards:
        yield {
            "input": shard.path,
            "bytes": shard.size,
            "columns": ", ".join((fields.text, fields.id, fields.source)),
            "attributes": [f"{file.set}.{column}" for file in subject.files[shard.name] for column in file.outputs],
            "output": streams.join(output, where or layout.document_path(shard)),
        }


def _arranged_path(config: MixConfig, *, n_shards: int) -> str:
    """Where documents go that are arranged, and into how many files; with `part_bytes` only a preview can tell."""
    if not is_arranged(config):
        return ""
    n = n_parts(config, n_shards=n_shards, n_bytes=0)
    each = f"about {config.part_bytes} bytes of text each" if config.part_bytes is not None else f"{n:,} files"
    return f"documents/part-*{config.format} ({each})"


def preview(
    dataset: Dataset,
    config: MixConfig,
    *,
    reading: Reading | None = None,
    options: RunOptions | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
    tokenize: TokenizeConfig | None = None,
) -> StageReport[MixNotes]:
    """What `mix` would drop and keep, by rule and source; writes no document, and reads none where attributes will do.

    Raises:
        ConfigError: rules or shares cannot be used as they are.
        DataError: a file cannot be read, attributes do not fit their documents, or a rule has no answer.
    """
    config = with_weights(config)
    subject = subject_of(dataset, config, reading or Reading(), tokenize, sizes=True)
    options = (options or RunOptions()).whole()
    documents = why_documents(subject)
    with tempfile.TemporaryDirectory(prefix="dolma-mix-") as folder:
        file_set = FileSet(folder=folder, stage="mix", name="preview", config={}, inputs=[])
        with open_stage([file_set], options=options, reporter=reporter) as stage:
            if documents:
                stage.reporter.note(f"mix: documents are read, too: {documents}")
                made = _previewed(subject, stage, folder, seed)
            else:
                assert subject.sizes is not None
                work = JudgeRows(judge=subject.judge, sizes=subject.sizes)
                made = _Made(judged=stage.run("rows", tasks_of_rows(subject), work))
            notes, ledger = _notes(subject, made), merged_of([*made.judged, *made.written])
    return StageReport(
        stage="mix",
        name="preview",
        folder="",
        ledger=ledger,
        warnings=notes.warnings,
        reasons=notes.rules,
        details=notes,
    )


def _previewed(subject: Subject, stage: StageRun, folder: str, seed: int) -> _Made:
    layout = Layout(output=folder, work=stage.work_folder, format=subject.config.format)
    decided = _decided(subject, stage, layout, subject.specs(), seed)
    counting = CountSampled(
        cuts=tuple(decided.cuts), sources=tuple(decided.sources), work=stage.work_folder, memory=_memory(stage)
    )
    made = decided.as_made()
    made.written = stage.run("count", [_all_decisions(decided.pieces)], counting)
    return made


# --- running ---------------------------------------------------------------------------------------------------------


class _Made(msgspec.Struct, kw_only=True):
    """What the tasks of a mix came back with; `written` is empty when they were judged and written in one pass."""

    judged: list[TaskResult]
    written: list[TaskResult] = []
    supplies: dict[str, Supply] = {}
    wanted: list[Quota] = []
    errors: dict[str, float | None] = {}


def _layout(stage: StageRun, config: MixConfig, *, output: str, seed: int) -> Layout:
    arrangement = Arrangement(seed=seed if config.shuffle else None, memory=_memory(stage))
    return Layout(
        output=output,
        work=stage.work_folder,
        format=config.format,
        dropped=config.dropped,
        holdout=config.holdout is not None,
        arrangement=arrangement if is_arranged(config) else None,
    )


def _check_rows(specs: Sequence[PieceSpec], judged: Sequence[TaskResult]) -> None:
    check_contiguous([spec.piece for spec in specs], [result.payload for result in judged])


def _kept(stage: StageRun, layout: Layout, specs: list[PieceSpec], subject: Subject) -> _Made:
    judged = stage.run("mix", tasks_of(specs), MixPiece(judge=subject.judge, layout=layout))
    _check_rows(specs, judged)
    check_seen(subject.config, _seen(judged), limit=_limit(subject))
    return _Made(judged=judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A corpus of which every document was judged, and how often each kept one is to be written."""

    judged: list[TaskResult]
    pieces: list[DecidedPiece]
    sources: list[str]
    supplies: dict[str, Supply]
    wanted: list[Quota]
    cuts: list[Cut]
    errors: dict[str, float | None]

    def as_made(self) -> _Made:
        return _Made(judged=self.judged, supplies=self.supplies, wanted=self.wanted, errors=self.errors)


def _decided_piece(
    spec: PieceSpec,
    result: TaskResult,
    sources: Sequence[str],
    places: Mapping[Cell, int],
    rates: Mapping[str, float],
    n_rules: int,
) -> DecidedPiece:
    cells = _cells(result)
    return DecidedPiece(
        shard=spec.piece.shard.name,
        file=msgspec.convert(result.payload["decided"], RunFile),
        codes=tuple(sources.index(source) for source, _ in cells),
        quotas=tuple(places[cell] for cell in cells),
        rates=tuple(rates.get(source, 0.0) for source, _ in cells),
        n_rules=n_rules,
    )


def _cells(result: TaskResult) -> list[Cell]:
    return msgspec.convert(result.payload["cells"], list[Cell])


def _candidates(decisions: Sequence[DecidedPiece], work: str, *, memory: int) -> Iterator[Candidates]:
    """The kept documents of all pieces, some at a time."""
    for of_piece in decisions:
        for records in of_piece.read(work, memory=memory):
            yield of_piece.candidates(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCuts:
    """Finds which documents fill the quotas. Called with all decisions; the ledger says what would be written."""

    wanted: tuple[Quota, ...]
    work: str
    memory: int

    def __call__(self, decisions: Sequence[DecidedPiece]) -> TaskResult:
        cuts = find_cuts(self.wanted, lambda: _candidates(decisions, self.work, memory=self.memory))
        return TaskResult(payload={"cuts": msgspec.to_builtins(cuts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSampled:
    """Counts what `WritePiece` would write, in the ledger. Called with all decisions."""

    cuts: tuple[Cut, ...]
    sources: tuple[str, ...]
    work: str
    memory: int

    def __call__(self, decisions: Sequence[DecidedPiece]) -> TaskResult:
        ledger, written = Ledger(), Written(len(self.cuts))
        for found in _candidates(decisions, self.work, memory=self.memory):
            count_sampled(ledger, written, found, times_of(found, self.cuts), self.sources)
        for of_piece in decisions:
            for records in of_piece.read(self.work, memory=self.memory) if of_piece.holding is not None else ():
                count_held(ledger, of_piece.held(records), self.sources)
        return TaskResult(ledger=ledger, payload=written.payload)


def _memory(stage: StageRun) -> int:
    return stage.options.max_memory or MEMORY


def _decided(subject: Subject, stage: StageRun, layout: Layout, specs: list[PieceSpec], seed: int) -> _Decided:
    work = DecidePiece(
        judge=subject.judge,
        layout=layout,
        seed=seed,
        memory=_memory(stage),
        counting=subject.counting,
        grouping=subject.grouping,
        strata=subject.strata,
    )
    judged = stage.run("decide", tasks_of(specs), work, reads=True)
    _check_rows(specs, judged)
    sums = _sums(judged)
    of_source = {name: Calibration.sum(of for (source, _), of in sums.items() if source == name) for name, _ in sums}
    rates = calibrated(of_source) if subject.counting is not None else {}
    supplies = {cell: of.supply(rates.get(cell[0], 0.0)) for cell, of in sums.items()}
    names, n_rules, cells = sorted(_seen(judged)), len(subject.judge.labels), sorted(sums)
    places = {cell: i for i, cell in enumerate(cells)}
    pieces = [
        _decided_piece(spec, result, names, places, rates, n_rules) for spec, result in zip(specs, judged, strict=True)
    ]
    if subject.config.holdout is not None:
        pieces, supplies = _held_out(subject.config.holdout, stage, judged, pieces, supplies, names, seed)
    found = allotment(subject.config, subject.strata, supplies, seen=_seen(judged), limit=_limit(subject))
    fills = [found.of_cell[cell] for cell in cells]
    pieces = [replace(piece, quotas=tuple(fills[place] for place in piece.quotas)) for piece in pieces]
    finding = FindCuts(wanted=tuple(found.wanted), work=stage.work_folder, memory=_memory(stage))
    cut = stage.plan("cut", _all_decisions(pieces), finding)
    return _Decided(
        judged=judged,
        pieces=pieces,
        sources=names,
        supplies={name: Supply.sum(of for (source, _), of in supplies.items() if source == name) for name in names},
        wanted=found.wanted,
        cuts=msgspec.convert(cut.payload["cuts"], list[Cut]),
        errors={source: of.error(rates[source]) for source, of in of_source.items()} if rates else {},
    )


def _held_out(
    config: Holdout,
    stage: StageRun,
    judged: Sequence[TaskResult],
    pieces: list[DecidedPiece],
    supplies: Mapping[Cell, Supply],
    names: Sequence[str],
    seed: int,
) -> tuple[list[DecidedPiece], dict[Cell, Supply]]:
    """The pieces that know what is held out, and what that leaves of each cell."""
    groups = tuple(msgspec.convert(result.payload["groups"], RunFile) for result in judged)
    choosing = HoldOut(
        config=config,
        groups=groups,
        n_sources=len(names),
        n_cells=len(supplies),
        work=stage.work_folder,
        memory=_memory(stage),
        seed=seed,
    )
    found = stage.plan("hold_out", _all_decisions(pieces), choosing, uses_up=(GROUPS.name,)).payload
    holding = Holding(
        cuts=tuple(msgspec.convert(found["cuts"], list[Cut])), nodes=np.array(found["nodes"], dtype=np.uint64)
    )
    left = {}
    for cell, (documents, n_bytes, n_tokens) in zip(sorted(supplies), found["held"], strict=True):
        of = supplies[cell]
        left[cell] = Supply(documents=of.documents - documents, bytes=of.bytes - n_bytes, tokens=of.tokens - n_tokens)
    return [replace(of_piece, holding=holding) for of_piece in pieces], left


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOut:
    """Finds which documents are held out, and how much they are of each cell. Called with all decisions."""

    config: Holdout
    groups: tuple[RunFile, ...]
    n_sources: int
    n_cells: int
    work: str
    memory: int
    seed: int

    def __call__(self, decisions: Sequence[DecidedPiece]) -> TaskResult:
        def marked() -> Iterator[tuple[Candidates, Marks]]:
            for of_piece in decisions:
                for records in of_piece.read(self.work, memory=self.memory):
                    yield of_piece.marked(records)

        edges = (
            records
            for file in self.groups
            for records in read_sorted(GROUPS, self.work, whole_runs([file]), memory=self.memory)
        )
        holding = choose(self.config, self.n_sources, marked, edges, seed=self.seed)
        held = Written(self.n_cells)
        for found, marks in marked():
            held.add(found, holding.mask(found, marks).astype(np.int64))
        payload = {
            "cuts": msgspec.to_builtins(holding.cuts),
            "nodes": holding.nodes.tolist(),
            "held": held.payload["quotas"],
        }
        return TaskResult(payload=payload)


def _seen(judged: Sequence[TaskResult]) -> set[str]:
    """The sources that documents are of."""
    return {source for result in judged for source, of in result.ledger.accounts.items() if of.taken.documents}


def _limit(subject: Subject) -> int | None:
    limited = subject.dataset.limited
    return None if limited is None else limited.limit


def _all_decisions(decisions: Sequence[DecidedPiece]) -> Task:
    files = whole_runs([of_piece.file for of_piece in decisions])
    return Task(key=files.fingerprint, size=files.n_bytes, spec=tuple(decisions))


def _sums(judged: Sequence[TaskResult]) -> dict[Cell, Calibration]:
    """What the rules leave of each cell, summed in corpus order."""
    sums: dict[Cell, Calibration] = {}
    for result in judged:
        amounts = msgspec.convert(result.payload["amounts"], list[Calibration])
        for cell, of in zip(_cells(result), amounts, strict=True):
            sums.setdefault(cell, Calibration()).add(of)
    return sums


def _sampled(subject: Subject, stage: StageRun, layout: Layout, specs: list[PieceSpec], seed: int) -> _Made:
    decided = _decided(subject, stage, layout, specs, seed)
    work = WritePiece(
        judge=subject.judge,
        layout=layout,
        cuts=tuple(decided.cuts),
        sources=tuple(decided.sources),
        memory=_memory(stage),
    )
    tasks = [
        Task(
            key=spec.piece.key,
            size=spec.piece.size,
            spec=(spec, piece),
            file=spec.piece.shard.path,
            part=spec.piece.words,
        )
        for spec, piece in zip(specs, decided.pieces, strict=True)
    ]
    made = decided.as_made()
    made.written = stage.run("write", tasks, work, uses_up=(DECIDED.name,))
    return made


def _parts_tasks(specs: Sequence[PieceSpec]) -> list[Task]:
    by_shard: dict[str, list[Piece]] = {}
    for spec in specs:
        if spec.piece.parts > 1:
            by_shard.setdefault(spec.piece.shard.name, []).append(spec.piece)
    return [
        Task(key=name, size=parts[0].shard.size, spec=tuple(parts), file=parts[0].shard.path)
        for name, parts in by_shard.items()
    ]


# --- after -----------------------------------------------------------------------------------------------------------


def _notes(subject: Subject, made: _Made) -> MixNotes:
    ledger = merged_of([*made.judged, *made.written])
    payloads = [result.payload for result in made.judged]
    rows = waterfall_of(subject.judge.labels, payloads).complete(ledger.accounts, is_about=subject.judge.is_about)
    edits = subject.judge.edits.edits
    counts = spans_of(len(edits), payloads)
    mixture = _mixture(subject, made, ledger) if subject.config.is_sampled else None
    return MixNotes(
        waterfall=rows,
        mixture=mixture,
        spans=[
            SpanRow(attribute=edit.attribute, spans=n, merged=merged, without_length=empty)
            for edit, n, merged, empty in zip(edits, counts.spans, counts.merged, counts.without_length, strict=True)
        ],
        edited_documents=counts.documents,
        parts=_n_parts(subject, ledger),
        warnings=[*_warnings(subject, rows, ledger), *(mixture_warnings(mixture) if mixture is not None else ())],
    )


def _mixture(subject: Subject, made: _Made, ledger: Ledger) -> Mixture:
    tokens: Counter[str] = Counter()
    of_quotas = np.zeros((len(made.wanted), 3), dtype=np.int64)
    for result in made.written:
        tokens.update(result.payload["tokens"])
        of_quotas += np.array(result.payload["quotas"], dtype=np.int64).reshape(of_quotas.shape)
    counted = "" if subject.counting is None else subject.counting.words
    return mixture_of(
        made.wanted,
        ledger,
        unit=subject.config.unit,
        supplies=made.supplies,
        tokens=tokens,
        errors=made.errors,
        counted=counted,
        axes={quota.source: subject.axes_of(quota.source) for quota in made.wanted},
        written=[Supply(documents=n, bytes=n_bytes, tokens=of) for n, n_bytes, of in of_quotas.tolist()],
    )


def _n_parts(subject: Subject, ledger: Ledger) -> int:
    """The files into which documents are arranged; 0 where each input has one of its own."""
    n_bytes = ledger.total().written.bytes
    return n_parts(subject.config, n_shards=len(subject.shards), n_bytes=n_bytes) if is_arranged(subject.config) else 0


def _warnings(subject: Subject, rows: list[Any], ledger: Ledger) -> list[str]:
    taken = {source: account.taken.documents - account.failed for source, account in ledger.accounts.items()}
    implicit = [rule.label for rule in subject.judge.rules.rules if rule.is_implicit]
    kept = ledger.total().out.documents
    return [*warnings_of(rows, taken=taken, kept=kept, implicit=implicit), *gone_sources(rows, taken)]
