"""Options that every command has. Run: pytest tests/cli/test_common_options.py"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from dolma.cli.main import COMMANDS, command_of

if TYPE_CHECKING:
    from .conftest import Dolma


def every_command() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = command_of(name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", one) for below, one in command.commands.items())


@pytest.mark.parametrize(("name", "command"), [pytest.param(*one, id=one[0]) for one in every_command()])
def test_every_command_has_the_common_options(name: str, command: click.Command) -> None:
    flags = [flag for param in command.params for flag in param.opts]
    for flag in ("--json", "-q", "--quiet", "-v", "--verbose", "--log-format"):
        assert flags.count(flag) == 1, name


def tagging(corpus: Path, *more: str) -> list[str]:
    return [
        *("tag", "-t", "length", "--documents", f"{corpus}/*/documents/*.jsonl"),
        *("--attributes", str(corpus / "out"), "--exclude", "web", *more),
    ]


def test_quiet_leaves_warnings_and_errors(dolma: Dolma, corpus: Path) -> None:
    loud, quiet = dolma(*tagging(corpus)), dolma(*tagging(corpus, "-q"))
    assert "left out: " in loud.err
    assert "4 documents in" in loud.out
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    assert dolma("tag", "-q", "-t", "no-such").err.startswith("error: ")
    warned = dolma(*tagging(corpus, "-q", "--exclude", "nothing"))
    assert warned.err == "warning: --exclude 'nothing' leaves nothing out\n"


def test_a_quiet_command_leaves_the_next_one_alone(dolma: Dolma, corpus: Path) -> None:
    dolma(*tagging(corpus, "-q", "--log-format", "json"))
    assert dolma(*tagging(corpus)).err.startswith("left out: ")


def test_verbose_tells_phases_and_where_an_error_comes_from(dolma: Dolma, corpus: Path) -> None:
    told = dolma(*tagging(corpus, "-v"))
    assert "measure: 1 of 1 tasks, 4 documents" in told.err
    failed = dolma("tag", "-v", "-t", "no-such", "--documents", f"{corpus}/books/documents/*")
    assert failed.err.startswith("error: ") or "\nerror: " in failed.err
    assert "\nraised by:\n  Traceback (most recent call last):\n" in failed.err
    assert "Traceback" not in dolma("tag", "-t", "no-such", "--documents", f"{corpus}/books/documents/*").err


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_log_of_json_has_an_object_a_line(dolma: Dolma, corpus: Path) -> None:
    told = records(dolma(*tagging(corpus, "--log-format", "json")).err)
    assert {"time", "level", "message"} <= set.intersection(*(set(record) for record in told))
    phase = next(record for record in told if record.get("tasks"))
    assert (phase["level"], phase["tasks"], phase["of"], phase["documents"]) == ("info", 1, 1, 4)
    failed = records(dolma("tag", "-t", "no-such", "--documents", "x", "--log-format", "json").err)
    assert [record["level"] for record in failed] == ["error"]
    usage = records(dolma("tag", "--log-format", "json", "--workers", "many").err)
    assert [record["level"] for record in usage] == ["error"]


@pytest.fixture
def recipe(corpus: Path) -> Path:
    path = corpus / "recipe.yaml"
    values = {
        "documents": [f"{corpus}/*/documents/*.jsonl"],
        "output": str(corpus / "run"),
        "tag": {"taggers": ["length"]},
        "mix": {"keep": ["length.words > 2"]},
    }
    path.write_text(json.dumps(values))
    return path


def test_run_prints_its_reports_as_json(dolma: Dolma, recipe: Path) -> None:
    plan = json.loads(dolma("run", recipe, "--dry-run", "--json").out)
    assert (plan["waits_for"], list(plan["plan"])) == ({"tag": [], "mix": ["tag"]}, ["tag", "mix"])
    ran = json.loads(dolma("run", recipe, "--json").out)
    assert [report["stage"] for reports in ran["reports"].values() for report in reports] == ["tag", "mix"]


def test_verify_prints_json(dolma: Dolma, corpus: Path) -> None:
    dolma(*tagging(corpus))
    assert json.loads(dolma("verify", corpus / "out", "--json").out)["problems"] == []
    next((corpus / "out" / "length").rglob("*.parquet")).unlink()
    damaged = dolma("verify", corpus / "out", "--json")
    assert damaged.status == 3
    assert "gone" in json.loads(damaged.out)["problems"][0]


def test_a_limited_run_is_one_of_its_own(dolma: Dolma, recipe: Path, corpus: Path) -> None:
    limited = dolma("run", recipe, "--limit", "5")
    assert limited.status == 0
    assert "tag: 5 documents in, 5 out" in limited.out
    assert "limited to the first 5 documents" in limited.out
    assert "limit: 5" in (corpus / "run" / "recipe.yaml").read_text()
    assert dolma("verify", corpus / "run").status == 0
    assert "nothing to do" in dolma("run", recipe, "--limit", "5").out
    whole = dolma("run", recipe)
    assert whole.status == 2
    assert "finished outputs would be replaced" in whole.err
    assert "tag: 8 documents in" in dolma("run", recipe, "--overwrite").out


def test_all_attributes_serve_a_limited_stage(dolma: Dolma, corpus: Path) -> None:
    reads = ["--documents", f"{corpus}/*/documents/*.jsonl", "--attributes", corpus / "out"]
    assert dolma("tag", "-t", "length", *reads).status == 0
    mixed = dolma("mix", "--keep", "length.words > 0", *reads, "--limit", "5", "--output", corpus / "mixed")
    assert "mix: 5 documents in" in mixed.out
    counted = json.loads(dolma("stat", *reads, "--limit", "5", "--json").out)
    assert counted["ledger"]["accounts"]["web"]["taken"]["documents"] == 1


@pytest.mark.parametrize("command", ["list", "train", "trace", "fetch", "compile", "eval"])
def test_what_reads_no_documents_has_no_limit(dolma: Dolma, command: str) -> None:
    ended = dolma(command, "--limit", "5")
    assert ended.status == 2
    assert "no option '--limit'" in ended.err


def test_a_limit_is_at_least_one(dolma: Dolma) -> None:
    assert "`limit` is 0, expected at least 1" in dolma("tag", "-t", "length", "--documents", "x", "--limit", "0").err


@pytest.mark.e2e
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    """What a shell asks, by variables of the environment, without the shell itself."""

    def complete(line: str) -> str:
        words = line.split()
        asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1)}
        answered = subprocess.run(
            [sys.executable, "-c", "from dolma.cli.main import main; main()"],
            env={**os.environ, "_DOLMA_COMPLETE": f"{shell}_complete", **asked},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return answered.stdout

    assert "tokenize" in complete("dolma tok")
    assert "--max-memory" in complete("dolma tag --max")
    assert "soup" in complete("dolma train s")
    assert "file" in complete("dolma tag --config data/")
    assert "file" in complete("dolma run configs/")
