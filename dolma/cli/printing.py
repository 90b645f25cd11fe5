"""How commands print lines and JSON: all text goes through `dolma.printable`, here and in `dolma.cli.tables` only."""

from __future__ import annotations

from collections.abc import Iterable

import click

from dolma.printable import printable, printable_json, printable_message


def say(*lines: str, err: bool = False, end: str = "\n") -> None:
    """Print each as one line, whatever is in it; `err`: on standard error."""
    for line in lines:
        click.echo(printable(line) + end, err=err, nl=False)


def clear_line() -> None:
    """Wipe the line of standard error that the cursor is on."""
    click.echo("\r\x1b[2K", err=True, nl=False)


def say_message(message: str) -> None:
    """A message of ours, which may have further lines, on standard error."""
    click.echo(printable_message(message), err=True)


def say_help(ctx: click.Context) -> None:
    """The help page of a command that was given nothing, on standard error."""
    click.echo(ctx.get_help(), err=True)


def say_warnings(warnings: Iterable[str]) -> None:
    """Each as a warning on standard error."""
    for warning in warnings:
        say_message(f"warning: {warning}")


def say_usage_error(error: click.ClickException) -> None:
    """A command line that cannot be used: what is wrong with it, after how it should be."""
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(context.get_usage(), err=True)
        say(f"try '{context.command_path} --help'", err=True)
    say_message(f"error: {error.format_message()}")


def print_page(text: str) -> None:
    """A page of ours as it is."""
    click.echo(text, nl=False)


def print_json(text: str | bytes) -> None:
    """JSON as it is, but for characters that a terminal would obey or hide: they become JSON's escapes."""
    click.echo(printable_json((text if isinstance(text, str) else text.decode()).rstrip("\n")))
