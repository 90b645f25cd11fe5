"""`dolma tokenize`, and what is done with tokenizers and token shards: `compare`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, ManualGroup, option
from dolma.cli.recipe_options import bad_record_options, input_options, recipe_options, seed_option
from dolma.cli.session import recipe_of, say_left_out
from dolma.cli.stage_command import stage_command
from dolma.errors import ConfigError

command = stage_command("tokenize", cls=ManualGroup, invoke_without_command=True)


COMPARE_EXAMPLE = """
dolma tokenize compare data/sample/tokenizer.json other/tokenizer.json --documents 'data/sample/*/documents/*.jsonl.gz'
"""


@command.command("compare", cls=ManualCommand, example=COMPARE_EXAMPLE)
@click.argument("tokenizers", type=click.Path(), metavar="TOKENIZER...", nargs=-1, required=True)
@input_options
@option(
    "--language",
    section="Input",
    metavar="NAME",
    help="Field or attribute that tells the language.  [default: the attribute language.top, if there]",
)
@option(
    "--sample",
    section="Documents",
    default=10_000,
    type=click.IntRange(min=1),
    metavar="N",
    help="Encode so many documents, chosen by the seed.",
)
@option("--all", "everything", section="Documents", is_flag=True, show_default=False, help="Encode all documents.")
@recipe_options
@bad_record_options
@seed_option
@click.pass_context
def compare(
    ctx: click.Context,
    tokenizers: tuple[str, ...],
    language: str | None,
    sample: int,
    *,
    everything: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Print what each tokenizer.json makes of the same documents: bytes per token, tokens per word, per source.

    Also per language where it is known, the share of unknown text and of pieces of characters, the longest tokens.
    """
    from dolma.cli.terminal import show_json, show_table
    from dolma.graph import corpus_of, reading_of
    from dolma.tokens.comparison import compare as compare_tokenizers
    from dolma.tokens.comparison import tables

    if everything and ctx.get_parameter_source("sample") is click.core.ParameterSource.COMMANDLINE:
        raise ConfigError(f"--all and --sample {sample} were given, expected one at most\n  leave out either")
    recipe = recipe_of(ctx)
    dataset = corpus_of(recipe)
    say_left_out(dataset)
    found = compare_tokenizers(
        tokenizers,
        dataset,
        reading=reading_of(recipe),
        sample=None if everything else sample,
        language=language,
        seed=recipe.seed,
    )
    if as_json:
        show_json(found)
        return
    for table in tables(found):
        show_table(table)
