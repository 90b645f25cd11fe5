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
@option(section="Copies", key="dedupe.by", metavar="KEY")
@option(section="Copies", key="dedupe.name", metavar="NAME")
@option("--skip-empty/--keep-empty", section="Copies", key="dedupe.skip_empty")
@option(section="Copies", key="dedupe.min_length")
@option(section="Copies", key="dedupe.min_words")
@option(section="Copies", key="dedupe.attributes_format")
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
