"""How commands print lines and JSON: all text goes through `dolma.printable`, and is written here only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import click

from dolma.errors import WriteError
from dolma.printable import printable, printable_json, printable_message


class ReaderGone(Exception):
    """What the output was piped into has ended, as `head` does. No `OSError`, which click would take."""


@dataclass(slots=True)
class Log:
    """What the running command tells on standard error, as options that every command has decide.

    `quiet`: warnings and errors alone, and no summary of what was done; `verbose`: phases and causes too; `as_json`: a
    JSON object for each line.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def reset(self) -> None:
        """Tell what is told without these options."""
        self.quiet = self.verbose = self.as_json = False


LOG = Log()
Level = Literal["debug", "info", "warning", "error"]


def tell(level: Level, message: str, *, word: str = "", fields: dict[str, Any] | None = None) -> None:
    """A message of ours, which may have further lines, on standard error, if it is to be told at all.

    `word` stands before it in the text form, and `fields` beside it in the JSON form.
    """
    if (level == "debug" and not LOG.verbose) or (level in ("debug", "info") and LOG.quiet):
        return
    if LOG.as_json:
        import json
        from datetime import UTC, datetime

        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"time": now, "level": level, "message": message} | (fields or {})
        write(printable_json(json.dumps(record, ensure_ascii=False)), err=True)
        return
    write(printable_message(f"{word}: {message}" if word else message), err=True)


def write(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print what has been made printable.

    Raises:
        WriteError: the disk below standard output or standard error is full, or the like.
        ReaderGone: nobody reads on.
    """
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise WriteError(
            f"cannot be written: {error.strerror or error}\n  make room there, or direct it elsewhere",
            file="standard error" if err else "standard output",
        ) from error


def is_live() -> bool:
    """Whether standard error is a terminal where a line can be wiped and written again."""
    return (
        not (LOG.quiet or LOG.verbose or LOG.as_json)
        and sys.stderr.isatty()
        and os.environ.get("TERM") not in ("dumb", "unknown")
    )


def say_live(line: str, *, end: str = "") -> None:
    """Put this line in the place of the one that the cursor is on."""
    write(f"\r\x1b[2K{printable(line)}{end}", err=True, nl=False)


def begin_line(text: str) -> None:
    """Put this on a line of standard error that will be wiped."""
    write(printable(text), err=True, nl=False)


def say(*lines: str) -> None:
    """Print each as one line on standard output, whatever is in it."""
    for line in lines:
        write(printable(line))


def clear_line() -> None:
    """Wipe the line of standard error that the cursor is on."""
    say_live("")


def say_error(error: Exception, message: str = "", *, word: str = "error") -> None:
    """What has ended the command; where it is to tell more, where that came from."""
    tell("error", message or str(error), word=word)
    if LOG.verbose:
        import textwrap
        import traceback

        trace = "".join(traceback.format_exception(error)).rstrip()
        tell("debug", "raised by:\n" + textwrap.indent(trace, "  ", predicate=lambda line: True))


def help_printed(option: click.Option | None) -> click.Option | None:
    """The option `--help`, printed here and not by click, which leaves a full disk to whoever looks."""

    def shown(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            write(ctx.get_help())
            ctx.exit()

    if option is not None:
        option.callback = shown
    return option


def say_help(ctx: click.Context) -> None:
    """The help page of a command that was given nothing, on standard error."""
    write(ctx.get_help(), err=True)


def say_warnings(warnings: Iterable[str]) -> None:
    """Each as a warning on standard error."""
    for warning in warnings:
        tell("warning", warning, word="warning")


def say_usage_error(error: click.ClickException) -> None:
    """A command line that cannot be used: what is wrong with it, after how it should be."""
    context = getattr(error, "ctx", None)
    if context is not None and not LOG.as_json:
        write(f"{context.get_usage()}\ntry '{context.command_path} --help'", err=True)
    tell("error", error.format_message(), word="error")


def print_page(text: str) -> None:
    """A page of ours as it is."""
    write(text, nl=False)


def print_json(text: str | bytes) -> None:
    """JSON as it is, but for characters that a terminal would obey or hide: they become JSON's escapes."""
    shown = printable_json((text if isinstance(text, str) else text.decode()).rstrip("\n"))
    if not _kept:
        write(shown)
        return
    _flush()
    os.dup2(_kept[-1], 1)
    write(shown)
    os.dup2(2, 1)  # not where it could not be written, as the rest of it would go there


_kept: list[int] = []
"""Descriptors of what standard output was before it was kept for JSON."""


@contextmanager
def kept_for_json() -> Iterator[None]:
    """While entered, only `print_json` writes to standard output: what libraries, taggers and children print goes to
    standard error.
    """
    _flush()
    _kept.append(os.dup(1))
    os.dup2(2, 1)
    try:
        yield
    finally:
        before = _kept.pop()
        try:
            _flush()
        finally:
            os.dup2(before, 1)
            os.close(before)


def _flush() -> None:
    write("", nl=False)
