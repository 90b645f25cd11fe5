"""`dolma doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.printing import print_json
from dolma.cli.recipe_options import input_options, recipe_options
from dolma.cli.session import recipe_of, without_recipe
from dolma.errors import ConfigError

EXAMPLE = """
dolma doctor -c configs/quickstart.yaml
dolma doctor -t gopher -t pii --documents 'data/sample/*/documents/*.jsonl.gz'
dolma doctor runs/new
"""


@click.command("doctor", cls=ManualCommand, example=EXAMPLE)
@click.argument("places", type=click.Path(), nargs=-1, metavar="[PLACE]...")
@input_options
@option("-t", "--taggers", section="Tagging", key="tag.taggers", metavar="NAME")
@recipe_options
@click.pass_context
def command(ctx: click.Context, *, places: tuple[str, ...], as_json: bool, **_: Any) -> None:
    """Say what a recipe needs, and for what is missing the command that gets it.

    Documents, rules, shares, extras, models, lists, metadata fields, the tokenizer, the device, memory, open files,
    free disk, where everything will be written. Nothing is downloaded or written. For a PLACE, which is a folder or a
    URL (s3://bucket/prefix), listing, writing, reading and removing are tried with a small file. Ends with status 2 if
    something is missing.
    """
    from dolma.cli.terminal import show_findings
    from dolma.doctor import examine, try_place

    tried = without_recipe(ctx, places)
    findings = [found for place in tried for found in try_place(place)] if tried else examine(recipe_of(ctx))
    if as_json:
        print_json(json.dumps([asdict(found) for found in findings], indent=1))
    else:
        show_findings(findings)
    missing = [found for found in findings if not found.ok]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(findings)} things that this needs are missing; see above"
            "\n  install or fetch what is listed there, and ask again"
        )
