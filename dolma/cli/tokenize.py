"""`dolma tokenize`, and what is done with tokenizers and token shards: `compare`, `train`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import FiniteRange, ManualCommand, ManualGroup, option
from dolma.cli.recipe_options import bad_record_options, input_options, recipe_options, running_options, seed_option
from dolma.cli.session import recipe_of, running_of, say_left_out
from dolma.cli.stage_command import stage_command
from dolma.errors import ConfigError
from dolma.printable import counted

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


TRAIN_EXAMPLE = """
dolma tokenize train --documents 'data/sample/*/documents/*.jsonl.gz' --vocab-size 4096 --output runs/tokenizer
"""


@command.command("train", cls=ManualCommand, example=TRAIN_EXAMPLE)
@input_options
@option("--vocab-size", section="Tokenizer", default=32_768, type=int, metavar="N", help="Tokens, special ones too.")
@option(
    "--pattern",
    section="Tokenizer",
    default="cl100k",
    type=click.Choice(["gpt2", "cl100k", "qwen2", "o200k"]),
    help="How text is cut into pre-tokens.",
)
@option(
    "--special-token",
    "special_tokens",
    section="Tokenizer",
    default=("<|endoftext|>", "<|padding|>"),
    multiple=True,
    metavar="TOKEN",
    help="The first tokens, which stand for no text. Repeatable.",
)
@option(
    "--min-count", section="Tokenizer", default=2, type=click.IntRange(min=1), help="Times that a pair has to occur."
)
@option(
    "--fraction",
    section="Documents",
    default=1.0,
    type=FiniteRange(0, 1, min_open=True),
    metavar="X",
    help="Share of the documents to train on, chosen by the seed.",
)
@recipe_options
@bad_record_options
@option("-o", "--output", section="Output", metavar="DIR", required=True, help="Folder of the tokenizer.")
@seed_option
@running_options
@click.pass_context
def train(
    ctx: click.Context,
    vocab_size: int,
    pattern: str,
    special_tokens: tuple[str, ...],
    min_count: int,
    fraction: float,
    output: str,
    *,
    as_json: bool,
    dry_run: bool,
    **_: Any,
) -> None:
    """Train a byte-level BPE on documents: tokenizer.json, and report.json with what it makes of each source.

    Same documents, settings and seed: same bytes, for any number of workers, and the merges of tokenizers 0.2x.
    """
    from dolma.cli.terminal import show_json, show_table, show_written
    from dolma.graph import corpus_of, reading_of
    from dolma.runner.report import Table
    from dolma.tokens.comparison import tables
    from dolma.tokens.training import Settings, train_tokenizer

    recipe = recipe_of(ctx)
    settings = Settings(
        vocab_size=vocab_size,
        pattern=pattern,
        special_tokens=special_tokens,
        min_count=min_count,
        fraction=fraction,
        seed=recipe.seed,
    )
    dataset = corpus_of(recipe)
    say_left_out(dataset)
    if dry_run:
        shards = dataset.shards()
        show_table(Table.of("plan", [{"input": shard.path, "bytes": shard.size} for shard in shards]))
        return
    running = running_of(ctx, recipe)
    report = train_tokenizer(
        dataset, settings, output=output, reading=reading_of(recipe), options=running.options, reporter=running.reporter
    )
    if as_json:
        show_json(report)
    else:
        for table in tables(report.details.comparison):
            show_table(table)
        show_written(output, f"{report}: {counted(report.details.vocab_size, 'token')}", as_json=False)
    report.check_skipped(recipe.max_errors)
