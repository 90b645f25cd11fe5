"""What every stage command does around its stage: recipe, plan, run, summary, exit status."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.interrupts import StopOnSignal
from dolma.cli.options import overrides_of, parse_shard
from dolma.cli.printing import say
from dolma.config import Recipe, make_recipe, read_recipe
from dolma.errors import ConfigError

if TYPE_CHECKING:
    from dolma.data.dataset import Dataset
    from dolma.pipeline import Running
    from dolma.runner.report import StageReport


def recipe_of(ctx: click.Context, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe that `-c` names, before or after the command, with the flags put over it.

    Raises:
        ConfigError: two different recipes are named, or the recipe is wrong.
    """
    before, after = (ctx.obj or {}).get("config"), ctx.params.get("config")
    if before and after and before != after:
        raise ConfigError(f"two recipes: {before} before the command, {after} after it\n  name one")
    overrides = overrides_of(ctx) if overrides is None else overrides
    path = after or before
    return read_recipe(path, overrides) if path else make_recipe({}, overrides)


def running_of(ctx: click.Context, recipe: Recipe, *, overwrite: bool = False) -> Running:
    """How this command runs its stages."""
    from dolma.cli.terminal import reporter_for
    from dolma.pipeline import Running
    from dolma.runner.options import RunOptions, bytes_of

    params = ctx.params
    options = RunOptions(
        workers=recipe.workers,
        executor=recipe.executor,
        address=recipe.address,
        shard=parse_shard(params.get("shard")),
        wait=params.get("wait", True),
        take_over=params.get("take_over", ()),
        overwrite=overwrite or bool(params.get("overwrite")),
        check_inputs=bool(params.get("check_inputs")),
        max_errors=recipe.max_errors,
        stall_after=60 * params.get("stall_after", 30.0),
        work_dir=params.get("work_dir"),
        progress=params.get("progress"),
        max_memory=bytes_of(params["max_memory"]) if params.get("max_memory") else None,
    )
    reporter = reporter_for(params.get("progress"))
    return Running(options=options, reporter=reporter, on_step=reporter.on_step, tokens=params.get("tokens"))


def run_command(ctx: click.Context, stage: str, *, section: Sequence[str] = ()) -> None:
    """Run one stage as its own command: `--output` is the stage's folder, otherwise the recipe's.

    `section` are the options that the stage cannot do without.
    """
    from dolma.cli.terminal import show_json, show_plan, show_preview, show_profile, show_report
    from dolma.pipeline import input_of, plan_stage, preview_mix, write_recipe_beside

    overrides = overrides_of(ctx)
    given_output = overrides.pop("output", None)
    recipe = recipe_of(ctx, overrides)
    if getattr(recipe, stage) is None and stage in ("dedupe", "stat"):
        recipe = recipe_of(ctx, overrides | {f"{stage}": {}})  # all of their settings have defaults
    if getattr(recipe, stage) is None:
        wanted = [flag for flag in section if not _is_given(ctx, flag)]
        raise ConfigError(
            f"nothing says what to {stage}\n  give {' and '.join(wanted)}, or `-c` a recipe with `{stage}:`"
        )
    running = running_of(ctx, recipe)
    if stage != "train":
        say_left_out(input_of(recipe, stage, output=given_output))
    if ctx.params.get("dry_run"):
        with beginning(stage, running):
            plan = plan_stage(recipe, stage, output=given_output)
            preview = preview_mix(recipe, running) if stage == "mix" else None
        if ctx.params.get("as_json"):
            show_json({"plan": plan} | ({"preview": preview} if preview is not None else {}))
            return
        show_plan(stage, plan)
        if preview is not None:
            show_preview(preview)
        return
    for report in run_stages(recipe, stage, running, output=given_output):
        if os.environ.get("RANK", "0") != "0":
            continue  # started by torchrun: the first process speaks for all
        write_recipe_beside(recipe, report)
        if ctx.params.get("as_json"):
            show_json(report)
        else:
            show_report(report)
            if ctx.params.get("profile"):
                show_profile(report.details.profile)
        report.check_skipped(recipe.max_errors)
        check_measured([report], recipe)


def _is_given(ctx: click.Context, flag: str) -> bool:
    name = next(param.name or "" for param in ctx.command.params if flag in param.opts)
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def say_left_out(dataset: Dataset) -> None:
    """Print which files and folders the patterns match that are not read."""
    from dolma.data.discovery import describe

    if said := describe(dataset.left_out()):
        say(f"left out: {said}", err=True)


_BEGINNING = {
    "tag": "loading taggers, looking at the documents",
    "dedupe": "looking at the documents",
    "mix": "checking rules, looking at documents and attributes",
    "tokenize": "loading the tokenizer, looking at the documents",
    "train": "loading torch, looking at the token shards",
    "stat": "looking at documents and attributes",
}


@contextmanager
def beginning(stage: str, running: Running) -> Iterator[None]:
    """While entered, and until there is progress to show, the terminal shows what the stage begins with."""
    assert running.reporter is not None
    running.reporter.doing(f"{stage}: {_BEGINNING[stage]} ...")
    try:
        yield
    finally:
        running.reporter.finish()


def run_stages(
    recipe: Recipe, stage: str, running: Running, *, output: str | None = None
) -> Iterator[StageReport[Any]]:
    """`pipeline.run_stage`, with training ending well at the first Ctrl-C or SIGTERM.

    Raises:
        KeyboardInterrupt: training was stopped so; what it had done is saved.
    """
    from dolma.pipeline import run_stage

    if stage != "train":
        with beginning(stage, running):
            coming = run_stage(recipe, stage, running, output=output)
            first = list(islice(coming, 1))
        yield from first
        yield from coming
        return
    with StopOnSignal(note="stopping after this step; once more stops at once") as stop, beginning(stage, running):
        reports = list(run_stage(recipe, stage, replace(running, stop=stop), output=output))
    for report in reports:
        if report.stopped:
            say(f"{report.label}: {report.stopped}")
            raise KeyboardInterrupt
        yield report


def check_measured(reports: Sequence[StageReport[Any]], recipe: Recipe) -> None:
    """Return when taggers failed on no more documents than the recipe allows.

    Raises:
        UnmeasuredError: they did.
    """
    from dolma.taggers import tag

    for report in reports:
        if report.stage == "tag":
            tag.check_measured(report, recipe.max_errors)
