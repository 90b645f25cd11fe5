"""`dolma list`."""

from __future__ import annotations

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.printing import print_page

EXAMPLE = """
dolma list
dolma list gopher
"""


@click.command("list", cls=ManualCommand, example=EXAMPLE)
@click.argument("names", nargs=-1, metavar="[TAGGER]...")
@option(
    "--markdown", section="Output", is_flag=True, show_default=False, help="Print docs/taggers.md: all built-in ones."
)
def command(names: tuple[str, ...], *, as_json: bool, markdown: bool) -> None:
    """Show the taggers: what they measure, need and assume, and how fast they are; with a name, all of its outputs."""
    from dolma.cli.terminal import show_taggers
    from dolma.taggers.catalogue import catalogue, manual

    if markdown:
        print_page(manual())
        return
    show_taggers(catalogue(names), full=bool(names), as_json=as_json)
