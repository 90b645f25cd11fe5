"""What the commands show: progress, plans, ledgers, tables."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dolma.cli.printing import (
    LOG,
    begin_line,
    clear_line,
    is_live,
    print_json,
    say,
    say_live,
    say_warnings,
    tell,
)
from dolma.cli.tables import print_table
from dolma.data.storage import retries
from dolma.printable import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from dolma.api.log import LogReporter
    from dolma.config import Recipe
    from dolma.dedupers.inspection import Pair
    from dolma.graph import Graph
    from dolma.removal.receipt import Receipt
    from dolma.requirements import Finding
    from dolma.runner.heartbeat import RunStatus
    from dolma.runner.report import StageReport, Table
    from dolma.stages import Node
    from dolma.taggers.catalogue import TaggerEntry
    from dolma.taggers.profile import Profile
    from dolma.training.evaluate import Evaluation
    from dolma.training.plan import TrainPlan
    from dolma.verification import Verification


# --- progress --------------------------------------------------------------------------------------------------------


_SECONDS_BETWEEN_LINES = 0.2
_SECONDS_BETWEEN_LINES_OF_A_FILE = 10.0


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3725), _duration(7.4)
    ('1:02:05', '0:07')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _goes_on(step: int, *, after: int) -> bool:
    """Whether a step is the first one after a checkpoint, given the last one that was reported."""
    return 1 < step != after + 1


def _step_line(record: Any, steps: int) -> str:
    left = (steps - record.step) * record.tokens / record.step / record.tokens_per_second
    return (
        f"step {record.step:,}/{steps:,}  loss {record.loss:.3f}  lr {record.lr:.2e}  "
        f"{record.tokens_per_second:,.0f} tokens/s  {_duration(left)} left"
    )


class TerminalReporter:
    """One line on standard error: documents per second, MB per second, time left."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._next_line = 0.0
        self._doing = False
        self._step = 0

    def doing(self, text: str) -> None:
        self.finish()
        self._doing = is_live()
        if self._doing:
            begin_line(text)
        else:
            tell("info", text)

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from dolma.runner.progress import Meter

        self.finish()
        self._meter = Meter(total_tasks=tasks, total_size=bytes)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[rates]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(stage, total=max(bytes, 1), rates="")
        self._progress.start()

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None:
        self._meter.advance(documents, bytes, tasks=tasks, size=size)
        rates = f"{self._meter.documents_per_second:,.0f} documents/s  {self._meter.bytes_per_second / 1e6:,.1f} MB/s"
        self._progress.update(self._task, completed=self._meter.size, rates=rates)

    def finish(self) -> None:
        if self._doing:
            clear_line()
            self._doing = False
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def note(self, text: str) -> None:
        if self._doing:
            self.finish()
        tell("info", text)

    def on_step(self, record: Any, steps: int) -> None:
        """A training step: one line that stays up to date on a terminal, and ten that remain."""
        if _goes_on(record.step, after=self._step):
            self.note(f"train: goes on from step {record.step - 1:,} of {steps:,}")
        self._step = record.step
        remains = record.step == 1 or record.step == steps or record.step % max(1, steps // 10) == 0
        live = is_live()
        now = time.monotonic()
        if not remains and (not live or now < self._next_line):
            return
        self._next_line = now + _SECONDS_BETWEEN_LINES
        line = _step_line(record, steps)
        if live:
            say_live(line, end="\n" if remains else "")
        else:
            tell("info", line)


class QuietReporter:
    """Notes, and with `steps` a training step every ten seconds: standard error is a file or a pipe."""

    def __init__(self, *, steps: bool = True) -> None:
        self._steps, self._step, self._next_line = steps, 0, time.monotonic() + _SECONDS_BETWEEN_LINES_OF_A_FILE

    def doing(self, text: str) -> None: ...

    def start(self, stage: str, tasks: int, bytes: int) -> None: ...

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None:
        tell("info", text)

    def on_step(self, record: Any, steps: int) -> None:
        """A training step."""
        if _goes_on(record.step, after=self._step):
            self.note(f"train: goes on from step {record.step - 1:,} of {steps:,}")
        self._step, now = record.step, time.monotonic()
        if self._steps and now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES_OF_A_FILE
            tell("info", _step_line(record, steps))


def reporter_for(progress: bool | None) -> TerminalReporter | QuietReporter | LogReporter:
    """The reporter that the user asked for; without a wish, progress shows on a terminal."""
    if LOG.as_json or LOG.verbose:
        from dolma.cli.logs import log_reporter

        return log_reporter()
    if LOG.quiet:
        return QuietReporter()
    wanted = sys.stderr.isatty() if progress is None else progress
    return TerminalReporter() if wanted else QuietReporter(steps=progress is None)


# --- plans and outcomes -----------------------------------------------------------------------------------------------


_WIDEST_PLAN = 8  # columns that a terminal has room for
_OF_A_FILE = ("input", "output", "bytes")
_LISTED = 6


def show_plan(node: Node, rows: list[dict[str, Any]]) -> None:
    """The plan of a stage, files that are treated alike in one row; nothing was touched."""
    title = f"{node.label}: plan"
    if len(rows) == 1 and len(rows[0]) > _WIDEST_PLAN:
        print_table(["setting", "value"], list(rows[0].items()), title=title)
        return
    read = {row["columns"] for row in rows}
    alike: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault(str([value for key, value in row.items() if key not in _OF_A_FILE]), []).append(row)
    shown = [
        {
            **{key: _first(value) for key, value in group[0].items() if key not in (*_OF_A_FILE, "columns")},
            "files": len(group),
            "bytes": sum(row["bytes"] for row in group),
            "from": _common_folder([row["input"] for row in group]),
            "to": _common_folder([row["output"] for row in group]),
        }
        for group in alike.values()
    ]
    print_table(list(shown[0]) if shown else ["nothing"], [list(row.values()) for row in shown], title=title)
    say(f"fields that are read: {'; '.join(sorted(read))}", "")


def _first(value: Any) -> Any:
    """Of a long list the beginning, on a terminal; `--json` has all."""
    if not isinstance(value, list) or len(value) <= _LISTED or not sys.stdout.isatty():
        return value
    return [*value[:_LISTED], f"and {len(value) - _LISTED} more"]


def _common_folder(paths: Sequence[str]) -> str:
    """The one path, or the folder that all of them are in.

    >>> _common_folder(["s3://b/web/documents/a.gz", "s3://b/books/documents/a.gz"])
    's3://b/'
    """
    parts = [path.split("/") for path in set(paths)]
    if len(parts) == 1:
        return paths[0]
    same = list(itertools.takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False)))
    return "".join(f"{names[0]}/" for names in same) or "several folders"


