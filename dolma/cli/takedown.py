"""`dolma takedown`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.recipe_options import recipe_options
from dolma.cli.session import recipe_of, without_recipe

EXAMPLE = """
dolma takedown -c configs/quickstart.yaml --rule "document.id = 'moby/chapter_28'" --read-only data --dry-run
dolma takedown -c configs/quickstart.yaml --rule "document.id = 'moby/chapter_28'" --read-only data
"""


@click.command("takedown", cls=ManualCommand, example=EXAMPLE)
@click.argument("folders", type=click.Path(), nargs=-1, metavar="[FOLDER]...")
@option("--ids", section="Which documents", metavar="FILE", help="Those of these ids, one on each line.")
@option(
    "--domains",
    section="Which documents",
    metavar="FILE",
    help="Those whose URL is of one of these domains, one on each line, or of a subdomain.",
)
@option("--rule", section="Which documents", metavar="SQL", help="Those of which this is true, as rules of a mix are.")
@option(
    "--with-cluster",
    section="Which documents",
    metavar="ATTRIBUTE",
    multiple=True,
    commas=True,
    help="And those in a cluster with one of them, such as near.cluster. Repeatable.",
)
@option(
    "--url-field",
    section="Which documents",
    metavar="NAME",
    multiple=True,
    commas=True,
    help="Field with the URL of a document. Repeatable.  [default: metadata.url, url]",
)
@option(section="Where", key="documents")
@option(section="Where", key="exclude")
@option(section="Where", key="attributes")
@option(section="Where", key="takedown")
@option("--text-field", section="Where", key="fields.text")
@option("--id-field", section="Where", key="fields.id")
@option("--source-field", section="Where", key="fields.source")
@option(
    "--read-only",
    section="Where",
    metavar="PATTERN",
    multiple=True,
    help="Document files that stay as they are; stages pass over what is on the list. Repeatable.",
)
@option(
    "--tokens",
    section="How",
    type=click.Choice(["pad", "rewrite"]),
    default="pad",
    help="Tokens become padding where they are, or shards are written again without them.",
)
@option("--dry-run", section="How", is_flag=True, show_default=False, help="Say what would go, and touch nothing.")
@recipe_options
@click.pass_context
def command(ctx: click.Context, folders: tuple[str, ...], *, as_json: bool, dry_run: bool, **given: Any) -> None:
    """Take documents out of everything that a recipe reads and has written, or that lies in folders.

    Finished stages stay finished, `dolma verify` passes, and no later run brings the documents back. It is done as a
    whole or not at all: what was interrupted is finished by the same command.
    """
    from dolma.cli.terminal import show_receipt
    from dolma.removal.asked import read_asked
    from dolma.removal.takedown import takedown

    folders = tuple(without_recipe(ctx, folders))
    asked = read_asked(
        ids=given["ids"],
        domains=given["domains"],
        rule=given["rule"],
        clusters=tuple(given["with_cluster"]),
        urls=tuple(given["url_field"]),
    )
    recipe = recipe_of(ctx)
    receipt = takedown(recipe, folders, asked, read_only=given["read_only"], tokens=given["tokens"], dry_run=dry_run)
    show_receipt(receipt, as_json=as_json)
