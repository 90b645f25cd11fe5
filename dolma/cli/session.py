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
from dolma.cli.options import is_given, overrides_of
from dolma.cli.printing import say, say_warnings, tell
from dolma.config import Recipe, make_recipe, read_recipe
from dolma.errors import ConfigError
from dolma.printable import printable

if TYPE_CHECKING:
    from dolma.data.dataset import Dataset
    from dolma.runner.report import StageReport
    from dolma.stages import Node, Running


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


def take_recipe(ctx: click.Context, path: str) -> None:
    """Go on as if `-c` named this recipe.

    Raises:
        ConfigError: it names another one.
    """
    if ctx.params["config"] not in (None, path):
        raise ConfigError(f"two recipes: {printable(path)} and {printable(ctx.params['config'])}\n  name one")
    ctx.params["config"] = path


def without_recipe(ctx: click.Context, given: Sequence[str]) -> list[str]:
    """The folders and URLs among what was given; a file is taken for the recipe."""
    for path in filter(os.path.isfile, given):
        take_recipe(ctx, path)
    return [path for path in given if not os.path.isfile(path)]


def running_of(ctx: click.Context, recipe: Recipe, *, overwrite: bool = False) -> Running:
    """How this command runs its stages."""
    from dolma.cli.terminal import reporter_for
    from dolma.runner.options import RunOptions
    from dolma.stages import Running

    params = ctx.params
    given = {key: params[key] for key in RunOptions.__struct_fields__ if params.get(key) is not None}
    given |= {key: getattr(recipe, key) for key in ("workers", "executor", "address", "max_errors")}
    options = RunOptions.of(**given | {"apart": True, "overwrite": overwrite or bool(params.get("overwrite"))})
    reporter = reporter_for(params.get("progress"))
    return Running(options=options, reporter=reporter, on_step=reporter.on_step)


def run_command(ctx: click.Context, name: str, *, section: Sequence[str] = ()) -> None:
    """Run one stage as its own command: `--output` is the stage's folder, otherwise the recipe's.

    `section` are the options that the stage cannot do without.
    """
    from dolma.cli.terminal import (
        show_explanation,
        show_json,
        show_plan,
        show_preview,
        show_profile,
        show_report,
        show_rows,
        show_tables,
    )
    from dolma.graph import node_of
    from dolma.pipeline import plan_node, write_recipe_beside
    from dolma.stages import find_stage

    overrides, given_output = overrides_of(ctx), ctx.params.get("output")
    if given_output is not None:
        del overrides["output"]
    recipe = recipe_of(ctx, overrides)
    if name not in recipe.given and find_stage(name).bare and not recipe.stages:
        recipe = recipe_of(ctx, overrides | {name: {}})
    if name not in recipe.given:
        raise _nothing_to_do(ctx, recipe, name, section)
    node = node_of(recipe, name, output=given_output, tokens=ctx.params.get("tokens"))
    if ctx.params.get("explain"):
        show_explanation(node, as_json=ctx.params["as_json"])
        return
    if (sql := ctx.params.get("sql")) is not None:
        _check_alone(ctx, name)
        from dolma.api.corpus import Corpus
        from dolma.api.query import select

        show_rows(select(Corpus.of(recipe).joined, sql, path="--sql"), as_json=ctx.params["as_json"])
        return
    running = running_of(ctx, recipe)
    if "documents" in node.stage.reads:
        say_left_out(node.dataset)
    if asked := _asked(ctx):
        with beginning(node, running):
            answers = list(node.what_if(running, **asked))
        show_tables(answers, as_json=ctx.params["as_json"])
        return
    if ctx.params.get("dry_run"):
        with beginning(node, running):
            plan = plan_node(node, running)
            preview = node.preview(running)
        if ctx.params.get("as_json"):
            show_json({"plan": plan} | ({"preview": preview} if preview is not None else {}))
            return
        show_plan(node, plan)
        if preview is not None:
            show_preview(preview)
        return
    for report in run_stages(node, running):
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
        node.accept(report, recipe.max_errors)


def _check_alone(ctx: click.Context, name: str) -> None:
    """Return unless options of the stage itself are given, which do nothing beside `--sql`."""
    for param in ctx.command.params:
        key = getattr(param, "key", None) or ""
        if is_given(ctx, param) and (key == "output" or key.startswith(f"{name}.")):
            raise ConfigError(f"does nothing beside --sql\n  leave {param.opts[0]} out", path=param.opts[0])


def _asked(ctx: click.Context) -> dict[str, Any]:
    """What `--what-if` asks.

    Raises:
        ConfigError: an option that belongs to it stands alone.
    """
    given = {name: ctx.params.get(name) for name in ("target_tokens", "labels")}
    if sweeps := ctx.params.get("sweeps"):
        return {"sweeps": sweeps, **given}
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                "is about the thresholds of --what-if, which is not given\n  give --what-if 'length.words >= {20,50}'",
                path=f"--{name.replace('_', '-')}",
            )
    return {}


def _nothing_to_do(ctx: click.Context, recipe: Recipe, name: str, section: Sequence[str]) -> ConfigError:
    if recipe.stages:
        return ConfigError(
            f"the stages of this recipe have names, and `dolma {name}` runs none of them"
            f"\n  run one by its name: `dolma run RECIPE --only {next(iter(recipe.stages))}`"
        )
    wanted = [flag for flag in section if not _is_given(ctx, flag)]
    return ConfigError(f"nothing says what to {name}\n  give {' and '.join(wanted)}, or `-c` a recipe with `{name}:`")


def _is_given(ctx: click.Context, flag: str) -> bool:
    name = next(param.name or "" for param in ctx.command.params if flag in param.opts)
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def say_left_out(dataset: Dataset) -> None:
    """Print which files and folders the patterns match that are not read."""
    from dolma.data.discovery import describe, unmatched

    left_out = dataset.left_out()
    if said := describe(left_out):
        tell("info", f"left out: {said}")
    say_warnings(f"--exclude {pattern!r} leaves nothing out" for pattern in unmatched(dataset.exclude, left_out))


@contextmanager
def beginning(node: Node, running: Running) -> Iterator[None]:
    """While entered, and until there is progress to show, the terminal shows what the stage begins with."""
    assert running.reporter is not None
    running.reporter.doing(f"{node.label}: {node.stage.beginning} ...")
    try:
        yield
    finally:
        running.reporter.finish()


def run_stages(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    """`pipeline.run_node`; a stage that can stop ends well at the first Ctrl-C or SIGTERM.

    Raises:
        KeyboardInterrupt: it was stopped so; what it had done is saved.
    """
    from dolma.pipeline import run_node

    if not node.stage.stops:
        with beginning(node, running):
            coming = run_node(node, running)
            first = list(islice(coming, 1))
        yield from first
        yield from coming
        return
    with StopOnSignal(note="stopping after this step; once more stops at once") as stop, beginning(node, running):
        reports = list(run_node(node, replace(running, stop=stop)))
    for report in reports:
        if report.stopped:
            say(f"{report.label}: {report.stopped}")
            raise KeyboardInterrupt
        yield report