def show_replaced(outputs: Sequence[str]) -> None:
    """Finished outputs that a run replaces, and why."""
    for line in outputs:
        tell("info", f"replaced: {line}")


def show_statuses(folders: Sequence[str], *, as_json: bool, nodes: Sequence[Node] = ()) -> None:
    """How far the stages and shards below these folders are; in the order of `nodes`, with those not begun."""
    from dolma.runner.heartbeat import statuses

    by_folder = {status.folder: status for folder in folders for status in statuses(folder)}
    found = sorted(by_folder.values(), key=lambda status: _number(status, nodes))
    if as_json:
        show_json(found)
        return
    if not found:
        say(f"nothing has begun in {' or '.join(folders)}")
    for status in found:
        if status.complete:
            say(f"{status.stage}: complete, {status.folder}")
            continue
        if status.steps is not None:
            step, steps = status.steps
            say(f"{status.stage}: unfinished, {status.folder}; {step:,} of {steps:,} steps")
            continue
        done = ", ".join(f"{phase} {n:,}" for phase, n in status.records.items()) or "none"
        say(f"{status.stage}: unfinished, {status.folder}; finished tasks: {done}")
        rows = [
            (
                f"{beat.shard}/{beat.of}",
                beat.state,
                beat.phase,
                f"{beat.done:,}/{beat.tasks:,}",
                f"{beat.documents / beat.seconds if beat.seconds else 0:,.0f}",
                f"{beat.bytes / 1e6 / beat.seconds if beat.seconds else 0:,.1f}",
                beat.failed,
                f"{max(0.0, time.time() - beat.at):,.0f} s ago",
                f"{beat.host} {beat.process}",
                beat.about,
            )
            for beat in status.shards
        ]
        headers = ["shard", "", "phase", "tasks", "documents/s", "MB/s", "bad records", "last said", "where", "about"]
        print_table(headers, rows, title=f"{status.stage}, by shard")
    begun = {_number(status, nodes) for status in found}
    for i, node in enumerate(nodes if found else ()):
        if i not in begun:
            say(f"{node.label}: not begun, {node.folder}")


