"""Options that commands with a recipe share, each spelled once."""

from __future__ import annotations

from collections.abc import Callable

import click

from dolma.cli.options import F, SectionedOption, either, flag_of, option, settings_of, stacked
from dolma.keys import find
from dolma.runner.options import RunOptions


def run_option(name: str) -> Callable[[F], F]:
    """The option of a field of `RunOptions`."""
    found = find(RunOptions, name)
    kwargs, flag = settings_of(found), flag_of(found)
    if found.default is False:
        kwargs |= {"is_flag": True, "help": found.description}
    elif bool in found.types:
        flag = either(flag)
    return click.option(flag, cls=SectionedOption, section="Running", **kwargs)


recipe_options = stacked(
    option("-c", "--config", section="Recipe", metavar="FILE", help="Recipe to read; flags override single keys."),
    option(
        "--set",
        "assignments",
        section="Recipe",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override any key, e.g. --set mix.missing=drop. Repeatable.",
    ),
)

input_options = stacked(
    option(section="Input", key="documents"),
    option(section="Input", key="exclude"),
    option(section="Input", key="limit"),
    option(section="Input", key="takedown"),
    option(section="Input", key="attributes"),
    option("--text-field", section="Input", key="fields.text"),
    option("--id-field", section="Input", key="fields.id"),
    option("--source-field", section="Input", key="fields.source"),
)

bad_record_options = stacked(
    *(
        option(section="Bad records", key=key)
        for key in ("on_error", "quarantine", "max_errors", "invalid_unicode", "max_line_bytes")
    )
)

seed_option = option(section="Running", key="seed")

_dry_run = option(
    "--dry-run", section="Running", is_flag=True, show_default=False, help="Print the plan and touch nothing."
)

single_options = stacked(*map(run_option, ("check_inputs", "overwrite")), _dry_run, run_option("progress"))
"""How a stage runs that has no tasks."""

running_options = stacked(
    *(option(section="Running", key=key) for key in ("workers", "executor", "address")),
    *(run_option(name) for name in ("max_memory", "work_dir", "stall_after", "shard", "wait", "take_over")),
    single_options,
)
