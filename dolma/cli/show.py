"""`dolma show`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option, stacked
from dolma.cli.recipe_options import input_options, recipe_options, seed_option
from dolma.errors import ConfigError

EXAMPLE = """
dolma show moby/chapter_28 -c configs/quickstart.yaml
dolma show -c configs/quickstart.yaml --sample 3 --where 'gopher.word_count < 100'
dolma show -c configs/quickstart.yaml --nearest 'gopher.fraction_of_duplicate_lines = 0.3'
"""


@click.command("show", cls=ManualCommand, example=EXAMPLE)
@click.argument("document", metavar="[ID]", required=False)
@stacked(input_options, recipe_options)
@option("--sample", section="Question", type=click.IntRange(min=1), help="Show so many documents, drawn by the seed.")
@option("--where", section="Question", metavar="SQL", help="With --sample: only documents for which this holds.")
@option("--nearest", section="Question", metavar="SQL", help="Show documents on both sides of 'SET.OUTPUT = NUMBER'.")
@option(
    "--pairs", section="Question", type=click.IntRange(min=1), default=2, help="With --nearest: so many of each side."
)
@option("--characters", section="Output", type=click.IntRange(min=1), default=2000, help="Most characters of a text.")
@option("--full", section="Output", is_flag=True, show_default=False, help="Show whole texts.")
@seed_option
@click.pass_context
def command(
    ctx: click.Context,
    document: str | None,
    sample: int | None,
    where: str | None,
    nearest: str | None,
    pairs: int,
    characters: int,
    full: bool,
    *,
    as_json: bool,
    **_: Any,
) -> None:
    """Show documents: their text with the spans that were found in it, and where they stand.

    ID is the id of a document, or FILE:LINE. Characters that would act on a terminal are shown as escapes.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.showing import show_documents, show_nearest
    from dolma.cli.terminal import reporter_for
    from dolma.data import streams
    from dolma.graph import corpus_of, reading_of
    from dolma.lookup.choose import nearest as nearest_to
    from dolma.lookup.choose import sample as sample_of
    from dolma.lookup.documents import Documents, index_folder
    from dolma.lookup.measured import measured

    asked = [name for name, value in (("ID", document), ("--sample", sample), ("--nearest", nearest)) if value]
    if len(asked) != 1:
        said = "nothing says which documents to show" if not asked else f"{' and '.join(asked)} are both given"
        raise ConfigError(f"{said}\n  give an ID, FILE:LINE, `--sample 5` or `--nearest 'length.words = 50'`")
    if where and not sample:
        raise ConfigError("belongs to --sample, which is not given\n  give --sample 5", path="--where")
    recipe = recipe_of(ctx)
    dataset = corpus_of(recipe)
    home = index_folder(dataset, dataset.shards(), recipe.output)
    folder = None if home is None else streams.join(home, "documents")
    documents = Documents(dataset, reading_of(recipe), index=folder, reporter=reporter_for(None))
    most = None if full else characters

    def values(found: Any) -> Any:
        return measured(dataset, documents.shards, found)

    if nearest:
        below, above = nearest_to(documents, nearest, pairs)
        show_nearest(below, above, nearest, values, most=most, as_json=as_json)
        return
    if document is not None:
        found = documents.find(document)
    else:
        assert sample is not None
        found = sample_of(documents, sample, where=where, seed=recipe.seed)
    show_documents(found, values, most=most, as_json=as_json)