def _number(status: RunStatus, nodes: Sequence[Node]) -> int:
    """Which of these nodes a status is of: the one that writes there, of several the one of its stage."""
    from dolma.data.streams import is_below

    there = [i for i, node in enumerate(nodes) if is_below(status.folder, node.folder)]
    return next((i for i in there if nodes[i].stage.name == status.stage), there[0] if there else len(nodes))


def show_graph(graph: Graph) -> None:
    """The stages of a recipe as a tree: what each reads is below it."""
    say(*graph.draw(), "")


def show_waiting(node: Node, before: list[str]) -> None:
    """A stage of a run whose plan cannot be made yet."""
    say(f"{node.label}: planned when {' and '.join(before)} {'is' if len(before) == 1 else 'are'} done", "")


def show_preview(preview: StageReport[Any]) -> None:
    """What a stage would do; nothing was written."""
    say_warnings(preview.warnings)
    _show_tables(preview)


def show_report(report: StageReport[Any], *, brief: bool = False) -> None:
    """What a stage did: one line, and its tables unless `brief`."""
    if not LOG.quiet:
        say(str(report), *report.remarks)
    say_warnings([*report.warnings, *retries.described()])
    if brief or LOG.quiet:
        return
    _show_tables(report)
    if failed := report.ledger.failed:
        rows = [(record.file, record.line, record.reason.partition("\n")[0]) for record in failed[:10]]
        print_table(["file", "line", "reason"], rows, title="bad records (first ten)")


def _show_tables(report: StageReport[Any]) -> None:
    for table in report.tables():
        show_table(table)


def show_table(table: Table) -> None:
    """A table under its title."""
    print_table(table.headers, table.rows, title=table.title, grouped=table.grouped)


def show_profile(profile: Profile | None) -> None:
    """Where the time of a tag run went."""
    if profile is None:
        say("profile: nothing was left to run")
        return
    rows = [
        (
            row.kind,
            row.name if row.name != row.kind else "",
            f"{row.seconds:.2f}",
            f"{row.share:.1%}",
            f"{row.megabytes_per_second:,.0f}",
        )
        for row in profile.rows
    ]
    print_table(["", "name", "seconds", "share", "MB/s"], rows, title="profile, all workers together")
    elapsed = profile.elapsed or 1
    say(
        f"{profile.documents:,} documents, {profile.bytes / 1e6:,.1f} MB of text in {profile.elapsed:,.1f} s: "
        f"{profile.documents / elapsed:,.0f} documents/s, {profile.bytes / 1e6 / elapsed:,.1f} MB/s"
    )


def show_explanation(node: Node, *, as_json: bool) -> None:
    """What the settings of a stage come to."""
    show_tables(list(node.explain()), as_json=as_json)


def show_tables(tables: Sequence[Table], *, as_json: bool) -> None:
    """Tables, or all of them as JSON."""
    if as_json:
        show_json(tables)
    for table in () if as_json else tables:
        show_table(table)


def show_rows(rows: pa.Table, *, as_json: bool) -> None:
    """The rows of an answer; as JSON an object a line."""
    import msgspec

    columns = [_values(name, column) for name, column in zip(rows.column_names, rows.columns, strict=True)]
    if as_json:
        for row in zip(*columns, strict=True):
            print_json(msgspec.json.encode(dict(zip(rows.column_names, row, strict=True)), enc_hook=str))
        return
    print_table(rows.column_names, list(zip(*columns, strict=True)))


def _values(name: str, column: pa.ChunkedArray) -> list[Any]:
    from dolma.errors import ConfigError

    try:
        found: list[Any] = column.to_pylist()
    except (OverflowError, ValueError) as error:
        raise ConfigError(
            f"the column {name!r} has a value that Python has none for, such as a date beyond the year 9999"
            "\n  write CAST(... AS VARCHAR)"
        ) from error
    return found


def show_written(path: str, line: str, *, as_json: bool) -> None:
    """A folder that was written, and what to say of it."""
    if as_json:
        show_json({"output": path})
    elif not LOG.quiet:
        say(line)


def show_json(report: Any) -> None:
    """A report as JSON, nothing else."""
    if hasattr(report, "to_json"):
        print_json(report.to_json())
    else:
        _show_struct(report)


# --- a whole run -----------------------------------------------------------------------------------------------------


