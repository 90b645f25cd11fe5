"""docs/errors.md: every message of the code is explained there, and its examples show it."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from dolma.cli.main import run
from dolma.errors import DolmaError
from tests.messages import AREAS, PAGE, ROOT, STATUS, Entry, entries, messages, page, pattern

SHOWN = [entry for entry in entries().values() if entry.run]


def test_every_message_has_an_entry_and_every_entry_a_message() -> None:
    missing, gone = messages().keys() - entries().keys(), entries().keys() - messages().keys()
    assert not missing, "write their entries in docs/errors/*.yaml: " + "; ".join(sorted(missing))
    assert not gone, "remove their entries from docs/errors/*.yaml: " + "; ".join(sorted(gone))


# What cannot say more than it does, and why.
SILENT = {
    "--set …: …": "what is set says it: the text is that of another message",
    "field …": "the text is that of another message",
    "no document was decided on: a rule …": "the text is that of another message",
}


def test_every_message_says_what_was_expected_or_what_to_type_next() -> None:
    silent = {text: found[0].file for text, found in messages().items() if not all(m.says_what_next for m in found)}
    assert silent.keys() == SILENT.keys(), silent


def test_every_message_has_an_area() -> None:
    files = tuple(file for area in AREAS.values() for file in area)
    assert [found[0].file for found in messages().values() if not found[0].file.startswith(files)] == []


def test_the_page_is_made_of_the_entries() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.messages`"


@pytest.mark.parametrize("entry", SHOWN, ids=[entry.message[:60] for entry in SHOWN])
def test_the_example_shows_its_message(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "configs"):  # folders of its own, so that outputs beside documents lie there
        shutil.copytree(ROOT / name, tmp_path / name, copy_function=os.symlink)
    for name, content in entry.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    *before, last = entry.commands
    for line in before:
        assert ran(line, monkeypatch) == 0, line
    capsys.readouterr()
    kinds = {found.error for found in messages()[entry.message]}
    try:
        status = ran(last, monkeypatch)
    except DolmaError as error:  # of a program in Python
        said, status = str(error), error.exit_status
        assert type(error).__name__ in kinds
    else:
        said = capsys.readouterr().err
    assert pattern(entry.message).search(said), said
    assert status in {STATUS[kind] for kind in kinds}


def ran(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a line of an example; that of a program in Python is its `status`, if it has one.

    Commands that are not dolma's run in a shell, as a reader types them.
    """
    words = shlex.split(line)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    command, *arguments = words
    if command == "python":
        return int(runpy.run_path(arguments[0], run_name="__main__").get("status", 0))
    return run(arguments) if command == "dolma" else subprocess.run(line, shell=True, timeout=60).returncode
