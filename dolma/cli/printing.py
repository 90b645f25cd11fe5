"""How commands print lines and JSON: all text goes through `dolma.printable`, and is written here only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click

from dolma.errors import WriteError
from dolma.printable import printable, printable_json, printable_message


def write(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print what has been made printable.

    Raises:
        WriteError: the disk below standard output or standard error is full, or the like.
    """
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot be written: {error.strerror or error}\n  make room there, or direct it elsewhere",
            file="standard error" if err else "standard output",
        ) from error


def is_live() -> bool:
    """Whether standard error is a terminal where a line can be wiped and written again."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def say_live(line: str, *, end: str = "") -> None:
    """Put this line in the place of the one that the cursor is on."""
    write(f"\r\x1b[2K{printable(line)}{end}", err=True, nl=False)


def say(*lines: str, err: bool = False, end: str = "\n") -> None:
    """Print each as one line, whatever is in it; `err`: on standard error."""
    for line in lines:
        write(printable(line) + end, err=err, nl=False)


def clear_line() -> None:
    """Wipe the line of standard error that the cursor is on."""
    say_live("")


def say_message(message: str) -> None:
    """A message of ours, which may have further lines, on standard error."""
    write(printable_message(message), err=True)


def say_help(ctx: click.Context) -> None:
    """The help page of a command that was given nothing, on standard error."""
    write(ctx.get_help(), err=True)


def say_warnings(warnings: Iterable[str]) -> None:
    """Each as a warning on standard error."""
    for warning in warnings:
        say_message(f"warning: {warning}")


def say_usage_error(error: click.ClickException) -> None:
    """A command line that cannot be used: what is wrong with it, after how it should be."""
    context = getattr(error, "ctx", None)
    if context is not None:
        write(context.get_usage(), err=True)
        say(f"try '{context.command_path} --help'", err=True)
    say_message(f"error: {error.format_message()}")


def print_page(text: str) -> None:
    """A page of ours as it is."""
    write(text, nl=False)


def print_json(text: str | bytes) -> None:
    """JSON as it is, but for characters that a terminal would obey or hide: they become JSON's escapes."""
    write(printable_json((text if isinstance(text, str) else text.decode()).rstrip("\n")))
