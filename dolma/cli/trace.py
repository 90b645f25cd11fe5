"""`dolma trace`."""

from __future__ import annotations

import click

from dolma.cli.options import ManualCommand, option
from dolma.errors import ConfigError

EXAMPLE = """
dolma trace --run runs/quickstart/train --step 2
dolma trace --run runs/quickstart/train --document moby/chapter_28
"""


@click.command("trace", cls=ManualCommand, example=EXAMPLE)
@option("--run", section="Input", metavar="DIR", required=True, help="Folder of a training run.")
@option("--step", section="Question", type=click.IntRange(min=1), help="Which documents did this step see?")
@option("--document", section="Question", metavar="ID", help="Which steps saw this document?")
@option("--tokens", section="Input", metavar="DIR", multiple=True, help="Where its shards are now, if they moved.")
def command(run: str, step: int | None, document: str | None, tokens: tuple[str, ...], *, as_json: bool) -> None:
    """Name the documents that a training step saw, or the steps that saw a document. Works without torch.

    The order of the data is a function of recipe and shards, so nothing has to be logged for this.
    """
    from dolma.cli.terminal import show_seen
    from dolma.training.trace import documents_of_step, stages_of_run, steps_of_document

    if (step is None) == (document is None):
        raise ConfigError("give either --step or --document\n  `dolma trace --run runs/quickstart/train --step 1`")
    stages = stages_of_run(run, tokens=list(tokens) or None)
    if step is not None:
        show_seen(documents_of_step(stages, step), as_json=as_json)
    else:
        assert document is not None
        show_seen(steps_of_document(stages, document), as_json=as_json)
