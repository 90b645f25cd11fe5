"""What training shows while it goes on. Run: pytest tests/cli/test_terminal.py"""

from __future__ import annotations

import contextlib
import sys

import pytest

from dolma.cli.session import run_stages
from dolma.cli.terminal import QuietReporter, TerminalReporter, show_table
from dolma.config import make_recipe
from dolma.errors import DolmaError
from dolma.graph import node_of
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions
from dolma.runner.report import ledger_table
from dolma.stages import PACKAGES, Running
from dolma.training.metrics import StepRecord


def record(step: int) -> StepRecord:
    return StepRecord(
        step=step,
        stage="train",
        tokens=100 * step,
        labels=64,
        loss=2.5,
        z_loss=0.0,
        grad_norm=1.0,
        lr=1e-3,
        skipped=False,
        batch="",
        tokens_per_second=50.0,
    )


def test_ten_lines_remain_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter()
    for step in range(1, 101):
        reporter.on_step(record(step), 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "step 1/100  loss 2.500  lr 1.00e-03  50 tokens/s  3:18 left"
    assert lines[-1].startswith("step 100/100") and lines[-1].endswith("0:00 left")


@pytest.mark.parametrize("kind", [TerminalReporter, QuietReporter])
def test_where_training_goes_on_is_said_once(
    kind: type[TerminalReporter | QuietReporter], capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = kind()
    for step in range(25, 28):
        reporter.on_step(record(step), 100)
    said = [line for line in capsys.readouterr().err.splitlines() if "goes on" in line]
    assert said == ["train: goes on from step 24 of 100"]


def test_a_file_has_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolma.cli.terminal.time.monotonic", iter(range(1000)).__next__)
    reporter = QuietReporter()
    for step in range(1, 36):
        reporter.on_step(record(step), 100)
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["10/100", "20/100", "30/100"]


def test_a_terminal_shows_the_step_that_it_is_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("dolma.cli.terminal.time.monotonic", iter(range(1000)).__next__)
    reporter = TerminalReporter()
    for step in range(1, 51):
        reporter.on_step(record(step), 100)
    shown = capsys.readouterr().err
    assert shown.count("\r") == 50
    assert shown.count("\n") == 6


def test_the_ledger_has_the_rules_that_drop_something_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    ledger.take("web", documents=6)
    ledger.drop("web", "a second", documents=1)
    ledger.drop("web", "sampled out", documents=2)
    ledger.keep("web", documents=3)
    show_table(ledger_table(ledger, rules=["z first", "sampled out", "a second"]))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "web" in line]
    assert lines == [
        ["web", "in", "6", "0"],
        ["web", "-", "sampled", "out", "2", "0"],
        ["web", "-", "a", "second", "1", "0"],
        ["web", "out", "3", "0"],
    ]


def test_a_terminal_says_at_once_what_is_being_done_and_wipes_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    reporter = TerminalReporter()
    reporter.doing("tag: loading taggers \x1b[31m")
    assert capsys.readouterr().err == "tag: loading taggers \\x1b[31m"
    reporter.note("a note")
    assert capsys.readouterr().err == "\r\x1b[2Ka note\n"
    reporter.finish()
    assert capsys.readouterr().err == ""


def test_progress_in_a_pipe_has_a_line_for_what_is_being_done(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TerminalReporter()
    reporter.doing("tag: loading taggers")
    reporter.finish()
    assert capsys.readouterr().err == "tag: loading taggers\n"


@pytest.mark.parametrize("stage", PACKAGES)
def test_every_stage_says_what_it_begins_with_before_it_does(stage: str) -> None:
    said: list[str] = []

    class Listening(QuietReporter):
        def doing(self, text: str) -> None:
            said.append(text)

    running = Running(options=RunOptions(), reporter=Listening())
    settings = {"tag": {"taggers": ["length"]}, "tokenize": {"tokenizer": "none.json"}}
    node = node_of(make_recipe({"output": "never", stage: settings.get(stage, {})}), stage)
    with contextlib.suppress(DolmaError):  # there is nothing to read
        list(run_stages(node, running))
    assert said and said[0].startswith(f"{stage}: ")
