"""The `dolma` command: finds the subcommand, and turns errors into messages and exit statuses.

Exit statuses: 0 done; 1 a failure of ours or of a worker; 2 the recipe or a flag is wrong; 3 the data is wrong;
4 done, but more records were left out, or not measured, than `--max-errors` allows; 5 this shard is done, others are
not (`--no-wait`); 130 interrupted; 141 whoever read the output, such as `head`, has ended.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from dolma import __version__
from dolma.cli.options import SectionedOption, no_such_option
from dolma.cli.printing import LOG, ReaderGone, help_printed, say, say_error, say_help, say_usage_error, tell
from dolma.errors import ConfigError, DolmaError, Unfinished, did_you_mean, nearest
from dolma.printable import printable
from dolma.stages import PACKAGES, find_stage

COMMANDS = {
    **{name: entry.summary for name, entry in PACKAGES.items()},
    "eval": "evaluate a model on held-out shards and benchmark items",
    "trace": "which documents a training step saw, and which steps a document",
    "show": "show documents: by id, a sample, or those nearest to a threshold",
    "why": "what became of a document: measurements, rules, copies, tokens",
    "diff": "compare two versions of a corpus, mix, or folder of tokens",
    "report": "write an HTML report on a finished recipe",
    "card": "write the dataset card of a finished recipe",
    "run": "go through all stages of a recipe; only what changed runs again",
    "list": "show taggers: what they measure, need and assume; their speed",
    "doctor": "what a recipe needs, and how to get what is missing",
    "compile": "compile kernels ahead, for images and clusters",
    "classifier": "train a fastText classifier on labelled text, or evaluate one",
    "fetch": "get public models and lists, once, for taggers to use",
    "verify": "check output folders against their manifests",
    "takedown": "take documents out of everything that a run has written",
}
ALIASES = {entry.alias: name for name, entry in PACKAGES.items() if entry.alias}


def command_of(name: str) -> click.Command:
    """The command of this name, a key of `COMMANDS`; a stage's is made of what it says of itself."""
    if name in PACKAGES and not find_stage(name).manual.below:
        from dolma.cli.stage_command import stage_command

        made: click.Command = stage_command(name)
        return made
    command: click.Command = importlib.import_module(f"dolma.cli.{name}").command
    return command


class Commands(click.Group):
    """Imports a command's file only when the command is used, or asked for help."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return help_printed(super().get_help_option(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            say_help(ctx)
            ctx.exit(2)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = no_such_option(error.option_name, ctx).message
            hint = "options of a command stand after its name: `dolma tag --workers 2`"
            raise click.UsageError(f"{said}\n  {hint}", ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        return command_of(name) if name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        known = name in COMMANDS or name in ALIASES
        if name and not name.startswith("-") and not known and not ctx.resilient_parsing:
            near = nearest(name, [*COMMANDS, *ALIASES])
            ctx.fail(f"no command {name!r}; {did_you_mean(name, COMMANDS if near is None else [near])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        with formatter.section("Start here"):
            formatter.write("  dolma run configs/quickstart.yaml\n  dolma COMMAND --help\n")


def _say_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        say(f"dolma, version {__version__}")
        ctx.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-c", "--config", cls=SectionedOption, metavar="FILE", help="Recipe for the command that follows.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version and exit.",
)
@click.pass_context
def dolma(ctx: click.Context, config: str | None) -> None:
    """Curate pretraining data and train an OLMo-family model on it.

    Text is measured (tag, dedupe), chosen (mix), encoded (tokenize) and trained on (train). Documents are never
    rewritten: measurements lie beside them, so a new threshold costs seconds. One recipe file describes a whole run.
    """
    ctx.obj = {"config": config}


def main() -> None:
    """The console script."""
    _open_closed_streams()
    gc.set_threshold(100_000)  # imports make many objects that stay; to look for garbage among them finds none
    status = run(sys.argv[1:])
    if not sys.modules.keys() & {"duckdb", "torch"}:  # which free at the exit what they would report as leaked
        gc.freeze()
    sys.exit(status)


def _open_closed_streams() -> None:
    """Give closed standard streams the null device: files would else be opened in their place, and printed into."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status; messages go to standard error."""
    LOG.reset()
    try:
        return _status_of(arguments)
    except ReaderGone:
        _drop_output()
        return 141


def _status_of(arguments: list[str]) -> int:
    try:
        _check_text(arguments)
        status: int | None = dolma.main(args=arguments, prog_name="dolma", standalone_mode=False)
    except click.ClickException as error:
        say_usage_error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("error", _what_is_kept(arguments), word="interrupted")
        return 130
    except OSError as error:  # what no module has made an error of its own
        named = f"{printable(error.filename)}: " if error.filename else ""
        say_error(error, f"{named}{error.strerror or error}\n  put that right, and run the same command again")
        return 1
    except MemoryError as error:
        say_error(error, "memory ran out in this process\n  use a machine with more, or fewer `--workers`")
        return 1
    except DolmaError as error:
        say_error(error, word="unfinished" if isinstance(error, Unfinished) else "error")
        return error.exit_status
    return status or 0


def _drop_output() -> None:
    """Give what is still to be written, at the exit too, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _check_text(arguments: list[str]) -> None:
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise ConfigError(f"{printable(argument)} is not UTF-8\n  rename that file or folder, or give another one")


def _what_is_kept(arguments: list[str]) -> str:
    names = [ALIASES.get(word, word) for word in arguments if not word.startswith("-")]
    command = next((name for name in names if name in COMMANDS), "")
    stage = find_stage(command) if command in PACKAGES else None
    # Other commands write their output at the end, wholly or not at all.
    if command == "run" or (stage and stage.resumes and not {*stage.manual.below}.intersection(names)):
        return "finished work is kept; the same command goes on from there"
    return "the same command starts from the beginning"
