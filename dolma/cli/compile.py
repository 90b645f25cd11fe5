"""`dolma compile`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.printing import LOG, say, say_warnings
from dolma.cli.recipe_options import recipe_options
from dolma.cli.session import recipe_of
from dolma.errors import ConfigError

EXAMPLE = """
dolma compile -c configs/quickstart.yaml
"""


@click.command("compile", cls=ManualCommand, example=EXAMPLE)
@recipe_options
@option("--all", "everything", section="What", is_flag=True, show_default=False, help="All that is built in.")
@option(
    "--cache",
    section="Output",
    metavar="DIR",
    help="Folder for the code; later commands find it by the same NUMBA_CACHE_DIR.  [default: beside the package]",
)
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Compile kernels ahead, for a container image or for nodes without a shared home folder.

    Each later command would compile what it meets first, for up to a minute. The code is that of one kind of processor.
    """
    from dolma.cli.terminal import reporter_for, show_json
    from dolma.compilation import code_kept_in, compile_ahead, everything

    named = bool(ctx.params["config"] or (ctx.obj or {}).get("config") or ctx.params["assignments"])
    if named == ctx.params["everything"]:
        raise ConfigError("nothing says what to compile\n  give a recipe, `-c recipe.yaml`, or `--all`; not both")
    recipe = everything() if ctx.params["everything"] else recipe_of(ctx)
    with code_kept_in(ctx.params["cache"]) as cache:
        done = []
        for stage, trouble in compile_ahead(recipe, reporter=reporter_for(None)):
            done.append({"stage": stage, "trouble": trouble})
            if not (LOG.quiet or ctx.params["as_json"]):
                say(f"{stage}: compiled")
            if trouble:
                say_warnings(
                    [f"{stage}: ended early on the small documents, so some may be left to compile: {trouble}"]
                )
    if ctx.params["as_json"]:
        show_json({"compiled": done, "environment": cache})
    elif cache and not LOG.quiet:
        say(f"set {cache} where you run dolma")
