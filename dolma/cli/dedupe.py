"""`dolma dedupe`."""

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
dolma dedupe --by text --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
dolma dedupe --by paragraphs --name paragraphs --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
"""


@click.command("dedupe", cls=ManualCommand, example=EXAMPLE)
@input_options
@option(
    "--by",
    section="Copies",
    key="dedupe.by",
    metavar="KEY",
    help="What must be equal: text, paragraphs, or a field such as metadata.url.  [default: text]",
)
@option(
    "--name", section="Copies", key="dedupe.name", metavar="NAME", help="What rules call the answer.  [default: dedupe]"
)
@option(
    "--skip-empty/--keep-empty",
    section="Copies",
    key="dedupe.skip_empty",
    default=None,
    show_default=False,
    help="Whether blank text is nobody's copy.  [default: skip]",
)
@option(
    "--min-length",
    section="Copies",
    key="dedupe.min_length",
    type=click.IntRange(min=0),
    help="Code points below which a text is nobody's copy.  [default: 0]",
)
@option(
    "--min-words",
    section="Copies",
    key="dedupe.min_words",
    type=click.IntRange(min=0),
    help="Words below which a text is nobody's copy.  [default: 0]",
)
@option(
    "--attributes-format",
    section="Copies",
    key="dedupe.attributes_format",
    type=click.Choice(["parquet", "dolma1"]),
    help="Native, or the JSONL of Dolma 1.x.  [default: parquet]",
)
@json_option
@recipe_options
@bad_record_options
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Find exact copies; the first in corpus order stays, the answer is an attribute.

    Corpus order is files by name, then lines: the same answer at any worker count and file order.
    """
    run_command(ctx, "dedupe", section=["--by", "--documents"])
