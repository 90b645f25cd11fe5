"""`dolma card`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.recipe_options import recipe_options

EXAMPLE = """
dolma card -c configs/quickstart.yaml --name 'Quickstart corpus'
dolma card -c configs/quickstart.yaml -o runs/quickstart-card.md
"""


@click.command("card", cls=ManualCommand, example=EXAMPLE)
@recipe_options
@option("--name", section="Output", metavar="NAME", help="Title of the card.  [default: name of the output folder]")
@option("-o", "--output", "file", section="Output", metavar="FILE", help="File to write.  [default: standard output]")
@click.pass_context
def command(ctx: click.Context, name: str | None, file: str | None, *, as_json: bool, **_: Any) -> None:
    """Write a dataset card: sources, licences, languages, sizes, what each rule removed, how to make it again.

    The card is Markdown with the front matter of Hugging Face. The recipe has to have been run.
    """
    import os

    from dolma.cli.printing import print_page
    from dolma.cli.session import recipe_of
    from dolma.cli.terminal import show_json, show_written
    from dolma.data import streams
    from dolma.lookup.card import card

    recipe = recipe_of(ctx)
    text = card(recipe, name=name or os.path.basename((recipe.output or "corpus").rstrip("/")))
    if file is not None:
        streams.write_bytes(file, text.encode())
        show_written(file, f"card: written to {file}", as_json=as_json)
    elif as_json:
        show_json({"card": text})
    else:
        print_page(text)
