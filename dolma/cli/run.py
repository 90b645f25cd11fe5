"""`dolma run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.options import ManualCommand, option, overrides_of
from dolma.cli.printing import say_warnings
from dolma.cli.recipe_options import bad_record_options, input_options, recipe_options, running_options, seed_option
from dolma.cli.session import recipe_of, run_stages, running_of, say_left_out, take_recipe
from dolma.errors import ConfigError

if TYPE_CHECKING:
    from dolma.runner.report import StageReport

EXAMPLE = """
dolma run configs/quickstart.yaml
dolma run configs/quickstart.yaml --dry-run
dolma run configs/quickstart.yaml --status
"""


@click.command("run", cls=ManualCommand, example=EXAMPLE)
@click.argument("recipe_path", type=click.Path(), metavar="[RECIPE]", required=False)
@option("-o", "--output", section="Output", key="output", metavar="DIR", help="Folder for everything that is written.")
@option("--from", "start", section="Stages", metavar="NAME", help="Run this stage and those that read what it writes.")
@option("--only", section="Stages", metavar="NAME", multiple=True, help="Run this stage. Repeatable.")
@input_options
@recipe_options
@bad_record_options
@seed_option
@option(
    "--status",
    section="Output",
    is_flag=True,
    show_default=False,
    help="Show how far each stage and shard is, of a recipe or of an output folder.",
)
@running_options
@click.pass_context
def command(ctx: click.Context, recipe_path: str | None, **_: Any) -> None:
    """Go through all stages of a recipe, in order; only what changed runs again."""
    from dolma.cli.terminal import (
        show_graph,
        show_json,
        show_plan,
        show_replaced,
        show_report,
        show_run,
        show_statuses,
        show_waiting,
    )
    from dolma.graph import corpus_of, graph_of
    from dolma.pipeline import plan_node, prepare, waits_for

    if recipe_path is not None and ctx.params["status"] and os.path.isdir(recipe_path):
        show_statuses([recipe_path], as_json=ctx.params["as_json"])
        return
    if recipe_path is not None:
        take_recipe(ctx, recipe_path)
    if not (ctx.params["config"] or (ctx.obj or {}).get("config") or overrides_of(ctx)):
        raise ConfigError("no recipe given\n  name one: `dolma run configs/quickstart.yaml`")
    recipe = recipe_of(ctx)
    if ctx.params["status"] and recipe.output is not None:
        folders = [recipe.output, *([] if recipe.attributes is None else [recipe.attributes])]
        show_statuses(folders, as_json=ctx.params["as_json"], nodes=list(graph_of(recipe)))
        return
    running_of(ctx, recipe)  # refuses what no stage can run with, also where none runs now
    run = prepare(recipe, start=ctx.params["start"], only=ctx.params["only"])
    if recipe.documents:
        say_left_out(corpus_of(recipe))
    say_warnings(run.doubts)
    say_warnings([f"{name} does not run, and is not up to date: {why}" for name, why in run.stale.items()])
    as_json = ctx.params["as_json"]
    if ctx.params["dry_run"]:
        show_replaced(run.replaced)
        waiting = {node.name: waits_for(run.graph, node) for node in run.chosen}
        replacing = running_of(ctx, recipe) if ctx.params["overwrite"] else None
        plans = {node.name: None if waiting[node.name] else plan_node(node, replacing) for node in run.chosen}
        if as_json:
            show_json({"replaced": run.replaced, "waits_for": waiting, "plan": plans})
            return
        show_graph(run.graph)
        for node in run.chosen:
            if (plan := plans[node.name]) is None:
                show_waiting(node, waiting[node.name])
            else:
                show_plan(node, plan)
        return
    reports: dict[str, list[StageReport[Any]]] = {}
    overwrite = ctx.params["overwrite"]
    if overwrite:
        show_replaced(run.replaced)
    stages = run.go(
        lambda node, replaces: run_stages(node, running_of(ctx, recipe, overwrite=replaces)), overwrite=overwrite
    )
    for node, report in stages:
        reports.setdefault(node.name, []).append(report)
        if not as_json:
            show_report(report, brief=True)
    if as_json:
        show_json({"reports": reports, "recipe": f"{recipe.output}/recipe.yaml"})
    else:
        show_run(recipe, [(run.graph[name], report) for name, found in reports.items() for report in found])
    run.accept(reports)
