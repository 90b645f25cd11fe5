"""`pytest tests/test_compilation.py`: what was compiled ahead is not compiled again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dolma.cli.main import run
from dolma.compilation import code_kept_in, everything
from dolma.dedupers.dedupe import METHODS
from dolma.errors import WriteError

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
RECIPE = f"""
documents: [{SAMPLE}/books/documents]
output: out
workers: 1
tag: {{taggers: [length]}}
dedupe: {{by: paragraphs}}
stat: {{}}
"""


def dolma(folder: Path, *arguments: str) -> str:
    """What the command says; the folder `kernels` is where code is kept."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "kernels")}
    ended = subprocess.run(
        [sys.executable, "-m", "dolma", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_a_run_after_it_compiles_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    said = dolma(tmp_path, "compile", "-c", "recipe.yaml")
    assert said.splitlines() == ["tag: compiled", "dedupe: compiled", "stat: compiled"]
    kept = sorted(path.name for path in (tmp_path / "kernels").rglob("*"))
    assert kept
    dolma(tmp_path, "run", "recipe.yaml")
    assert sorted(path.name for path in (tmp_path / "kernels").rglob("*")) == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernels", "out", "recipe.yaml"]


def test_everything_has_the_taggers_that_need_nothing() -> None:
    recipe = everything()
    assert recipe.tag is not None
    assert {"length", "gopher", "c4_v2", "pii"} <= set(recipe.tag.taggers)


def test_everything_has_all_methods_of_dedupe() -> None:
    assert {config.method for config in everything().dedupes} == set(METHODS)


def test_what_documents_are_compared_with_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f"documents: [nowhere]\noutput: {tmp_path}/out\nstages:\n"
        "  copies: {dedupe: {reference: [nowhere_else]}}\n"
        "  contaminated: {dedupe: {method: decontaminate, items: [nowhere.jsonl]}}\n"
    )
    assert run(["compile", "-c", str(tmp_path / "recipe.yaml")]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("copies: compiled\ncontaminated: compiled\n", "")


@pytest.mark.parametrize("arguments", [[], ["--all", "-c", "recipe.yaml"]])
def test_a_recipe_or_all_is_needed(arguments: list[str], capsys) -> None:
    assert run(["compile", *arguments]) == 2
    assert "nothing says what to compile\n  give a recipe, `-c recipe.yaml`, or `--all`" in capsys.readouterr().err


def test_nothing_is_said_of_the_small_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f"documents: [nowhere]\nfields: {{id: key, text: body}}\noutput: {tmp_path}/out\n"
        "tokenize: {tokenizer: data/sample/tokenizer.json}\n"
    )
    assert run(["compile", "-c", str(tmp_path / "recipe.yaml")]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("tokenize: compiled\n", "")


def test_a_folder_that_cannot_keep_the_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match=r"file: cannot be written: File exists\n"),
        code_kept_in(str(tmp_path / "file")),
    ):
        pass