def show_run(recipe: Recipe, done: Sequence[tuple[Node, StageReport[Any]]]) -> None:
    """The end of `dolma run`: the ledger from raw documents to tokens, the loss, a sample, and what lies where."""
    if LOG.quiet:
        return
    if all(report.complete_before for _, report in done):
        say("", "nothing to do: every stage is complete and its settings and inputs are unchanged")
    reports = {node.name: (node, report) for node, report in done}
    for node, _ in done:
        if node.stage.writes == "tokens" or (node.stage.writes == "documents" and not _read(node, done)):
            _show_whole_ledger(_chain(node, reports))
    for node, report in done:
        if lines := list(node.ending(report)):
            say("", *lines)
            say_warnings(report.warnings)
    say("")
    for _, report in done:
        say(f"{report.name + ':':<14} {report.folder}")
    say(f"{'recipe:':<14} {recipe.output}/recipe.yaml")


_Done = tuple["Node", "StageReport[Any]"]


def _read(node: Node, done: Sequence[_Done]) -> bool:
    """Whether another stage of the run has read its documents and gone on with them."""
    return any(node.name in other.reads and other.stage.writes in ("documents", "tokens") for other, _ in done)


def _chain(node: Node, reports: dict[str, _Done]) -> list[_Done]:
    """The stages by which documents have come to this one, if each has them from one other; and this one."""
    trail = [reports[node.name]]
    while True:
        names = [name for name in trail[0][0].reads if name in reports and reports[name][0].stage.writes == "documents"]
        if len(names) != 1:
            return trail
        trail.insert(0, reports[names[0]])


def _show_whole_ledger(trail: Sequence[_Done]) -> None:
    """From the documents that the first stage took to what the last one wrote, per source."""
    mixes = [(node, report) for node, report in trail if node.stage.writes == "documents"] or trail
    tokenized = trail[-1][1].ledger if trail[-1][0].stage.writes == "tokens" else None
    rows: list[Sequence[Any]] = []
    for source in sorted(mixes[0][1].ledger.accounts):
        encoded = tokenized.accounts.get(source) if tokenized is not None else None
        rate = encoded.out.bytes / encoded.out.tokens if encoded is not None and encoded.out.tokens else None

        def line(label: str, tally: Any, rate: float | None = rate, source: str = source) -> Sequence[Any]:
            estimate = f"~{tally.bytes / rate:,.0f}" if rate else "-"
            return (source, label, tally.documents, tally.bytes, estimate)

        accounts = [(node, report, report.ledger.account(source)) for node, report in mixes]
        rows.append(line("in", accounts[0][2].taken))
        for node, report, account in accounts:
            by = f"{node.name}: " if len(mixes) > 1 else ""
            rows.extend(line(f"- {by}{reason}", tally) for reason, tally in account.drops(report.reasons))
            if account.failed:
                rows.append((source, f"- {by}bad record", account.failed, "", "-"))
            if account.written != account.out:
                rows.append(line(f"{by}out, once each", account.out))
        if encoded is not None:
            rows.append((source, "out", encoded.out.documents, encoded.out.bytes, f"{encoded.out.tokens:,}"))
        else:
            rows.append(line("out", accounts[-1][2].written))
    print_table(["source", "", "documents", "bytes", "tokens"], rows, title="ledger", grouped=True)
    if tokenized is not None:
        say("~ tokens of text that was not encoded, from the source's bytes per token")


def show_training_plan(plan: TrainPlan, *, as_json: bool) -> None:
    """What a training recipe would do and need."""
    if as_json:
        _show_struct(plan)
        return
    rows = [
        (s.name, s.steps, s.tokens, s.tokens_per_step, s.sequence_length, f"{s.epochs:.3g}", f"{s.flops:.3g}")
        for s in plan.stages
    ]
    print_table(
        ["stage", "steps", "tokens", "tokens per step", "length", "epochs", "FLOPs"], rows, title="training plan"
    )
    shares = [
        (s.name, x.source, x.available, x.usable, x.taken, x.taken * s.sequence_length, f"{x.repetitions:.2f}")
        for s in plan.stages
        for x in s.sources
    ]
    if shares:
        print_table(["stage", "source", "windows", "usable", "taken", "tokens", "repetitions"], shares, title="mixture")
    rates = [(s.name, step, f"{rate:.3e}") for s in plan.stages for step, rate in s.rates]
    print_table(["stage", "step of it", "learning rate"], rates, title="learning rate")
    hours, memory = plan.seconds / 3600, plan.memory
    figures = [
        ("parameters", f"{plan.parameters:,} ({plan.active_parameters:,} active)"),
        ("steps, tokens", f"{plan.steps:,}, {plan.tokens:,}"),
        ("checkpoints that stay", ", ".join(f"step{step}" for step in plan.checkpoints)),
        ("a checkpoint, all at most", _sizes(plan.checkpoint_bytes, plan.disk_bytes)),
        ("memory per process", f"{_sizes(memory.at_start)} at the start, {_sizes(memory.at_work)} in a step"),
        ("its part of weights, gradients, moments", _sizes(memory.weights, memory.gradients, memory.moments)),
        ("gathered for a pass, activations, logits", _sizes(memory.gathered, memory.activations, memory.logits)),
        ("processes", f"{plan.devices:,}"),
        ("FLOPs", f"{plan.flops:.3g}"),
        (
            "speed by --mfu and --peak-flops",
            f"{plan.mfu:.0%} of {plan.peak_flops:.4g} FLOP/s per device{_named(plan.peak_flops)}",
        ),
        ("time at this speed", f"{hours:,.1f} h" if hours >= 1 else f"{plan.seconds:,.2g} s"),
    ]
    print_table(["", ""], figures, title="what the run is and needs")
    say_warnings(plan.warnings)


