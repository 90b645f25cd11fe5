"""`dolma dedupe`, and what it has found, to be looked at: `inspect`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import FiniteRange, ManualCommand, ManualGroup, option, stacked
from dolma.cli.recipe_options import input_options, recipe_options
from dolma.cli.stage_command import stage_command

command = stage_command("dedupe", cls=ManualGroup, invoke_without_command=True)

INSPECT_EXAMPLE = """
dolma dedupe inspect near --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
dolma dedupe inspect near --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a --pairs 20
"""


@command.command("inspect", cls=ManualCommand, example=INSPECT_EXAMPLE)
@click.argument("name", metavar="NAME")
@stacked(input_options, recipe_options)
@option("--pairs", section="Question", default=5, type=click.IntRange(min=1), help="Clusters to show, a pair of each.")
@option("--above", section="Question", default=0.0, type=FiniteRange(0, 1), help="Least similarity of a pair.")
@option("--below", section="Question", default=1.0, type=FiniteRange(0, 1), help="Greatest similarity of a pair.")
@option("--reference", section="Question", multiple=True, metavar="PATTERN", help="References that were given.")
@click.pass_context
def inspect(
    ctx: click.Context,
    name: str,
    pairs: int,
    above: float,
    below: float,
    reference: tuple[str, ...],
    *,
    as_json: bool,
    **_: Any,
) -> None:
    """Show duplicates beside the documents that are kept, the least similar first: is the threshold right?

    NAME is the attribute set, such as `near`.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.terminal import show_pairs
    from dolma.data.dataset import Dataset
    from dolma.dedupers.inspection import inspect
    from dolma.graph import corpus_of, reading_of

    recipe = recipe_of(ctx)
    found = inspect(
        corpus_of(recipe),
        name,
        pairs=pairs,
        above=above,
        below=below,
        reading=reading_of(recipe),
        reference=Dataset(documents=reference) if reference else None,
    )
    show_pairs(found, as_json=as_json)
