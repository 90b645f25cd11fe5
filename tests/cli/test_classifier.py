"""`dolma classifier train` and `eval`. Run: pytest tests/cli/test_classifier.py"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import psutil
import pytest

from dolma.classifier.model_card import Settings
from dolma.cli.classifier import command

if TYPE_CHECKING:
    from .conftest import Dolma

TINY = ("--dim", "4", "--buckets", "500", "--epochs", "30", "--learning-rate", "0.5", "--held-out", "0.3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `good/documents/a.jsonl` (30 documents) and `bad/documents/a.jsonl` (40)."""
    for name, n in (("good", 30), ("bad", 40)):
        path = tmp_path / name / "documents" / "a.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"id": f"{name}{i}", "text": f"{name} text {i}"}) + "\n" for i in range(n)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


SOURCES = ("--positive", "good/documents/*", "--negative", "bad/documents/*")


# --- train -----------------------------------------------------------------------------------------------------------


def test_train_prints_counts_figures_and_thresholds(folder: Path, dolma: Dolma) -> None:
    ended = dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    assert (ended.status, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    report = json.loads((folder / "m.bin.json").read_text())
    n_held_out = report["held_out"]["documents"]
    for row in report["classes"]:
        assert [row["label"], str(row["found"]), str(row["trained"]), str(row["held_out"])] in lines
    assert f"{n_held_out} documents, accuracy 1.000" in ended.out
    assert any(line[:1] == ["positive"] and line[3:] == ["1.000"] * 4 for line in lines)
    assert "score of 'positive' at least" in ended.out
    assert any(line[:1] == ["0.5"] and line[2:] == ["1.000", "1.000"] for line in lines)
    assert ended.out.endswith("wrote m.bin and m.bin.json\n")


def test_train_prints_json(folder: Path, dolma: Dolma) -> None:
    ended = dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin", "--json")
    assert json.loads(ended.out) == json.loads((folder / "m.bin.json").read_text())


def test_flags_are_settings(folder: Path, dolma: Dolma) -> None:
    settings = {
        "per_class": 20, "held_out": 0.4, "seed": 3, "ngrams": 3, "buckets": 100, "dim": 2, "epochs": 2,
        "learning_rate": 0.2, "min_count": 2, "min_characters": 2, "max_characters": 3,
    }  # fmt: skip
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    ended = dolma("classifier", "train", *SOURCES, *flags, "--lower", "-o", "m.bin", "--json")
    assert json.loads(ended.out)["settings"] == {**settings, "lower": True, "balanced": True}


def test_without_flags_settings_have_their_defaults() -> None:
    given = subcommand("train").make_context("train", ["-o", "m.bin"]).params
    settings = msgspec.structs.asdict(Settings())
    own = {name: given[name] for name in settings if name not in ("per_class", "balanced")}
    assert own == {name: settings[name] for name in own}
    assert (given["per_class"], given["everything"]) == (None, False)


@pytest.mark.parametrize(("flags", "chosen"), [((), [30, 30]), (("--all",), [30, 40]), (("--per-class", 9), [9, 9])])
def test_how_many_documents(folder: Path, dolma: Dolma, flags: tuple[object, ...], chosen: list[int]) -> None:
    report = json.loads(dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin", "--json", *flags).out)
    assert [row["trained"] + row["held_out"] for row in report["classes"]] == chosen


def test_what_is_left_out_is_said(folder: Path, dolma: Dolma) -> None:
    with open("good/documents/a.jsonl", "a") as file:
        file.write('{"text": " "}\n')
    ended = dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    assert "left out: 1 without text\n" in ended.out


def test_classes_by_name_of_several_patterns(folder: Path, dolma: Dolma) -> None:
    (folder / "more.jsonl").write_text('{"text": "more"}\n')
    classes = ("--class", "a=good/documents/*", "--class", "b = bad/documents/*", "--class", "a=more.jsonl")
    report = json.loads(dolma("classifier", "train", *classes, *TINY, "-o", "m.bin", "--json").out)
    assert [(row["label"], row["found"]) for row in report["classes"]] == [("a", 31), ("b", 40)]


def test_classes_by_rule(folder: Path, dolma: Dolma) -> None:
    dolma("tag", "-t", "length", "--documents", "*/documents/*", "--attributes", "attributes", "--workers", "1")
    rules = ("--rule", "short=length.characters = 11", "--rule", "long=length.characters = 12")
    where = ("--documents", "*/documents/*", "--attributes", "attributes")
    ended = dolma("classifier", "train", *rules, *where, *TINY, "-o", "m.bin")
    assert ended.status == 0
    assert "left out: 10 of no class" in ended.out
    assert [line.split()[:2] for line in ended.out.splitlines() if line.strip().startswith(("short", "long"))][:2] == [
        ["short", "40"],
        ["long", "20"],
    ]


# --- eval ------------------------------------------------------------------------------------------------------------


def test_eval_prints_figures(folder: Path, dolma: Dolma) -> None:
    dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    ended = dolma("classifier", "eval", "m.bin", *SOURCES)
    assert (ended.status, ended.err) == (0, "")
    assert "70 documents, accuracy 1.000" in ended.out
    alone = dolma("classifier", "eval", "m.bin", "--negative", "bad/documents/*", "--only-held-out")
    assert "on the side trained on" in alone.out
    assert "score of 'negative' at least" in alone.out


def test_eval_prints_json(folder: Path, dolma: Dolma) -> None:
    dolma("classifier", "train", *SOURCES, *TINY, "--all", "-o", "m.bin")
    found = json.loads(dolma("classifier", "eval", "m.bin", *SOURCES, "--only-held-out", "--json").out)
    assert found["judgement"] == json.loads((folder / "m.bin.json").read_text())["held_out"]
    assert set(found) == {"model", "blank", "unlabelled", "trained", "judgement"}


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "no documents were given, expected some of each class\n  give `--class good=PATTERN"),
        ("--positive good/documents/*", "expected two or more, and there is 1\n  give `--class good=PATTERN"),
        ("--class good", "--class good: expected NAME=...\n  such as --class good='wiki/documents/*'"),
        ("--class =x", "--class =x: expected NAME=..."),
        ("--class é=good/documents/* --class b=bad/documents/*", "a class cannot be called 'é', expected letters"),
        ("--class a=good/documents/* --class b=*/documents/*", "is of two classes, 'a' and 'b', expected one"),
        ("--class a=none/* --class b=bad/documents/*", "no document file matches 'none/*'"),
        ("--rule a=x.y --positive good/documents/*", "both by --rule and by source"),
        ("--documents good/documents/* --positive good/documents/*", "which are for classes by rule, and no --rule"),
        ("--rule a=x.y --rule a=x.z", "has two rules, expected one\n  join them: --rule 'a=(x.y) OR (x.z)'"),
        ("--rule a=x.y --rule b=x.z --documents good/documents/*", "--rule a: "),
        (
            "{sources} --all --per-class 3",
            "--all and --per-class 3 were given, expected one at most\n  leave out either",
        ),
        ("{sources} --per-class 31", "has 30 documents with text, 31 were asked for\n  give more of it or a smaller"),
        ("{sources} --min-characters 3", "expected the shortest first\n  give --max-characters too"),
        ("{sources} --min-count 999", "no word occurs 999 times"),
    ],
)
def test_errors_of_train(folder: Path, dolma: Dolma, arguments: str, message: str) -> None:
    words = shlex.split(arguments.format(sources=shlex.join(SOURCES)))
    ended = dolma("classifier", "train", *words, *TINY, "-o", "out/m.bin")
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert not (folder / "out").exists() or list((folder / "out").iterdir()) == []


