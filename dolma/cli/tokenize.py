"""`dolma tokenize`, and what is done with tokenizers and token shards: `compare`, `train`, `mix`, `reshard`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.options import FiniteRange, ManualCommand, ManualGroup, option
from dolma.cli.recipe_options import bad_record_options, input_options, recipe_options, running_options, seed_option
from dolma.cli.session import recipe_of, running_of, say_left_out
from dolma.cli.stage_command import stage_command
from dolma.errors import ConfigError
from dolma.printable import counted, printable

if TYPE_CHECKING:
    from dolma.reshard.stage import Layout
    from dolma.runner.report import StageReport

command = stage_command("tokenize", cls=ManualGroup, invoke_without_command=True)


COMPARE_EXAMPLE = """
dolma tokenize train --documents 'data/sample/*/documents/*.jsonl.gz' --vocab-size 4096 --output runs/tokenizer
dolma tokenize compare data/sample/tokenizer.json runs/tokenizer --documents 'data/sample/*/documents/*.jsonl.gz'
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


_LAYOUT = (
    option("--shuffle/--no-shuffle", section="Output", default=True, help="In seeded random order, or as they come."),
    option(
        "--shards",
        section="Output",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of shards, of each source where these lie apart.",
    ),
    option(
        "--max-tokens-per-shard",
        section="Output",
        default=2**28,
        type=click.IntRange(min=1),
        metavar="N",
        help="Tokens that a shard may hold, if no number of shards is given.",
    ),
)


def layout_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How documents lie in new shards, and how the command runs."""
    own = option("-o", "--output", section="Output", metavar="DIR", required=True, help="Folder of the new shards.")
    for decorate in reversed((*_LAYOUT, own, recipe_options, seed_option, running_options)):
        function = decorate(function)
    return function


def _layout(ctx: click.Context) -> Layout:
    from dolma.reshard.stage import Layout

    names = ("shuffle", "shards", "max_tokens_per_shard")
    given = ctx.get_parameter_source("max_tokens_per_shard") is click.core.ParameterSource.COMMANDLINE
    if given and ctx.params["shards"] is not None:
        raise ConfigError("--shards and --max-tokens-per-shard both say how large shards are\n  give one of them")
    return Layout(**{name: ctx.params[name] for name in names})


MIX_EXAMPLE = """
dolma tokenize --tokenizer data/sample/tokenizer.json --documents 'data/sample/books/documents/*' --output runs/books
dolma tokenize --tokenizer data/sample/tokenizer.json --documents 'data/sample/code/documents/*' --output runs/code
dolma tokenize mix books=runs/books code=runs/code --share books=0.6 --share code=0.4 --total 100k --output runs/mixed
"""


@command.command("mix", cls=ManualCommand, example=MIX_EXAMPLE)
@click.argument("sources", metavar="NAME=DIR...", nargs=-1, required=True)
@option(
    "--share", "shares", section="Mixture", multiple=True, metavar="NAME=X", help="Share of the tokens. Repeatable."
)
@option(
    "--repeat",
    "repeats",
    section="Mixture",
    multiple=True,
    metavar="NAME=X",
    help="Times that each document of a source is there. Repeatable.",
)
@option("--total", section="Mixture", metavar="N", help="Tokens of the mix, such as 30M.  [default: the most]")
@option(
    "--max-repeat",
    section="Mixture",
    default=1.0,
    type=FiniteRange(1),
    metavar="X",
    help="Times that a document may be there at most to fill a share.",
)
@layout_options
@click.pass_context
def mix(
    ctx: click.Context,
    sources: tuple[str, ...],
    shares: tuple[str, ...],
    repeats: tuple[str, ...],
    total: str | None,
    max_repeat: float,
    output: str,
    *,
    as_json: bool,
    dry_run: bool,
    **_: Any,
) -> None:
    """Mix folders of token shards, one for each source, by share of tokens or by repeats; nothing is encoded again.

    All sources are of one tokenizer. Documents stay whole; what is asked of each source is allocated as by `dolma mix`.
    """
    from dolma.cli.terminal import show_json, show_table
    from dolma.config import MixConfig, SourceShare
    from dolma.reshard.allocation import quotas_of
    from dolma.reshard.folders import open_folders
    from dolma.reshard.stage import mix as mix_shards
    from dolma.reshard.stage import quotas_table

    folders = _pairs(sources, "NAME=DIR", "books=tokens/books")
    asked: dict[str, dict[str, float]] = {}
    for key, given in (("share", shares), ("repeat", repeats)):
        for name, value in _pairs(given, f"--{key}", f"--{key} books=0.5").items():
            asked.setdefault(name, {})[key] = _number(value, f"--{key} {name}={value}")
    try:
        config = MixConfig(
            sources={name: SourceShare(**of) for name, of in asked.items()},
            unit="tokens",
            total=total,
            max_repeat=max_repeat,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    quotas = quotas_of(open_folders(folders), config)
    if dry_run:
        show_table(quotas_table(quotas))
        return
    recipe = recipe_of(ctx)
    running, layout = running_of(ctx, recipe), _layout(ctx)
    report = mix_shards(
        folders,
        config,
        output=output,
        layout=layout,
        options=running.options,
        reporter=running.reporter,
        seed=recipe.seed,
    )
    if as_json:
        show_json(report)
        return
    show_table(quotas_table(quotas))
    _show_shards(report)


RESHARD_EXAMPLE = """
dolma tokenize reshard runs/t --shards 8 --no-shuffle --output runs/t8
"""


@command.command("reshard", cls=ManualCommand, example=RESHARD_EXAMPLE)
@click.argument("tokens", type=click.Path(), metavar="DIR")
@layout_options
@click.pass_context
def reshard(ctx: click.Context, tokens: str, output: str, *, as_json: bool, dry_run: bool, **_: Any) -> None:
    """Put the documents of a folder of token shards into other shards, in random order or as they come.

    Ids and their type stay as they are, documents stay whole, and shards of each source stay apart.
    """
    from dolma.cli.terminal import show_json, show_table
    from dolma.reshard.folders import open_folders
    from dolma.reshard.stage import reshard as reshard_tokens
    from dolma.runner.report import Table

    layout = _layout(ctx)
    if dry_run:
        shards = open_folders({"": tokens}).shards
        show_table(Table.of("plan", [{"input": one.path, "tokens": one.info.tokens} for one in shards]))
        return
    recipe = recipe_of(ctx)
    running = running_of(ctx, recipe)
    report = reshard_tokens(
        tokens, output=output, layout=layout, options=running.options, reporter=running.reporter, seed=recipe.seed
    )
    if as_json:
        show_json(report)
        return
    _show_shards(report)


def _show_shards(report: StageReport[Any]) -> None:
    from dolma.cli.terminal import show_table, show_written
    from dolma.runner.report import ledger_table

    show_table(ledger_table(report.ledger))
    show_written(report.folder, str(report), as_json=False)


def _pairs(given: Sequence[str], flag: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = (part.strip() for part in one.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{printable(one)}: expected a name and a value\n  such as {example}", path=flag)
        if name in found:
            raise ConfigError(f"{name!r} is given twice\n  give each source once", path=flag)
        found[name] = value
    return found


def _number(value: str, given: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"{printable(given)}: expected a number\n  such as 0.5") from error
