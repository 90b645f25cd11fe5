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
@option(
    "--tokenizer",
    section="Encoding",
    key="tokenize.tokenizer",
    metavar="FILE",
    help="A Hugging Face tokenizer.json.",
)
@option(
    "--eos",
    section="Encoding",
    key="tokenize.eos",
    metavar="TOKEN",
    help="Token after each document.  [default: what the tokenizer, or a file beside it, says]",
)
@option("--bos", section="Encoding", key="tokenize.bos", metavar="TOKEN", help="Token before each document.")
@option(
    "--allow-special-tokens/--no-special-tokens",
    section="Encoding",
    key="tokenize.allow_special_tokens",
    default=None,
    show_default=False,
    help="Whether text that looks like a control token becomes one.  [default: no]",
)
@option(
    "--strip/--no-strip",
    section="Encoding",
    key="tokenize.strip",
    default=None,
    show_default=False,
    help="Whether white space at both ends of a text is left out, as by Dolma 1.x.  [default: no]",
)
@option("-o", "--output", section="Output", key="output", metavar="DIR", help="Folder of the token shards.")
@option(
    "--dtype",
    section="Output",
    key="tokenize.dtype",
    type=click.Choice(["uint16", "uint32"]),
    help="Type of the ids.  [default: the smallest that holds every id]",
)
@option(
    "--max-tokens-per-shard",
    section="Output",
    key="tokenize.max_tokens_per_shard",
    type=click.IntRange(min=1),
    help="Tokens that a shard may hold.  [default: 268435456]",
)
@option(
    "--shuffle/--no-shuffle",
    section="Output",
    key="tokenize.shuffle",
    default=None,
    show_default=False,
    help="Documents in seeded random order across all shards, or in corpus order.  [default: shuffle]",
)
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
