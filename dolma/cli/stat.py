"""`dolma stat`."""

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
dolma stat --documents 'data/sample/*/documents/*.jsonl.gz'
dolma stat -c configs/quickstart.yaml --json
"""


@click.command("stat", cls=ManualCommand, example=EXAMPLE)
@input_options
@option("--stat-attributes", section="Counting", key="stat.attributes", metavar="NAME")
@option(section="Counting", key="stat.bins")
@option(section="Counting", key="stat.tokens", metavar="DIR")
@option("-o", "--output", section="Output", key="output", metavar="DIR", help="Folder for stat.json.")
@json_option
@recipe_options
@bad_record_options
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Count documents, bytes, words and tokens, and describe every attribute, per source."""
    run_command(ctx, "stat", section=["--documents"])
