"""`dolma run`."""

from __future__ import annotations

import os
from typing import Any

import click

from dolma.cli.options import (
    ManualCommand,
    bad_record_options,
    input_options,
    option,
    overrides_of,
    recipe_options,
    running_options,
    seed_option,
)
from dolma.cli.printing import say_warnings
from dolma.cli.session import recipe_of, run_stages, running_of, say_left_out
from dolma.errors import ConfigError
from dolma.printable import printable

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
    from dolma.pipeline import (
        check,
        check_corpus,
        chosen_of,
        doubts,
        made_again,
        plan_node,
        refuse_replacing,
        replaced_of,
        waits_for,
        write_recipe,
        writes_within_output,
    )
    from dolma.stages import PACKAGES

    if recipe_path is not None and ctx.params["status"] and os.path.isdir(recipe_path):
        show_statuses([recipe_path], as_json=ctx.params["as_json"])
        return
    if recipe_path is not None:
        if ctx.params["config"] not in (None, recipe_path):
            raise ConfigError(f"two recipes: {printable(recipe_path)} and {ctx.params['config']}\n  name one")
        ctx.params["config"] = recipe_path
    if not (ctx.params["config"] or (ctx.obj or {}).get("config") or overrides_of(ctx)):
        raise ConfigError("no recipe given\n  name one: `dolma run configs/quickstart.yaml`")
    recipe = recipe_of(ctx)
    graph = graph_of(recipe)
    if not len(graph):
        raise ConfigError(f"the recipe has no stage\n  it needs one of {', '.join(PACKAGES)}")
    if recipe.output is None:
        raise ConfigError("the recipe names no output folder\n  add `output: runs/name`, or give `--output DIR`")
    if ctx.params["status"]:
        folders = [recipe.output, *([] if recipe.attributes is None else [recipe.attributes])]
        show_statuses(folders, as_json=ctx.params["as_json"])
        return
    check(graph)
    if recipe.documents:
        say_left_out(corpus_of(recipe))
    say_warnings(doubts(graph))
    chosen = chosen_of(graph, start=ctx.params["start"], only=ctx.params["only"])
    if len(chosen) < len(graph):
        stale = {name: why for name, why in made_again(graph).items() if name not in chosen}
        say_warnings([f"{name} does not run, and is not up to date: {why}" for name, why in stale.items()])
    again = replaced_of(chosen)
    as_json = ctx.params["as_json"]
    if ctx.params["dry_run"]:
        show_replaced(again)
        if as_json:
            waiting = {node.name: waits_for(graph, node) for node in chosen}
            plans = {node.name: None if waiting[node.name] else plan_node(node) for node in chosen}
            show_json({"replaced": again, "waits_for": waiting, "plan": plans})
            return
        show_graph(graph)
        for node in chosen:
            if before := waits_for(graph, node):
                show_waiting(node, before)
            else:
                show_plan(node, plan_node(node))
        return
    if not ctx.params["overwrite"]:
        refuse_replacing(again)
    show_replaced(again)
    ours = write_recipe(recipe)
    done = []
    for node in chosen:
        running = running_of(ctx, recipe, overwrite=ours and not node.stage.kept and writes_within_output(node))
        for report in run_stages(node, running):
            done.append((node, report))
            if not as_json:
                show_report(report, brief=True)
            report.check_skipped(recipe.max_errors)
            check_corpus(graph, node, report)
    if as_json:
        by_name = {node.name: [report for other, report in done if other is node] for node, _ in done}
        show_json({"reports": by_name, "recipe": f"{recipe.output}/recipe.yaml"})
    else:
        show_run(recipe, done)
    for node, report in done:
        node.accept(report, recipe.max_errors)
