"""A stage as a command, made of its `Manual` and of the settings that its section of a recipe has."""

from __future__ import annotations

import inspect
from typing import Any

import click

from dolma.cli.options import ManualCommand, hand_down, option
from dolma.cli.recipe_options import (
    bad_record_options,
    input_options,
    recipe_options,
    running_options,
    seed_option,
    single_options,
)
from dolma.cli.session import run_command
from dolma.stages import Manual, Stage, find_stage


def stage_command(name: str, *, cls: type[ManualCommand] = ManualCommand, **settings: Any) -> Any:
    """The command of the stage of this name; `cls` may be that of a command with others below it."""
    stage = find_stage(name)

    @click.pass_context
    def command(ctx: click.Context, **_: Any) -> None:
        if ctx.invoked_subcommand is None:
            run_command(ctx, name, section=stage.manual.needed)
        else:
            hand_down(ctx, ctx.invoked_subcommand)

    function: Any = command
    for decorate in reversed(_options(stage, stage.manual)):
        function = decorate(function)
    example = inspect.cleandoc(stage.manual.example)
    help = inspect.cleandoc(stage.manual.help)
    return click.command(name, cls=cls, example=example, help=help, **settings)(function)


_WHAT_IF: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (
        ("--what-if", "sweeps"),
        {
            "metavar": "SQL",
            "multiple": True,
            "help": "Show what each threshold of a rule leaves, `length.words >= {20,50}`; two rules make a grid.",
        },
    ),
    (
        ("--target-tokens",),
        {"metavar": "N", "help": "With one --what-if: find the strictest threshold that leaves so many tokens."},
    ),
    (
        ("--labels",),
        {"metavar": "FILE", "help": "With --what-if: documents with `id` and `keep`, for precision and recall."},
    ),
]


def _options(stage: Stage, manual: Manual) -> list[Any]:
    of_documents = "documents" in stage.reads
    shards = "Folder of token shards, from `dolma tokenize`."
    several = "several folders are `sources` in a recipe: `train: {sources: {NAME: {tokens: DIR, share: 0.5}}}`"
    tokens = option("--tokens", section="Input", metavar="DIR", help=shards, several=several)
    found = [input_options if of_documents else tokens]
    for section, keys in manual.options.items():
        for key, *names in map(str.split, keys):
            found.append(option(*names, section=section, key=f"{stage.name}.{key}"))
    found.append(recipe_options)
    if of_documents:
        found.append(bad_record_options)
    if manual.output:
        found.append(option("-o", "--output", section="Output", key="output", help=manual.output))
    if manual.profile:
        shows = "Show where the time went, by tagger."
        found.append(option("--profile", section="Output", is_flag=True, show_default=False, help=shows))
    if manual.explain:
        found.append(option("--explain", section="Output", is_flag=True, show_default=False, help=manual.explain))
    if manual.sql:
        asks = "Answer a SELECT over `documents` and their attributes instead; it reads only what it names."
        found.append(option("--sql", section="Question", metavar="SQL", show_default=False, help=asks))
    if stage.what_if:
        found += [option(*names, section="What if", show_default=False, **about) for names, about in _WHAT_IF]
    if manual.seeded:
        found.append(seed_option)
    return [*found, running_options if of_documents else single_options]