def test_a_name_that_ends_in_something_else(folder: Path, dolma: Dolma) -> None:
    assert (
        "the output is 'm.ftz', expected a name that ends in .bin"
        in dolma("classifier", "train", *SOURCES, "-o", "m.ftz").err
    )


def test_a_model_that_is_there_is_kept_unless_asked(folder: Path, dolma: Dolma) -> None:
    arguments = ("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    dolma(*arguments)
    ended = dolma(*arguments)
    assert ended.status == 2
    assert ended.err == "error: m.bin is there already, expected a new name\n  give another --output, or --overwrite\n"
    assert dolma(*arguments, "--overwrite").status == 0


def test_a_broken_record_is_named(folder: Path, dolma: Dolma) -> None:
    (folder / "good" / "documents" / "b.jsonl").write_text('{"text": "fine"}\n{"text": 1}\n')
    ended = dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    assert ended.status == 3
    assert "good/documents/b.jsonl:2" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--class goood=good/documents/*", "has no label 'goood'"),
        ("", "no documents were given"),
        ("--positive good/documents/*", None),
    ],
)
def test_errors_of_eval(folder: Path, dolma: Dolma, arguments: str, message: str | None) -> None:
    dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    ended = dolma("classifier", "eval", "m.bin", *shlex.split(arguments))
    assert ended.status == (0 if message is None else 2)
    assert (message or "") in ended.err


def test_a_damaged_report(folder: Path, dolma: Dolma) -> None:
    dolma("classifier", "train", *SOURCES, *TINY, "-o", "m.bin")
    (folder / "m.bin.json").write_text("{")
    ended = dolma("classifier", "eval", "m.bin", *SOURCES)
    assert ended.status == 2
    assert "m.bin.json is not the report of `dolma classifier train` on the model beside it" in ended.err
    assert "train the model again with --overwrite, or move that file away" in ended.err


# --- help ------------------------------------------------------------------------------------------------------------


def subcommand(name: str) -> click.Command:
    assert isinstance(command, click.Group)
    return command.commands[name]


@pytest.mark.parametrize("name", ["train", "eval"])
def test_help_of_a_part(dolma: Dolma, name: str) -> None:
    ended = dolma("classifier", name, "--help")
    assert f"\nExample:\n  dolma classifier {name}" in ended.out
    assert "\nOptions:\n" not in ended.out
    options = [param for param in subcommand(name).params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


# --- interruption ----------------------------------------------------------------------------------------------------


def has_loaded_fasttext(process: psutil.Process) -> bool:
    """Training is the first thing that follows."""
    return any("fasttext_pybind" in region.path for region in process.memory_maps())


@pytest.mark.e2e
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_end_while_training_leaves_no_model_and_no_process(
    folder: Path, number: signal.Signals, status: int
) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    arguments = ["classifier", "train", *SOURCES, "--dim", "100", "--epochs", "100000000", "-o", "out/m.bin"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dolma", *arguments],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    children: list[psutil.Process] = []
    try:
        while process.poll() is None and not children:
            time.sleep(0.01)
            children = [child for child in psutil.Process(process.pid).children() if has_loaded_fasttext(child)]
        process.send_signal(number)
        assert process.wait(timeout=60) == status
        _, alive = psutil.wait_procs(children, timeout=60)
        left = [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
        assert left == []
    finally:
        for child in [process, *children]:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                child.kill()
        process.wait()
    assert not any((folder / "out" / name).exists() for name in ("m.bin", "m.bin.json"))
    if number == signal.SIGINT:
        assert list((folder / "out").iterdir()) == list(scratch.iterdir()) == []
