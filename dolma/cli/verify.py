"""`dolma verify`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.recipe_options import input_options, recipe_options, seed_option
from dolma.cli.session import recipe_of, say_left_out, without_recipe
from dolma.errors import ConfigError, DataError
from dolma.printable import counted

EXAMPLE = """
dolma verify runs/quickstart
dolma verify -c configs/quickstart.yaml
dolma verify --deep runs/quickstart
dolma verify runs/quickstart/tokens --sample 1000 --seed 7
"""


@click.command("verify", cls=ManualCommand, example=EXAMPLE)
@click.argument("folders", type=click.Path(), nargs=-1, metavar="[FOLDER]...")
@option(
    "--deep",
    section="Checks",
    is_flag=True,
    show_default=False,
    help="Make outputs again in a temporary folder, and compare them.",
)
@option(
    "--sample",
    section="Checks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare the tokens of so many documents of each folder of token shards with their texts.",
)
@input_options
@recipe_options
@seed_option
@click.pass_context
def command(
    ctx: click.Context, folders: tuple[str, ...], *, deep: bool, sample: int | None, as_json: bool, **_: Any
) -> None:
    """Check finished output folders against their manifests: files, checksums, rows, ids, token bounds.

    With documents (by recipe or `--documents`) the ids of every attribute file are compared with theirs too.
    """
    from dolma.cli.terminal import show_verification
    from dolma.data import streams
    from dolma.data.tokens import NAME
    from dolma.graph import corpus_of
    from dolma.lookup.sampled_tokens import compare_sample
    from dolma.verification import verify

    folders = tuple(without_recipe(ctx, folders))
    recipe = recipe_of(ctx)
    say_left_out(corpus_of(recipe))
    result = verify(list(folders), recipe, deep=deep)
    if sample is not None:
        tokens = [folder for folder, _ in result.checked if streams.exists(streams.join(folder, NAME))]
        if not tokens:
            raise ConfigError(
                "`--sample` is for token shards, and there are none\n  leave it out, or name their folder"
            )
        for folder in tokens:
            found = compare_sample(folder, recipe, sample=sample, seed=recipe.seed)
            result.notes.append(f"{folder}: {found}")
            result.problems.extend(found.problems)
    show_verification(result, as_json=as_json)
    if result.problems:
        raise DataError(
            f"verify found {counted(len(result.problems), 'problem')} in {counted(result.files, 'file')} of "
            f"{counted(result.sets, 'file set')}\n"
            "  make again what is named: run its stage with `--overwrite`, or copy the folder anew"
        )
