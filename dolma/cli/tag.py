"""`dolma tag`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import (
    ManualCommand,
    bad_record_options,
    input_options,
    json_option,
    option,
    recipe_options,
    running_options,
)
from dolma.cli.session import run_command

EXAMPLE = """
dolma tag --taggers length --taggers gopher --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
dolma tag -c configs/quickstart.yaml --workers 2
"""


@click.command("tag", cls=ManualCommand, example=EXAMPLE)
@input_options
@option("-t", "--taggers", section="Tagging", key="tag.taggers", metavar="NAME")
@option(section="Tagging", key="tag.attributes_format")
@option(section="Tagging", key="tag.experiment", metavar="NAME")
@option(section="Documents that fail", key="tag.max_document_bytes", metavar="N")
@option(section="Documents that fail", key="tag.max_seconds_per_document", metavar="SECONDS")
@option(section="Documents that fail", key="tag.on_tagger_error")
@recipe_options
@bad_record_options
@option("--profile", section="Output", is_flag=True, show_default=False, help="Show where the time went, by tagger.")
@json_option
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Measure documents: one row per document, in files beside them.

    Taggers have no thresholds; `mix` has. All taggers of a call share one pass over the text, and those whose
    attributes are there already are not run again.
    """
    run_command(ctx, "tag", section=["--taggers", "--documents"])
