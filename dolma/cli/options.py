"""Options and commands: a help page with sections, options of recipe keys, and those that every command has."""

from __future__ import annotations

import itertools
import math
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from dolma.cli.printing import LOG, help_printed, kept_for_json, say_help
from dolma.errors import ConfigError, did_you_mean, nearest
from dolma.printable import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dolma.keys import Key

F = Callable[..., Any]


class FiniteRange(click.FloatRange):
    """A number between two bounds, which NaN is not, although it compares with none of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no number of the range {self._describe_range()}\n  give another one", param, ctx)
        return number


class SectionedOption(click.Option):
    """An option that knows which section of the help page it belongs to, and which recipe key it overrides.

    `commas`: its values are names, of which several may be given in one word. One that takes a single value is given
    once; `several` says what to do who has several.
    """

    def __init__(
        self,
        *args: Any,
        section: str = "Options",
        key: str | None = None,
        commas: bool = False,
        several: str = "give one of them",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("show_default", True)
        super().__init__(*args, **kwargs)
        self.section, self.key, self.commas, self.several = section, key, commas, several

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        gathering: Any = _Gathering(parser)
        super().add_to_parser(parser if self.multiple or self.count else gathering, ctx)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        name = self.name or ""
        given = opts.get(name)
        if isinstance(given, list) and not (self.multiple or self.count):
            before = (ctx.default_map or {}).get(name)
            self._check_once(given if before is None else [before, *given], ctx)
            opts = {**opts, name: given[0]}
        return super().handle_parse_result(ctx, opts, args)

    def _check_once(self, given: list[Any], ctx: click.Context) -> None:
        """Return unless one value would silently win over another; a switch may be set again."""
        name = max(self.opts, key=len)
        if self.is_flag:
            if len(set(given)) > 1:
                against = self.secondary_opts[0]
                raise click.UsageError(f"{name} and {against} are both given\n  give one of them", ctx)
        elif len(given) > 1:
            times = "twice" if len(given) == 2 else f"{len(given)} times"
            values = printable(", ".join(map(str, given)))
            raise click.UsageError(f"{name} is given {times}: {values}\n  {self.several}", ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        kind = {"DIR": "dir", "FILE": "file", "PATTERN": "file"}.get(self.metavar or "")
        return [CompletionItem(incomplete, type=kind)] if kind else super().shell_complete(ctx, incomplete)


class _Gathering:
    """A parser of click to which an option is added whose values are all kept, where click keeps the last."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser

    def add_option(self, *args: Any, action: str | None = None, **kwargs: Any) -> None:
        self.parser.add_option(*args, action=_KEEPING_ALL.get(action or "store", action), **kwargs)


_KEEPING_ALL = {"store": "append", "store_const": "append_const"}


