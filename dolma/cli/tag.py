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
@option(
    "-t",
    "--taggers",
    section="Tagging",
    key="tag.taggers",
    metavar="NAME",
    multiple=True,
    help="Tagger: a name from `dolma list`, FILE.py, FILE.py:NAME or MODULE:NAME. Repeatable.",
)
@option(
    "--attributes-format",
    section="Tagging",
    key="tag.attributes_format",
    type=click.Choice(["parquet", "dolma1"]),
    help="Native, or the JSONL of Dolma 1.x.  [default: parquet]",
)
@option(
    "--experiment",
    section="Tagging",
    key="tag.experiment",
    metavar="NAME",
    help="First part of the keys of `--attributes-format dolma1`.  [default: the tagger's name]",
)
@option(
    "--max-document-bytes",
    section="Documents that fail",
    key="tag.max_document_bytes",
    type=click.IntRange(min=0),
    metavar="N",
    help="A longer text gets no values, and an error.  [default: no limit]",
)
@option(
    "--max-seconds-per-document",
    section="Documents that fail",
    key="tag.max_seconds_per_document",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="A tagger that takes longer gives no values, and an error; 0: no limit.  [default: 60]",
)
@option(
    "--on-tagger-error",
    section="Documents that fail",
    key="tag.on_tagger_error",
    type=click.Choice(["keep", "fail"]),
    help="A document that a tagger fails on: kept, with an error for values; or the run stops.  [default: keep]",
)
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