def _named(peak_flops: float) -> str:
    return " (--peak-flops: of an H100 in bfloat16)" if peak_flops == 989e12 else " (--peak-flops)"


_PRESET_VOCABULARY = 100_278  # of OLMo 2 and 3


def show_presets(*, as_json: bool) -> None:
    """Models by name."""
    from dolma.training.presets import PRESETS, count_parameters

    if as_json:
        _show_struct(PRESETS)
        return
    rows = []
    for name, model in PRESETS.items():
        parameters = count_parameters(model, vocab_size=_PRESET_VOCABULARY)
        sizes = (model.d_model, model.layers, model.heads, model.kv_heads or model.heads, model.mlp_hidden)
        rows.append((name, parameters, *sizes, model.context_length, model.sliding_window or "-"))
    headers = ["model", "parameters", "d_model", "layers", "heads", "kv heads", "mlp_hidden", "context", "window"]
    print_table(headers, rows, title=f"parameters with a vocabulary of {_PRESET_VOCABULARY:,}")


def _sizes(*sizes: int) -> str:
    """Bytes in gigabytes, small ones in megabytes.

    >>> _sizes(25_000_000, 0), _sizes(84_000_000_000)
    ('25.0 MB, 0.0 MB', '84.00 GB')
    """
    return ", ".join(f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB" for size in sizes)


def _show_struct(value: Any) -> None:
    import msgspec

    print_json(msgspec.json.format(msgspec.json.encode(value), indent=1))


def show_evaluation(evaluation: Evaluation, *, as_json: bool) -> None:
    """A model on held-out text and on tasks."""
    if as_json:
        _show_struct(evaluation)
        return
    held_out = [
        (name, x.tokens, x.bytes, f"{x.loss:.4f}", f"{x.perplexity:.2f}", f"{x.bits_per_byte:.4f}")
        for name, x in evaluation.held_out.items()
    ]
    if held_out:
        print_table(
            ["source", "tokens", "bytes", "loss", "perplexity", "bits per byte"],
            held_out,
            title=f"held-out text, at most {evaluation.length:,} tokens at a time",
        )
    kinds = ("raw", "per_token", "per_byte", "gold_bits_per_byte", "exact_match", "f1")
    tasks = [
        (name, x.items, *("-" if getattr(x, kind) is None else f"{getattr(x, kind):.4f}" for kind in kinds))
        for name, x in evaluation.tasks.items()
    ]
    if tasks:
        print_table(["task", "items", *(kind.replace("_", " ") for kind in kinds)], tasks, title="tasks")
    scores = [
        (name, kind, f"{value:.4f}") for name, found in evaluation.olmo_tasks.items() for kind, value in found.items()
    ]
    if scores:
        print_table(["task", "score", "value"], scores, title="tasks of ai2-olmo-eval")


def show_seen(rows: Iterable[Any], *, as_json: bool) -> None:
    """Stretches of documents in the windows of steps."""
    import msgspec

    if as_json:
        for row in rows:
            print_json(msgspec.json.encode(row))
        return
    table = [(x.step, x.stage, x.window, x.source, x.id, f"{x.path}:{x.line}", f"{x.start}-{x.end}") for x in rows]
    print_table(["step", "stage", "window", "source", "document", "from", "tokens"], table)


def show_pairs(pairs: Sequence[Pair], *, as_json: bool) -> None:
    """Duplicates beside what is kept in their place."""
    import msgspec

    if as_json:
        for pair in pairs:
            print_json(msgspec.json.encode(pair))
        return
    if not pairs:
        say("no pairs like that")
    for pair in pairs:
        similarity = "" if pair.similarity is None else f", similarity {pair.similarity:.3f}"
        say(f"cluster {pair.cluster:,} of {counted(pair.cluster_size, 'document')}{similarity}")
        say(f"  kept       {pair.kept_id}  {pair.kept_file}:{pair.kept_line}")
        say(f"  duplicate  {pair.id}  {pair.file}:{pair.line}")
        for change in pair.changes[:_CHANGES]:
            before, kept, other = (_shortened(text) for text in (change.before, change.kept, change.duplicate))
            say(f"    {before} [-{kept}-]{{+{other}+}}")
        if len(pair.changes) > _CHANGES:
            say(f"    and {counted(len(pair.changes) - _CHANGES, 'more difference')}")
        if pair.equal:
            say("    the words are the same")


_CHANGES, _SHOWN = 6, 60  # differences, and characters of each


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


# --- list, verify ----------------------------------------------------------------------------------------------------


def show_taggers(entries: Sequence[TaggerEntry], *, full: bool, as_json: bool) -> None:
    """The taggers by family, or all there is to know of some."""
    if as_json:
        print_json(json.dumps([entry.as_json() for entry in entries], indent=1))
        return
    if full:
        for entry in entries:
            _show_tagger(entry)
        return
    headers = ("family", "tagger", "MB/s", "outputs", "meaning [needs] [assumes]")
    rows = []
    for entry in entries:
        speed = "" if entry.megabytes_per_second is None else f"{entry.megabytes_per_second:,.0f}"
        notes = [f"[needs {need.name}]" for need in entry.needs] + [f"[{entry.languages}]"] * bool(entry.languages)
        about = " ".join([entry.meaning or entry.problem, *notes])
        rows.append((entry.family, entry.name, speed, len(entry.outputs), about))
    print_table(headers, rows, grouped=True)
    say(
        "MB/s: of text, each tagger alone on one core; assumes: of the text",
        "`dolma list NAME` shows the outputs; `dolma tag --help` how to add your own",
    )


def _show_tagger(entry: TaggerEntry) -> None:
    say(f"{entry.name}: {entry.meaning}  ({entry.at})")
    if entry.languages:
        say(f"  assumes: {entry.languages}")
    for need in entry.needs:
        say(f"  needs {need.kind} {need.name}: {need.get}")
    if entry.megabytes_per_second is not None:
        say(f"  speed: {entry.megabytes_per_second:,.0f} MB of text per second, alone on one core")
    keys = ("name", "kind", "unit", "range", "meaning")
    print_table(keys, [[out[key] for key in keys] for out in entry.outputs])


def show_verification(result: Verification, *, as_json: bool) -> None:
    """What was checked, and every problem on a line."""
    if as_json:
        show_json(result)
        return
    for folder, n_files in result.checked:
        say(f"{folder}: {counted(n_files, 'file')}")
    for note in result.notes:
        tell("info", note, word="note")
    for problem in result.problems:
        tell("error", problem, word="problem")
    if not result.problems:
        say(f"ok: {counted(result.files, 'file')} in {counted(result.sets, 'file set')} as the manifests say")


def show_receipt(receipt: Receipt, *, as_json: bool) -> None:
    """What a take-down removed, what it could not reach, and who has seen it."""
    if as_json:
        show_json(receipt)
        return
    if receipt.continued:
        say("a take-down that was interrupted here is finished now")
    show_tables(list(receipt.tables()), as_json=False)
    if receipt.nothing_left:
        say("nothing is left of what was asked for")
    elif receipt.dry_run:
        say(f"{counted(receipt.documents, 'document')} would be taken down; nothing was written")
    else:
        moved = f"; {counted(receipt.moved, 'cluster')} keep another document now" if receipt.moved else ""
        say(f"{counted(receipt.documents, 'document')} taken down, and on {receipt.takedown}{moved}")


def show_findings(findings: Sequence[Finding]) -> None:
    """What is there and what is missing, with the command that gets it."""
    for found in findings:
        say(f"{'ok' if found.ok else 'missing':<8} {found.what}")
        if not found.ok:
            say(*(f"         {line.strip()}" for line in found.get.splitlines()))
