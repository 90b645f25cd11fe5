"""Help pages, names of commands, exit statuses. Run: pytest tests/cli/test_main.py"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from dolma import __version__
from dolma.cli import main
from dolma.cli.main import ALIASES, COMMANDS, command_of
from dolma.errors import ConfigError

if TYPE_CHECKING:
    from .conftest import Dolma


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_sentence_an_example_and_sections(dolma: Dolma, name: str) -> None:
    ended = dolma(name, "--help")
    assert ended.status == 0
    assert ended.out.startswith(f"Usage: dolma {name} ")
    assert f"\nExample:\n  dolma {name}" in ended.out
    assert "\nOptions:\n" not in ended.out
    assert "[TAGGER]" not in ended.out.split("\n", 1)[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    options = [param for param in command_of(name).params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_is_no_key_shows_its_default(name: str) -> None:
    """Unless nothing is a sensible one, or click shows it; options of keys are looked at in tests/test_keys.py."""
    without = {
        "config", "assignments", "shard", "take_over", "stall_after", "tokens", "document", "run", "step", "task",
        "olmo_task", "sha256", "only", "start", "sweeps", "target_tokens", "labels",
        "sample", "where", "nearest", "pairs", "characters", "sql", "examples", "file",
        "ids", "domains", "rule", "with_cluster", "read_only",
    }  # fmt: skip
    options = [param for param in command_of(name).params if isinstance(param, click.Option) and not param.is_flag]
    own = [option for option in options if getattr(option, "key", None) is None]
    assert {option.name for option in own if "[default:" not in (option.help or "")} <= without


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_parse(name: str) -> None:
    command = command_of(name)
    text = command.example.replace("\\\n", " ")  # type: ignore[attr-defined]
    for line in text.strip().splitlines():
        program, found, *arguments = shlex.split(line)
        assert (program, found) == ("dolma", name)
        command.make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_never_wider_than_asked(dolma: Dolma, name: str) -> None:
    example = command_of(name).example.splitlines()  # type: ignore[attr-defined]
    lines = [line for line in dolma(name, "--help").out.splitlines() if line.strip() not in map(str.strip, example)]
    assert max(map(len, lines)) <= 110


def test_the_first_page_lists_every_command_and_where_to_start(dolma: Dolma) -> None:
    ended = dolma("--help")
    assert ended.status == 0
    for name, meaning in COMMANDS.items():
        assert f"  {name}" in ended.out
        assert meaning in ended.out
    assert "dolma run configs/quickstart.yaml" in ended.out


@pytest.mark.parametrize("command", [[], ["classifier"]])
def test_nothing_but_a_command_of_commands_shows_its_help_page(dolma: Dolma, command: list[str]) -> None:
    ended = dolma(*command)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err == dolma(*command, "--help").out


@pytest.mark.parametrize("name", ["classifier", "train"])
def test_a_command_of_commands_says_the_whole_sentence_of_each(dolma: Dolma, name: str) -> None:
    listed = dolma(name, "--help").out.partition("\nCommands:\n")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_the_same_command(dolma: Dolma, alias: str, name: str) -> None:
    pages = [dolma(called, "--help").out.split("\n", 1) for called in (alias, name)]
    assert pages[0][0] == pages[1][0].replace(name, alias)
    assert pages[0][1] == pages[1][1]


@pytest.mark.parametrize(("given", "meant"), [("toknize", "tokenize"), ("dedup", "dedupe"), ("tags", "tag")])
def test_an_unknown_command_suggests_the_nearest(dolma: Dolma, given: str, meant: str) -> None:
    ended = dolma(given)
    assert ended.status == 2
    assert f"no command {given!r}; did you mean {meant!r}?" in ended.err


def test_an_unknown_command_like_none_lists_all(dolma: Dolma) -> None:
    assert "valid: card, classifier, compile, dedupe, diff, doctor, eval," in dolma("qqq").err


def test_an_unknown_option_suggests_the_nearest(dolma: Dolma) -> None:
    ended = dolma("tag", "--worker", "2")
    assert ended.status == 2
    assert "'--worker'" in ended.err
    assert "--workers" in ended.err


@pytest.mark.parametrize(
    ("command", "given", "meant"),
    [
        ("tag", "--processes", "--workers"),
        ("tag", "--dryrun", "--dry-run"),
        ("mix", "--destination", "--output"),
        ("train", "--lr", "--learning-rate"),
        ("stat", "--json-lines", "--json"),
    ],
)
def test_an_option_of_another_tool_suggests_ours(dolma: Dolma, command: str, given: str, meant: str) -> None:
    ended = dolma(command, given, "3")
    assert ended.status == 2
    assert f"error: no option {given!r}; did you mean {meant!r}?" in ended.err


def test_an_option_before_its_command_says_where_it_stands(dolma: Dolma) -> None:
    ended = dolma("--workers", "2", "tag")
    assert ended.status == 2
    assert "options of a command stand after its name" in ended.err


@pytest.mark.parametrize(("group", "given", "meant"), [("train", "plna", "plan"), ("classifier", "trian", "train")])
def test_an_unknown_command_of_a_group_suggests_the_nearest(dolma: Dolma, group: str, given: str, meant: str) -> None:
    ended = dolma(group, given)
    assert ended.status == 2
    assert f"no command {given!r} of `dolma {group}`; did you mean {meant!r}?" in ended.err


def test_version(dolma: Dolma) -> None:
    assert dolma("--version").out == f"dolma, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (["tag"], True),
        (["tokens"], True),
        (["-c", "recipe.yaml", "run"], True),
        (["train", "--config", "recipe.yaml"], True),
        (["train", "export", "step1"], False),
        (["classifier", "train", "--output", "a.bin"], False),
        (["stat", "documents"], False),
        ([], False),
    ],
)
def test_ctrl_c_is_status_130_and_says_what_is_kept(
    dolma: Dolma, monkeypatch: pytest.MonkeyPatch, arguments: list[str], goes_on: bool
) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.dolma, "main", interrupted)
    ended = dolma(*arguments)
    assert ended.status == 130
    kept = "finished work is kept; the same command goes on from there"
    assert ended.err == f"interrupted: {kept if goes_on else 'the same command starts from the beginning'}\n"


def test_an_error_of_ours_is_one_message_and_its_status(dolma: Dolma, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ConfigError("wrong\n  do that", path="$.mix", file="r.yaml")

    monkeypatch.setattr(main.dolma, "main", fail)
    ended = dolma("list")
    assert (ended.status, ended.err) == (2, "error: r.yaml: $.mix: wrong\n  do that\n")


def test_other_exceptions_are_not_hidden(dolma: Dolma, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(main.dolma, "main", fail)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        dolma("list")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{shlex.quote(sys.executable)} -m dolma list gopher --json | head -c 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr


def test_nothing_but_the_error_is_said_where_rules_were_compiled(corpus: Path) -> None:
    command = ["mix", "--keep", "length.words > 0", "--documents", str(corpus), "--output", "nowhere"]
    ended = subprocess.run([sys.executable, "-m", "dolma", *command], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 3, ended.stderr


def test_the_module_runs_as_a_program() -> None:
    ended = subprocess.run([sys.executable, "-m", "dolma", "no-such"], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "no command 'no-such'" in ended.stderr


CLOSED = 'exec 0<&- 1>&- 2>&-; exec "$0" -c "$@"'


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; from dolma.cli.main import main; sys.argv = ['dolma', 'list', 'length']; main()", 0),
        ("import sys; from dolma.cli.main import main; sys.argv = ['dolma', 'list', 'nothing']; main()", 2),
        ("import os; from dolma.cli import main as m; m._open_closed_streams(); os._exit(os.dup(1) < 3)", 0),
    ],
)
def test_with_closed_streams_a_command_runs_and_no_file_gets_their_numbers(code: str, status: int) -> None:
    assert subprocess.run(["bash", "-c", CLOSED, sys.executable, code], timeout=60, check=False).returncode == status


def out_of_memory(*_: object, **__: object) -> None:
    raise MemoryError


def test_memory_that_runs_out_in_the_parent_is_one_message(
    dolma: Dolma, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dolma("tag", "--taggers", "length", "--documents", corpus)
    monkeypatch.setattr("dolma.verification.read_manifest", out_of_memory)
    ended = dolma("verify", corpus)
    said = "error: memory ran out in this process\n  use a machine with more, or fewer `--workers`\n"
    assert (ended.status, ended.out, ended.err) == (1, "", said)


def test_memory_that_runs_out_in_a_task_names_its_file(
    dolma: Dolma, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolma.stats.counts.read_batches", out_of_memory)
    ended = dolma("stat", "--documents", corpus, "--workers", 1)
    assert ended.status == 1
    assert "a.jsonl: memory ran out\n  use fewer `--workers` or a machine with more memory; if records" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [["list"], ["tag", "--wrong"], ["stat"]])
def test_whoever_reads_the_output_may_end(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code = [sys.executable, "-W", "error", "-m", "dolma", *arguments]
        ended = subprocess.run(code, stdout=writing, stderr=writing, timeout=100)
        assert ended.returncode == 141
        if arguments == ["list"]:
            apart = subprocess.run(code, stdout=writing, stderr=subprocess.PIPE, timeout=100)
            assert (apart.returncode, apart.stderr) == (141, b"")
    finally:
        os.close(writing)