class ManualCommand(click.Command):
    """A command whose help is its manual: a sentence, an example to paste, options by section."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params += self.common_options()

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return help_printed(super().get_help_option(ctx))

    def common_options(self) -> list[click.Parameter]:
        """The options that every command has."""

        def tells(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
            return lambda ctx, param, value: setattr(LOG, key, value in (True, "json") or getattr(LOG, key))

        def made(*names: str, help: str, **kwargs: Any) -> SectionedOption:
            return SectionedOption(names, section="Output", show_default=False, help=help, **kwargs)

        hidden: dict[str, Any] = {"expose_value": False, "is_eager": True}
        return [
            made("--json", "as_json", is_flag=True, help="Print JSON instead of tables; of a dry run every file."),
            made(
                "-q", "--quiet", is_flag=True, callback=tells("quiet"), **hidden,
                help="Only warnings and errors on standard error, and no summary.",
            ),
            made(
                "-v", "--verbose", is_flag=True, callback=tells("verbose"), **hidden,
                help="Print each phase, and the origin of an error.",
            ),
            made(
                "--log-format", type=click.Choice(["text", "json"]), callback=tells("as_json"), **hidden,
                help="Format of messages on standard error: lines, or a JSON object a line.  [default: text]",
            ),
        ]  # fmt: skip

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise no_such_option(error.option_name, ctx) from None
        except click.UsageError as error:
            if type(error) is click.UsageError and "unexpected extra argument" in error.message:
                raise click.UsageError(error.message + _why_extra(self.get_params(ctx), given), ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        with kept_for_json() if ctx.params.get("as_json") else nullcontext():
            return super().invoke(ctx)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.example:
            formatter.write_paragraph()
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(" " * formatter.current_indent + line + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "section", "Other"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _why_extra(params: list[click.Parameter], given: list[str]) -> str:
    """What to type instead, where words stand behind an option that takes one, or behind none."""
    options = {name: param for param in params for name in param.opts if isinstance(param, click.Option)}
    first = given[0]
    if not first.startswith("-") and first.endswith((".yaml", ".yml")) and "--config" in options:
        return f"\n  a recipe is given by an option: `-c {first}`"
    if not first.startswith("-") and "--documents" in options:
        return f"\n  documents are given by an option: `--documents {first!r}`"
    for i, word in enumerate(given):
        values = list(itertools.takewhile(lambda value: not value.startswith("-"), given[i + 1 :]))
        if word in options and not getattr(options[word], "is_flag", False) and len(values) > 1:
            if word in ("--documents", "--exclude"):
                return (
                    f"\n  the shell put {len(values):,} names in the place of a pattern: quote it, as in "
                    f"`{word} 'data/*.jsonl'`"
                )
            if options[word].multiple:
                return f"\n  repeat the option: `{' '.join(f'{word} {value}' for value in values)}`"
            return f"\n  {word} takes one value; quote it if there are spaces in it: `{word} {' '.join(values)!r}`"
    return ""


def no_such_option(given: str, ctx: click.Context) -> click.UsageError:
    """The error for an option that the command does not have, with the one that is meant, here or in another tool."""
    params = ctx.command.get_params(ctx)
    names = [name for param in params for name in (*param.opts, *param.secondary_opts) if name.startswith("--")]
    near = nearest(given, [name for name in names if name != "--help" or given.startswith("--h")])
    if given == "--status":
        return click.UsageError("no option '--status'\n  `dolma run --status FOLDER` shows how far a stage is", ctx)
    if near is None:
        return click.UsageError(f"no option {given!r}\n  see `{printable(ctx.command_path)} --help`", ctx)
    return click.UsageError(f"no option {given!r}; did you mean {near!r}?", ctx)


class ManualGroup(ManualCommand, click.Group):
    """A command that has commands below it, and may work by itself."""

    def common_options(self) -> list[click.Parameter]:
        """Those of every command, if it works by itself."""
        return super().common_options() if self.invoke_without_command else []

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (args or self.invoke_without_command or ctx.resilient_parsing):
            say_help(ctx)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not ctx.resilient_parsing:
            ctx.fail(f"no command {args[0]!r} of `{ctx.command_path}`; {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        ManualCommand.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].get_short_help_str(1000)) for name in sorted(self.commands)])


def option(*names: str, section: str, key: str | None = None, **kwargs: Any) -> Callable[[F], F]:
    """A `SectionedOption`; `key` is the path of the recipe key that it overrides.

    Of a key, name, type, choices, help and default are those that the struct of settings declares (`dolma/keys.py`);
    what the value may be is checked there too.
    """
    if key is not None:
        from dolma.config import Recipe
        from dolma.keys import find

        found = find(Recipe, key)
        names = names or (flag_of(found),)
        if bool in found.types and "/" not in names[-1]:
            names = (*names[:-1], either(names[-1]))
        kwargs = settings_of(found) | kwargs
    return click.option(*names, cls=SectionedOption, section=section, key=key, **kwargs)


def flag_of(key: Key) -> str:
    return f"--{key.name.replace('_', '-')}"


def either(flag: str) -> str:
    return f"{flag}/--no-{flag.removeprefix('--')}"


def settings_of(key: Key) -> dict[str, Any]:
    """What click is told of a key."""
    from dolma.runner.options import READ_AS

    multiple = any(typing.get_origin(kind) in (list, tuple) for kind in key.types) and key.name not in READ_AS
    repeat = (" Repeatable, or a,b." if key.names else " Repeatable.") if multiple else ""
    default = f"  [default: {key.shown_default}]" if key.shown_default else ""
    found: dict[str, Any] = {"help": f"{key.description}{repeat}{default}", "show_default": False}
    if key.choices:
        return found | {"type": click.Choice(key.choices)}
    if bool in key.types:
        return found | {"default": None}
    items = typing.get_args(key.types[0]) if multiple else () if key.name in READ_AS else key.types
    plain = next((kind for kind in (int, float) if kind in items), str)
    metavar = key.metavar or {int: "N", float: "X"}.get(plain)
    return found | {"type": plain, "metavar": metavar} | ({"multiple": True, "commas": key.names} if multiple else {})


def stacked(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """The decorators as one, the first outermost."""

    def wrap(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return wrap


def _split(values: Sequence[str]) -> list[str]:
    """Names, also of `a,b`; the name of a file that is there stays as it is.

    >>> _split(["gopher,length", "pii,mine.py:Tagger"])
    ['gopher', 'length', 'pii', 'mine.py:Tagger']
    """
    are_files = (os.path.isfile(value.rpartition(":")[0] or value) for value in values)
    return [
        name
        for value, is_file in zip(values, are_files, strict=True)
        for name in ([value] if is_file else filter(None, value.split(",")))
    ]


def is_given(ctx: click.Context, param: click.Parameter) -> bool:
    """Whether the user has given this option, after the command or after the one that it belongs to."""
    sources = click.core.ParameterSource
    return ctx.get_parameter_source(param.name or "") in (sources.COMMANDLINE, sources.DEFAULT_MAP)


def hand_down(ctx: click.Context, subcommand: str) -> None:
    """Give a command the options that stand before its name.

    Raises:
        click.UsageError: it has no such option.
    """
    assert isinstance(ctx.command, click.Group)
    below = ctx.command.commands[subcommand]
    taken = {param.name for param in below.params}
    given = [param for param in ctx.command.params if param.name in ctx.params and is_given(ctx, param)]
    for param in given:
        if param.name not in taken:
            raise click.UsageError(
                f"`{ctx.command_path} {subcommand}` has no option {param.opts[0]!r}\n  leave it out", ctx
            )
    ctx.default_map = {subcommand: {param.name: ctx.params[param.name or ""] for param in given}}


def overrides_of(ctx: click.Context) -> dict[str, Any]:
    """What the user gave on the command line, by recipe key."""
    found: dict[str, Any] = {}
    for param in ctx.command.params:
        if is_given(ctx, param) and isinstance(param, SectionedOption) and param.key is not None:
            value = ctx.params[param.name or ""]
            found[param.key] = value if not isinstance(value, tuple) else _split(value) if param.commas else list(value)
    for assignment in ctx.params.get("assignments", ()):
        ((key, value),) = parse_assignment(assignment).items()
        if key in found:
            raise click.UsageError(
                f"`{printable(key)}` is given twice: {printable(str(found[key]))}, {printable(str(value))}"
                "\n  give one of them, by its option or by --set",
                ctx,
            )
        found[key] = value
    return found


def parse_assignment(assignment: str) -> dict[str, Any]:
    """`KEY=VALUE` as a recipe key and its value, read as YAML.

    >>> parse_assignment("mix.keep=[length.words > 5]")
    {'mix.keep': ['length.words > 5']}
    """
    from dolma.recipe_file import parse

    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {printable(assignment)}: expected KEY=VALUE, such as --set mix.missing=drop")
    try:
        return {key.strip(): parse(text, file="")[0]}
    except ConfigError as error:
        raise ConfigError(f"--set {printable(assignment[:200])}: {error.message}") from error
