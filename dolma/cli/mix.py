"""`dolma mix`."""

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
    seed_option,
)
from dolma.cli.session import run_command

EXAMPLE = """
dolma mix --keep 'length.words >= 20' --documents 'data/sample/*/documents/*.jsonl.gz' \\
    --attributes runs/a --output runs/m
dolma mix -c configs/quickstart.yaml --dry-run
"""


@click.command("mix", cls=ManualCommand, example=EXAMPLE)
@input_options
@option(section="Rules", key="mix.keep", metavar="SQL")
@option(section="Rules", key="mix.drop", metavar="SQL")
@option(section="Rules", key="mix.missing")
@option(section="Rules", key="mix.min_length")
@option("-o", "--output", section="Output", key="output", metavar="DIR", help="Folder of the mixed documents.")
@option(section="Output", key="mix.format", metavar="SUFFIX")
@json_option
@recipe_options
@bad_record_options
@seed_option
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Decide by rules over attributes which documents stay, edit spans, sample sources.

    Rules are SQL, checked before any text is read. `--dry-run` shows what each rule drops without writing a document.
    """
    run_command(ctx, "mix", section=["--keep", "--documents", "--output"])
