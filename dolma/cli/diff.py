"""`dolma diff`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option

EXAMPLE = """
dolma diff data/sample/books runs/quickstart/mixed
dolma diff data/sample/books data/sample/forum --examples 20
"""


@click.command("diff", cls=ManualCommand, example=EXAMPLE)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@option("--text-field", section="Input", key="fields.text")
@option("--id-field", section="Input", key="fields.id")
@option("--source-field", section="Input", key="fields.source")
@option("--examples", section="Output", type=click.IntRange(min=0), default=5, help="Ids to print of each kind.")
@click.pass_context
def command(ctx: click.Context, a: str, b: str, examples: int, *, as_json: bool, **_: Any) -> None:
    """Compare two versions: documents and tokens gained, lost, changed and renamed, by source and by reason.

    A and B are folders of documents, mixes, folders of token shards, or two recipes: their settings and last mixes.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.showing import show_diff
    from dolma.graph import reading_of
    from dolma.lookup.diff import diff
    from dolma.lookup.recipes import recipes_of

    settings, a, b = recipes_of(a, b)
    found = diff(a, b, reading=reading_of(recipe_of(ctx)), examples=examples)
    found.settings = settings or found.settings
    show_diff(found, as_json=as_json)
