"""`dolma doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from dolma.cli.options import ManualCommand, input_options, option, recipe_options
from dolma.cli.printing import print_json
from dolma.cli.session import recipe_of
from dolma.errors import ConfigError

EXAMPLE = """
dolma doctor -c configs/quickstart.yaml
dolma doctor -t gopher -t pii --documents 'data/sample/*/documents/*.jsonl.gz'
"""


@click.command("doctor", cls=ManualCommand, example=EXAMPLE)
@input_options
@option(
    "-t",
    "--taggers",
    section="Tagging",
    key="tag.taggers",
    metavar="NAME",
    multiple=True,
    help="Tagger, as for `dolma tag`. Repeatable.",
)
@recipe_options
@option("--json", "as_json", section="Output", is_flag=True, show_default=False, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, **_: Any) -> None:
    """Say what a recipe needs, and for what is missing the command that gets it.

    Documents, extras, models, lists, metadata fields, the tokenizer. Nothing is downloaded or written. Ends with
    status 2 if something is missing.
    """
    from dolma.cli.terminal import show_findings
    from dolma.doctor import examine

    findings = examine(recipe_of(ctx))
    if as_json:
        print_json(json.dumps([asdict(found) for found in findings], indent=1))
    else:
        show_findings(findings)
    missing = [found for found in findings if not found.ok]
    if missing:
        raise ConfigError(f"{len(missing)} of {len(findings)} things that this needs are missing; see above")
