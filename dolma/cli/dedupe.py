"""`dolma dedupe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
from dolma.cli.printing import say
from dolma.cli.session import recipe_of, run_command
from dolma.errors import ConfigError

if TYPE_CHECKING:
    from dolma.config import DedupeConfig

EXAMPLE = """
dolma dedupe --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
dolma dedupe --method minhash --name near --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
dolma dedupe --by paragraphs --name paragraphs --documents 'data/sample/*/documents/*.jsonl.gz' --attributes runs/a
"""


@click.command("dedupe", cls=ManualCommand, example=EXAMPLE)
@input_options
@option(section="Copies", key="dedupe.method")
@option(section="Copies", key="dedupe.by", metavar="KEY")
@option(section="Copies", key="dedupe.name", metavar="NAME")
@option(section="Copies", key="dedupe.keep", metavar="RULE")
@option(section="Copies", key="dedupe.max_removal")
@option("--skip-empty/--keep-empty", section="Copies", key="dedupe.skip_empty")
@option(section="Copies", key="dedupe.min_length")
@option(section="Copies", key="dedupe.min_words")
@option(section="Copies", key="dedupe.attributes_format")
@option(section="Near-duplicates", key="dedupe.threshold")
@option(section="Near-duplicates", key="dedupe.word_ngrams", metavar="N")
@option(section="Near-duplicates", key="dedupe.character_ngrams", metavar="N")
@option(section="Near-duplicates", key="dedupe.permutations", metavar="N")
@option(section="Near-duplicates", key="dedupe.recall")
@option(section="Near-duplicates", key="dedupe.bands", metavar="N")
@option(section="Near-duplicates", key="dedupe.rows", metavar="N")
@option(section="Near-duplicates", key="dedupe.seed", metavar="N")
@option("--verify/--no-verify", section="Near-duplicates", key="dedupe.verify")
@option(section="Near-duplicates", key="dedupe.link")
@option(
    "--explain",
    section="Near-duplicates",
    is_flag=True,
    show_default=False,
    help="Print what the bands and rows find at each similarity, and stop.",
)
@json_option
@recipe_options
@bad_record_options
@running_options
@click.pass_context
def command(ctx: click.Context, **_: Any) -> None:
    """Find copies and near-duplicates; one of each cluster stays, the answer is an attribute.

    Corpus order is files by name, then lines: the same answer at any worker count and file order.
    """
    if ctx.params["explain"]:
        explain(recipe_of(ctx).dedupes)
        return
    run_command(ctx, "dedupe", section=["--by", "--documents"])


def explain(configs: Sequence[DedupeConfig]) -> None:
    """Print the curves of those that look for near-duplicates."""
    from dolma.cli.tables import print_table
    from dolma.dedupers.minhash import MinHash

    near = [config for config in configs if config.method == "minhash"]
    if not near:
        raise ConfigError("there are no bands to explain\n  give `--method minhash`, or a recipe that has it")
    for config in near:
        method = MinHash.of(config)
        bands = method.likeness.bands
        say(
            f"{config.name}: {bands.n} bands of {bands.rows} rows find {bands.found(method.threshold):.1%} of pairs at "
            f"the threshold {method.threshold}; {method.described}"
        )
        rows = [(f"{similarity:.2f}", f"{found:.2%}") for similarity, found in bands.curve()]
        print_table(["similarity", "found"], rows)
