"""`dolma report`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.recipe_options import recipe_options

EXAMPLE = """
dolma report -c configs/quickstart.yaml -o report.html
dolma report -c configs/quickstart.yaml -o report.html --no-text
"""


@click.command("report", cls=ManualCommand, example=EXAMPLE)
@recipe_options
@option("-o", "--output", "file", section="Output", metavar="FILE", required=True, help="HTML file to write.")
@option(
    "--text/--no-text",
    section="Output",
    default=True,
    help="Show texts near thresholds, and their ids.  [default: text]",
    show_default=False,
)
@option("--show-pii", section="Output", is_flag=True, show_default=False, help="Do not mask personal data in texts.")
@click.pass_context
def command(ctx: click.Context, file: str, text: bool, show_pii: bool, *, as_json: bool, **_: Any) -> None:
    """Write a report on what a recipe made: one HTML file without script, which opens from disk.

    It has the flow of documents through the rules, the ledger, the mixture, attributes with the thresholds of the
    recipe, copies, texts on both sides of each threshold, the loss, and the recipe.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.terminal import show_written
    from dolma.data import streams
    from dolma.graph import corpus_of
    from dolma.lookup.documents import index_folder
    from dolma.lookup.report import report

    recipe = recipe_of(ctx)
    dataset = corpus_of(recipe)
    home = index_folder(dataset, dataset.shards(), recipe.output)
    index = None if home is None else streams.join(home, "documents")
    page = report(recipe, index=index, texts=text, show_pii=show_pii).encode()
    streams.write_bytes(file, page)
    show_written(file, f"report: {len(page):,} bytes in {file}", as_json=as_json)
