"""What the commands show: progress, plans, ledgers, tables. The only module that prints."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from dolma.config import Recipe
    from dolma.doctor import Finding
    from dolma.mixers.report import Preview
    from dolma.pipeline import Outcome
    from dolma.run.ledger import Ledger
    from dolma.taggers.catalogue import Entry
    from dolma.taggers.profile import Profile
    from dolma.train.evaluate import Evaluation
    from dolma.train.plan import TrainPlan
    from dolma.verify import Verification


def console(*, more: int = 0) -> Console:
    """Standard output as a rich console; when it is no terminal, 200 and `more` columns wide."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200 + more)


# --- progress --------------------------------------------------------------------------------------------------------


_SECONDS_BETWEEN_LINES = 0.2


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3725), _duration(7.4)
    ('1:02:05', '0:07')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TerminalReporter:
    """One line on standard error: documents per second, MB per second, time left."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._next_line = 0.0

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from dolma.run.progress import Meter

        self._meter = Meter(total_tasks=tasks, total_size=bytes)
        self._progress = Progress(
            TextColumn("{task.description}"),
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
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def on_step(self, record: Any, steps: int) -> None:
        """A training step: one line that stays up to date on a terminal, and ten that remain."""
        remains = record.step == 1 or record.step == steps or record.step % max(1, steps // 10) == 0
        live = sys.stderr.isatty()
        now = time.monotonic()
        if not remains and (not live or now < self._next_line):
            return
        self._next_line = now + _SECONDS_BETWEEN_LINES
        left = (steps - record.step) * record.tokens / record.step / record.tokens_per_second
        line = (
            f"step {record.step:,}/{steps:,}  loss {record.loss:.3f}  lr {record.lr:.2e}  "
            f"{record.tokens_per_second:,.0f} tokens/s  {_duration(left)} left"
        )
        click.echo(f"\r\x1b[2K{line}" if live else line, err=True, nl=remains)


class QuietReporter:
    """Notes only: standard error is a file or a pipe."""

    on_step = None

    def start(self, stage: str, tasks: int, bytes: int) -> None: ...

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None:
        click.echo(text, err=True)


def reporter_for(progress: bool | None) -> TerminalReporter | QuietReporter:
    """The reporter that the user asked for; without a wish, progress shows on a terminal."""
    wanted = sys.stderr.isatty() if progress is None else progress
    return TerminalReporter() if wanted else QuietReporter()


# --- tables ----------------------------------------------------------------------------------------------------------


_PATHS = ("input", "output", "file")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Rows under headers; numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = [list(row) for row in rows]
    # Paths in a pipe are kept whole, so that they can be searched for and copied.
    whole_paths = [i for i, header in enumerate(headers) if header in _PATHS and not sys.stdout.isatty()]
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for i, header in enumerate(headers):
        numeric = all(isinstance(row[i], int | float) or row[i] in ("", None, "-") for row in rows)
        justify: Any = "right" if numeric else "left"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=i in whole_paths)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    longest = (max((len(str(row[i])) for row in rows), default=0) for i in whole_paths)
    console(more=sum(longest)).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


_WIDEST_PLAN = 8  # columns that a terminal has room for


def show_plan(stage: str, rows: list[dict[str, Any]]) -> None:
    """The plan of a stage; nothing was touched."""
    title = f"{stage}: plan"
    if len(rows) == 1 and len(rows[0]) > _WIDEST_PLAN:
        print_table(["setting", "value"], list(rows[0].items()), title=title)
        return
    print_table(list(rows[0]) if rows else ["nothing"], [list(row.values()) for row in rows], title=title)


def show_waiting(stage: str, before: list[str]) -> None:
    """A stage of a run whose plan cannot be made yet."""
    click.echo(f"{stage}: planned when {' and '.join(before)} {'is' if len(before) == 1 else 'are'} done\n")


def show_preview(preview: Preview) -> None:
    """What a mix would drop and keep; nothing was written."""
    for warning in preview.warnings:
        click.echo(f"warning: {warning}", err=True)
    show_ledger(preview.ledger)
    show_waterfall(preview)


def show_outcome(outcome: Outcome, *, brief: bool = False) -> None:
    """What a stage did: one line, and its ledger unless `brief`."""
    report = getattr(outcome.report, "report", outcome.report)
    waiting = getattr(report, "waiting", 0)
    label = outcome.stage if outcome.name == outcome.stage else f"{outcome.stage} {outcome.name}"
    if outcome.complete_before:
        click.echo(f"{label}: nothing to do, {outcome.folder} is complete and unchanged")
    elif waiting:
        click.echo(f"{label}: this part is done; {waiting} tasks wait for the other shards")
    else:
        click.echo(f"{label}: {_did(outcome)}")
    for warning in getattr(outcome.report, "warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    if not brief:
        _show_details(outcome, report)


_REPAIRS = {
    "not_finite": "NaN or infinite numbers written as null",
    "bytes_as_hex": "ids of bytes written in hexadecimal",
}


def _did(outcome: Outcome) -> str:
    report = getattr(outcome.report, "report", outcome.report)
    if outcome.stage == "train":
        return (
            f"{report.steps:,} steps, {report.tokens:,} tokens, "
            f"loss {report.first_loss:.3f} -> {report.last_loss:.3f}, {report.checkpoint}"
        )
    ledger = getattr(report, "ledger", None)
    if ledger is None:
        return outcome.folder
    total = ledger.total()
    text = f"{total.taken.documents:,} documents in, {total.out.documents:,} out"
    if total.out.tokens:
        text += f", {total.out.tokens:,} tokens"
    if total.failed:
        text += f", {total.failed:,} bad records left out"
    repaired = dict(ledger.repaired)
    others = {kind: repaired.pop(kind, 0) for kind in _REPAIRS}
    if n_damaged := sum(repaired.values()):
        text += f", {n_damaged:,} damaged characters replaced"
    for kind, n in others.items():
        text += f", {n:,} {_REPAIRS[kind]}" if n else ""
    if not outcome.folder:
        return text
    return f"{text}; {report.outputs:,} files, {report.bytes:,} bytes in {outcome.folder}"


def _show_details(outcome: Outcome, report: Any) -> None:
    ledger = getattr(report, "ledger", None)
    if outcome.stage == "stat":
        show_statistics(outcome.report)
    if ledger is None:
        return
    if outcome.stage in ("mix", "tokenize"):
        show_ledger(ledger)
    if outcome.stage == "mix":
        show_waterfall(outcome.report)
    if ledger.failed:
        print_table(
            ["file", "line", "reason"],
            [(f.file, f.line, f.reason) for f in ledger.failed[:10]],
            title="bad records (first ten)",
        )


def show_profile(profile: Profile | None) -> None:
    """Where the time of a tag run went."""
    if profile is None:
        click.echo("profile: nothing was left to run")
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
    click.echo(
        f"{profile.documents:,} documents, {profile.bytes / 1e6:,.1f} MB of text in {profile.elapsed:,.1f} s: "
        f"{profile.documents / elapsed:,.0f} documents/s, {profile.bytes / 1e6 / elapsed:,.1f} MB/s"
    )


def show_ledger(ledger: Ledger) -> None:
    """Documents and bytes in, dropped by reason, and out, per source."""
    rows: list[Sequence[Any]] = []
    for source, account in sorted(ledger.accounts.items()):
        rows.append((source, "in", account.taken.documents, account.taken.bytes, account.taken.tokens))
        for reason, tally in sorted(account.dropped.items()):
            rows.append((source, f"- {reason}", tally.documents, tally.bytes, tally.tokens))
        if account.failed:
            rows.append((source, "- bad record", account.failed, "", ""))
        rows.append((source, "out", account.out.documents, account.out.bytes, account.out.tokens))
    if not any(row[4] for row in rows):
        rows = [row[:4] for row in rows]
    print_table(["source", "", "documents", "bytes", "tokens"][: len(rows[0]) if rows else 4], rows, title="ledger")


def show_waterfall(report: Any) -> None:
    """What each rule drops first, and what it alone drops; then what sampled sources came to."""
    keys = ("rule", "source", "documents", "bytes", "alone", "samples")
    rows = [[_sampled(row[key]) for key in keys] for row in report.waterfall if row["documents"]]
    if rows:
        print_table(["rule", "source", "drops first", "bytes", "drops alone", "for example"], rows, title="rules")
    if report.shares:
        print_table(list(report.shares[0]), [list(row.values()) for row in report.shares], title="sources")


def _sampled(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list | tuple) else value


_DESCRIBED = ("attribute", "source", "count", "missing", "mean", "min", "q0.05", "q0.5", "q0.95", "max", "histogram")


def show_json(report: Any) -> None:
    """A report as JSON, nothing else."""
    encoded = report.to_json()
    click.echo(encoded if isinstance(encoded, str) else encoded.decode(), nl=False)


def show_statistics(report: Any) -> None:
    """What was read per source, what token shards hold per source, then every attribute."""
    for title, rows in (("documents", report.table()), ("token shards", report.token_table())):
        if rows:
            print_table(list(rows[0]), [list(row.values()) for row in rows], title=title)
    described = [row for row in report.attribute_table() if row.get("count") or not row["attribute"].endswith(".error")]
    if described:
        print_table(_DESCRIBED, [[_described(row, key) for key in _DESCRIBED] for row in described], title="attributes")


def _described(row: dict[str, Any], key: str) -> Any:
    if key == "histogram" and "top" in row:
        return ", ".join(f"{value[:24]} {count:,}" for value, count in list(row["top"].items())[:3])
    return row.get(key, "")


# --- a whole run -----------------------------------------------------------------------------------------------------


def show_run(recipe: Recipe, outcomes: list[Outcome]) -> None:
    """The end of `dolma run`: the ledger from raw documents to tokens, the loss, a sample, and what lies where."""
    if all(outcome.complete_before for outcome in outcomes):
        click.echo("\nnothing to do: every stage is complete and its settings and inputs are unchanged")
    by_stage = {outcome.stage: outcome for outcome in outcomes}
    _show_whole_ledger(by_stage)
    if "train" in by_stage:
        _show_training(recipe, by_stage["train"])
    click.echo("")
    for outcome in outcomes:
        click.echo(f"{outcome.name + ':':<14} {outcome.folder}")
    click.echo(f"{'recipe:':<14} {recipe.output}/recipe.yaml")


def _show_whole_ledger(by_stage: dict[str, Outcome]) -> None:
    ledgers = {
        stage: getattr(outcome.report, "report", outcome.report).ledger
        for stage, outcome in by_stage.items()
        if stage in ("mix", "tokenize")
    }
    if not ledgers:
        return
    first = ledgers.get("mix", ledgers.get("tokenize"))
    tokenized = ledgers.get("tokenize")
    assert first is not None
    rows: list[Sequence[Any]] = []
    for source, account in sorted(first.accounts.items()):
        encoded = tokenized.accounts.get(source) if tokenized is not None else None
        rate = encoded.out.bytes / encoded.out.tokens if encoded is not None and encoded.out.tokens else None

        def line(label: str, tally: Any, rate: float | None = rate, source: str = source) -> Sequence[Any]:
            estimate = f"~{tally.bytes / rate:,.0f}" if rate else "-"
            return (source, label, tally.documents, tally.bytes, estimate)

        rows.append(line("in", account.taken))
        rows.extend(line(f"- {reason}", tally) for reason, tally in sorted(account.dropped.items()))
        if account.failed:
            rows.append((source, "- bad record", account.failed, "", "-"))
        if account.written != account.out:
            rows.append(line("out, once each", account.out))
        if encoded is not None:
            rows.append((source, "out", encoded.out.documents, encoded.out.bytes, f"{encoded.out.tokens:,}"))
        else:
            rows.append(line("out", account.written))
    print_table(["source", "", "documents", "bytes", "tokens"], rows, title="ledger")
    if tokenized is not None:
        click.echo("~ tokens of text that was not encoded, from the source's bytes per token")


def _show_training(recipe: Recipe, outcome: Outcome) -> None:
    report = outcome.report
    click.echo(f"\nloss: {report.first_loss:.3f} at the start, {report.last_loss:.3f} after {report.steps:,} steps")
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if recipe.tokenize is not None and recipe.train is not None:
        from dolma.train import generate_text

        text = generate_text(
            report.checkpoint,
            recipe.tokenize.tokenizer,
            recipe.train.prompt,
            max_tokens=recipe.train.sample_tokens,
            seed=recipe.train.seed,
        )
        click.echo(f"sample: {text!r}")


def show_training_plan(plan: TrainPlan, *, as_json: bool) -> None:
    """What a training recipe would do and need."""
    if as_json:
        _show_struct(plan)
        return
    rows = [
        (s.name, s.steps, s.tokens, s.tokens_per_step, s.sequence_length, f"{s.epochs:.2f}", f"{s.flops:.3g}")
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
    hours = plan.seconds / 3600
    figures = [
        ("parameters", f"{plan.parameters:,} ({plan.active_parameters:,} active)"),
        ("steps, tokens", f"{plan.steps:,}, {plan.tokens:,}"),
        ("checkpoints that stay", ", ".join(f"step{step}" for step in plan.checkpoints)),
        ("a checkpoint, all at most", f"{plan.checkpoint_bytes / 1e9:.2f} GB, {plan.disk_bytes / 1e9:.2f} GB"),
        ("memory per device, estimate", f"{plan.memory_bytes / 1e9:.2f} GB on {plan.devices}"),
        ("FLOPs", f"{plan.flops:.3g}"),
        ("time at this MFU", f"{hours:,.1f} h" if hours >= 1 else f"{plan.seconds:,.1f} s"),
    ]
    print_table(["", ""], figures)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)


def _show_struct(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=1))


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
            ["source", "tokens", "bytes", "loss", "perplexity", "bits per byte"], held_out, title="held-out text"
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
            click.echo(msgspec.json.encode(row))
        return
    table = [(x.step, x.stage, x.window, x.source, x.id, f"{x.path}:{x.line}", f"{x.start}-{x.end}") for x in rows]
    print_table(["step", "stage", "window", "source", "document", "from", "tokens"], table)


# --- list, verify ----------------------------------------------------------------------------------------------------


def show_taggers(entries: Sequence[Entry], *, full: bool, as_json: bool) -> None:
    """The taggers by family, or all there is to know of some."""
    if as_json:
        click.echo(json.dumps([entry.as_json() for entry in entries], indent=1))
        return
    if full:
        for entry in entries:
            _show_tagger(entry)
        return
    width = max(len(entry.name) for entry in entries)
    for family, members in itertools.groupby(entries, key=lambda entry: entry.family):
        click.secho(family, bold=True)
        for entry in members:
            speed = "" if entry.megabytes_per_second is None else f"{entry.megabytes_per_second:,.0f}"
            notes = [f"needs {need.name}" for need in entry.needs] + [entry.languages] * bool(entry.languages)
            about = " ".join([entry.meaning or entry.problem, *(f"[{note}]" for note in notes)])
            click.echo(f"  {entry.name:<{width}}  {speed:>6}  {len(entry.outputs):>4}  {about}")
    click.echo(
        "columns: name, MB of text per second alone on one core, outputs, meaning [needs] [assumes]\n"
        "`dolma list NAME` shows the outputs; `dolma tag --help` how to add your own"
    )


def _show_tagger(entry: Entry) -> None:
    click.echo(f"{entry.name}: {entry.meaning}  ({entry.at})")
    if entry.languages:
        click.echo(f"  assumes: {entry.languages}")
    for need in entry.needs:
        click.echo(f"  needs {need.kind} {need.name}: {need.get}")
    if entry.megabytes_per_second is not None:
        click.echo(f"  speed: {entry.megabytes_per_second:,.0f} MB of text per second, alone on one core")
    keys = ("name", "kind", "unit", "range", "meaning")
    print_table(keys, [[out[key] for key in keys] for out in entry.outputs])


def show_verification(result: Verification) -> None:
    """What was checked, and every problem on a line."""
    for folder, n_files in result.checked:
        click.echo(f"{folder}: {n_files:,} files")
    for problem in result.problems:
        click.echo(f"problem: {problem}", err=True)
    if not result.problems:
        click.echo(f"ok: {result.files:,} files in {result.sets:,} file sets are as their manifests say")


def show_findings(findings: Sequence[Finding]) -> None:
    """What is there and what is missing, with the command that gets it."""
    for found in findings:
        click.echo(f"{'ok' if found.ok else 'missing':<8} {found.what}")
        if not found.ok:
            click.echo(f"         {found.get}")
