"""`pytest tests/cli/test_run_status.py`"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma.cli.main import run

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(
        f"documents: [{SAMPLE}/books/documents, {SAMPLE}/code/documents]\noutput: out\nworkers: 1\nstat: {{}}\n"
    )
    return "recipe.yaml"


def test_status_of_a_recipe_and_of_a_folder(recipe: str, capsys) -> None:
    assert run(["run", recipe, "--status"]) == 0
    assert capsys.readouterr().out == "nothing has begun in out\n"
    assert run(["run", recipe, "--shard", "2/2", "--no-wait"]) == 5
    assert "unfinished: stat: count: waiting for shard 1/2 (" in capsys.readouterr().err
    assert run(["run", recipe, "--status"]) == 0
    shown = capsys.readouterr().out
    assert "stat: unfinished, out/stat; finished tasks: count 1" in shown
    assert "2/2" in shown and "ended" in shown
    assert run(["run", "out", "--status", "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["stage"], status["complete"], status["records"]) == ("stat", False, {"count": 1})
    assert [(beat["shard"], beat["of"], beat["phase"]) for beat in status["shards"]] == [(2, 2, "count")]
    assert run(["run", recipe]) == 0
    capsys.readouterr()
    assert run(["run", "out/stat", "--status"]) == 0
    assert capsys.readouterr().out == "stat: complete, out/stat\n"


def test_status_has_the_sets_of_attributes(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["run", recipe, "--set", "tag={taggers: [length]}", "--set", "dedupe={}"]
    assert run(given) == 0
    capsys.readouterr()
    assert run([*given, "--status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tag: complete, out/attributes/length",
        "dedupe: complete, out/attributes/dedupe",
        "stat: complete, out/stat",
    ]


def test_status_of_a_recipe_is_in_the_order_of_its_stages_and_has_those_that_have_not_begun(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = "{z: {tag: {taggers: [length]}}, b: {mix: {}}, a: {mix: {}, documents: b}, y: {stat: {}, documents: a}}"
    Path("named.yaml").write_text(f"documents: [{SAMPLE}/books/documents]\noutput: out\nworkers: 1\nstages: {stages}\n")
    assert run(["run", "named.yaml", "--only", "z", "--only", "b"]) == 0
    capsys.readouterr()
    assert run(["run", "named.yaml", "--status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tag: complete, out/z/length",
        "mix: complete, out/b",
        "mix a: not begun, out/a",
        "stat y: not begun, out/y",
    ]
