"""`dolma tokenize`, also called `dolma tokens`."""

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
dolma tokenize --tokenizer data/sample/tokenizer.json --documents 'data/sample/*/documents/*.jsonl.gz' --output runs/t
"""


@click.command("tokenize", cls=ManualCommand, example=EXAMPLE)
@input_options
@option(section="Encoding", key="tokenize.tokenizer", metavar="FILE")
@option(section="Encoding", key="tokenize.eos", metavar="TOKEN")
@option(section="Encoding", key="tokenize.bos", metavar="TOKEN")
@option("--allow-special-tokens/--no-special-tokens", section="Encoding", key="tokenize.allow_special_tokens")
@option(section="Encoding", key="tokenize.strip")
@option("-o", "--output", section="Output", key="output", metavar="DIR", help="Folder of the token shards.")
@option(section="Output", key="tokenize.dtype")
@option(section="Output", key="tokenize.max_tokens_per_shard")
@option(section="Output", key="tokenize.shuffle")
@json_option
@recipe_options
@bad_record_options
@seed_option
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Encode documents into the raw shards that OLMo trainers read, with a row for each document.

    `dolma tokens` is the same command.
    """
    run_command(ctx, "tokenize", section=["--tokenizer", "--documents", "--output"])
