"""Nothing that a user's text holds drives the terminal. Run: pytest tests/cli/test_printing.py"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dolma as package
from dolma.cli.main import run
from dolma.cli.printing import is_live, kept_for_json, print_json, say
from dolma.cli.terminal import show_table
from dolma.errors import WriteError
from dolma.runner.ledger import Ledger
from dolma.runner.report import ledger_table

if TYPE_CHECKING:
    from .conftest import Dolma

PRINTERS = {"cli/printing.py"}
HOSTILE = "a\x1b[2J\n  ok: all is well\u202e[/][bold]x\u200b\x9b"
SHOWN = r"a\x1b[2J\n  ok: all is well\u202e[/][bold]x\u200b\x9b"
SAMPLE = str(Path(__file__).parents[2] / "data" / "sample" / "*" / "documents" / "*")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x1b\r\n \u202e[]/"), min_size=1)


def acts(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_one_place_prints() -> None:
    root = Path(package.__path__[0])
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "click.secho"):
                found.add((str(path.relative_to(root)), ast.unparse(node)))
    assert {path for path, _ in found} == PRINTERS


def write_corpus(folder: Path, *, id: str = "1", source: str = "web", name: str = "a") -> str:
    path = folder / "documents" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"id": id, "text": "one two", "source": source}) + "\n", encoding="utf-8")
    return str(folder / "documents")


def test_a_source_that_is_markup_ends_no_mix(dolma: Dolma, tmp_path: Path) -> None:
    documents = write_corpus(tmp_path, source="[/]")
    ended = dolma("mix", "--keep", "document.bytes > 0", "--documents", documents, "--output", tmp_path / "m")
    assert ended.status == 0
    assert " [/] " in ended.out


def test_a_rule_and_an_id_are_shown_as_they_are(dolma: Dolma, tmp_path: Path) -> None:
    documents = write_corpus(tmp_path, id=HOSTILE)
    rule = "len([s for s in [1, 2] if s > document.bytes]) > 0"
    ended = dolma("mix", "--keep", rule, "--documents", documents, "--output", tmp_path / "m")
    (row,) = [line for line in ended.out.splitlines() if line.startswith(f" keep: {rule}")]
    assert row.endswith(SHOWN)
    assert acts(ended.out + ended.err) == []


def test_a_warning_about_a_rule_is_one_line(dolma: Dolma, tmp_path: Path) -> None:
    documents = write_corpus(tmp_path)
    ended = dolma("mix", "--drop", "document.id = 'x\u202e'", "--documents", documents, "--output", tmp_path / "m")
    assert ended.status == 0, ended.err
    assert ended.err == "warning: the rule `drop: document.id = 'x\\u202e'` drops no document of 1\n"


def test_an_error_that_quotes_a_document_is_in_its_line(dolma: Dolma, tmp_path: Path) -> None:
    documents = write_corpus(tmp_path, id=HOSTILE)
    ended = dolma("mix", "--keep", "CAST(document.id AS INT) > 0", "--documents", documents, "--output", tmp_path / "m")
    assert ended.status == 3
    assert SHOWN in ended.err
    assert [line[:2] for line in ended.err.splitlines()] == ["er", "  "]


@pytest.mark.parametrize("command", ["stat", "tag", "dedupe"])
@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--json"], ["--dry-run", "--json"]], ids=" ".join)
def test_a_source_and_a_file_name_drive_nothing(dolma: Dolma, tmp_path: Path, command: str, more: list[str]) -> None:
    documents = write_corpus(tmp_path, source=HOSTILE, name="a[/][bold]\u202e\u200b")
    taggers = ["-t", "length"] if command == "tag" else []
    ended = dolma(command, *taggers, "--documents", documents, "--attributes", tmp_path / "x", *more)
    assert ended.status == 0, ended.err
    assert acts(ended.out + ended.err) == []
    assert not [line for line in (ended.out + ended.err).splitlines() if line.startswith("  ok")]
    if "--json" in more:
        json.loads(ended.out)


def test_an_error_about_a_file_is_one_line(dolma: Dolma, tmp_path: Path) -> None:
    documents = write_corpus(tmp_path, name=HOSTILE.replace("/", ""))
    next(Path(documents).iterdir()).write_text("{}\n")
    ended = dolma("tag", "-t", "length", "--documents", documents, "--attributes", tmp_path / "x")
    assert ended.status == 3
    assert acts(ended.out + ended.err) == []
    assert not [line for line in ended.err.splitlines() if line.startswith("  ok")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", HOSTILE],
        [HOSTILE],
        ["tag", f"--{HOSTILE}"],
        ["tag", "--workers", HOSTILE],
        ["tag", "-t", HOSTILE, "--documents", SAMPLE],
        ["tag", "-t", "length", "--documents", f"/nowhere/{HOSTILE}"],
        ["tag", "-t", "length", "--documents", SAMPLE, "--shard", HOSTILE],
        ["tag", "--set", HOSTILE],
        ["tag", "--set", f"{HOSTILE}=1"],
        ["tag", "-c", HOSTILE],
        ["run", HOSTILE],
        ["verify", HOSTILE],
        ["fetch", HOSTILE],
        ["trace", "--run", HOSTILE, "--step", "1"],
        ["train", "plan", HOSTILE],
        ["eval", HOSTILE, "--tokens", HOSTILE],
        ["classifier", "train", "--output", "x.bin", "--class", HOSTILE],
        ["classifier", "train", "--output", "x.bin", "--rule", f"x={HOSTILE}", "--documents", HOSTILE],
        ["tokenize", "--tokenizer", HOSTILE, "--documents", SAMPLE, "--output", "never"],
        ["stat", "--documents", SAMPLE, "--stat-attributes", HOSTILE],
        ["mix", "--keep", HOSTILE, "--documents", SAMPLE, "--output", "never"],
        ["doctor", "-t", HOSTILE],
        ["doctor", "--documents", HOSTILE],
    ],
)
def test_an_error_about_any_text_drives_nothing(dolma: Dolma, arguments: list[str]) -> None:
    ended = dolma(*arguments)
    assert ended.status in (2, 3)
    assert acts(ended.out + ended.err) == []
    assert not [line for line in (ended.out + ended.err).splitlines() if line.lstrip().startswith("ok: all is well")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=ANY_TEXT, reason=ANY_TEXT)
def test_any_source_and_rule_stay_in_their_row_of_a_ledger(
    capsys: pytest.CaptureFixture[str], source: str, reason: str
) -> None:
    ledger = Ledger()
    ledger.take(source, documents=4321, bytes=1)
    ledger.drop(source, reason, documents=4321, bytes=1)
    capsys.readouterr()
    show_table(ledger_table(ledger))
    shown = capsys.readouterr().out
    assert acts(shown) == []
    assert shown.count("4,321") == 2
    assert len(shown.splitlines()) == 7


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_of_any_width_shows_whole_numbers(
    dolma: Dolma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    documents = write_corpus(tmp_path)
    arguments = ("--documents", documents, "--attributes", tmp_path / "x")
    dolma("tag", "-t", "gopher", *arguments)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = dolma("stat", *arguments).out
    assert all(len(line) <= width for line in shown.splitlines() if "\x1b" not in line)
    assert "gopher.fraction_of_characters_in_duplicate_10grams" in shown


def test_a_full_standard_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(WriteError, match="standard output: cannot be written: No space left on device"):
            say("a")
    with contextlib.suppress(OSError):  # what was not written is written again
        full.close()


@pytest.mark.parametrize("command", ["--help", "--version", "tag --help", "train plan -h"])
def test_pages_of_help_name_a_full_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    full = open("/dev/full", "w")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert run(command.split()) == 1
    assert "standard output: cannot be written: No space left" in capsys.readouterr().err
    with contextlib.suppress(OSError):  # what was not written is written again
        full.close()


def test_a_terminal_without_a_cursor_gets_no_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, live in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", name)
        assert is_live() is live


def test_standard_output_is_for_json_alone_while_it_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with kept_for_json():
        os.write(1, b"before\n")
        print_json("{}")
        os.write(1, b"after\n")
    os.write(1, b"free\n")
    assert capfd.readouterr() == ("{}\nfree\n", "before\nafter\n")
