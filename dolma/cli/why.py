"""`dolma why`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, stacked
from dolma.cli.recipe_options import input_options, recipe_options

EXAMPLE = """
dolma why moby/chapter_28 -c configs/quickstart.yaml
dolma why data/sample/books/documents/registry-0000.jsonl.gz:3 -c configs/quickstart.yaml
"""


@click.command("why", cls=ManualCommand, example=EXAMPLE)
@click.argument("document", metavar="ID")
@stacked(input_options, recipe_options)
@click.pass_context
def command(ctx: click.Context, document: str, *, as_json: bool, **_: Any) -> None:
    """Say what became of a document: what was measured, which rules dropped it, where it was written, and its tokens.

    ID is the id of a document, or FILE:LINE. The recipe says which stages there are; their folders follow from it.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.showing import show_stations
    from dolma.cli.terminal import reporter_for
    from dolma.graph import corpus_of, graph_of, reading_of
    from dolma.lookup.why import trail, why

    recipe = recipe_of(ctx)
    corpus = trail(graph_of(recipe), corpus_of(recipe), reading_of(recipe))
    found = why(corpus, document, output=recipe.output, reporter=reporter_for(None))
    show_stations(found, as_json=as_json)
