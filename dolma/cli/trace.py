"""`dolma trace`."""

from __future__ import annotations

from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.recipe_options import recipe_options
from dolma.errors import ConfigError

EXAMPLE = """
dolma trace runs/quickstart/tokens/part-00000.npy:123456
dolma trace --document moby/chapter_28 --tokens runs/quickstart/tokens
dolma trace --document moby/chapter_28 --run runs/quickstart/train
dolma trace --step 2 --run runs/quickstart/train
"""


@click.command("trace", cls=ManualCommand, example=EXAMPLE)
@click.argument("token", metavar="[SHARD:POSITION]", required=False)
@option("--step", section="Question", type=click.IntRange(min=1), help="Which documents did this step see?")
@option("--document", section="Question", metavar="ID", help="Where is this document, or which steps saw it?")
@option("--run", section="Input", metavar="DIR", help="Folder of a training run.")
@option("--tokens", section="Input", metavar="DIR", multiple=True, help="Token shards; a run's, if they moved.")
@option(section="Input", key="documents")
@option(section="Input", key="attributes")
@recipe_options
@click.pass_context
def command(
    ctx: click.Context,
    token: str | None,
    *,
    step: int | None,
    document: str | None,
    run: str | None,
    tokens: tuple[str, ...],
    as_json: bool,
    **_: Any,
) -> None:
    """Name the document of a token, the tokens of a document, or what a training step saw. Works without torch.

    SHARD:POSITION is a token of a shard, counted from 0. The recipe that lies beside the shards says where their
    documents and attributes are, unless `--documents` or `-c` do. The order of the training data is a function of
    recipe and shards, so nothing has to be logged for this.
    """
    from dolma.cli.session import recipe_of
    from dolma.cli.showing import show_places, show_traced
    from dolma.cli.terminal import show_seen
    from dolma.lookup.tokens import places_of_document, trace_token
    from dolma.training.trace import documents_of_step, stages_of_run, steps_of_document

    if sum(given is not None for given in (token, step, document)) != 1:
        raise ConfigError(
            "give one of SHARD:POSITION, --step and --document\n  `dolma trace --run runs/quickstart/train --step 1`"
        )
    if token is not None:
        show_traced(trace_token(token, recipe_of(ctx)), as_json=as_json)
    elif step is not None and run is not None:
        show_seen(documents_of_step(stages_of_run(run, tokens=tokens or None), step), as_json=as_json)
    elif document is not None and run is not None:
        show_seen(steps_of_document(stages_of_run(run, tokens=tokens or None), document), as_json=as_json)
    elif document is not None and tokens:
        show_places(places_of_document(tokens, document), as_json=as_json)
    else:
        raise ConfigError(
            "nothing says where to look: give the folder of a training run, `--run DIR`"
            + ("" if step is not None else ", or token shards, `--tokens DIR`")
        )
