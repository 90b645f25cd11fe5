"""`pytest tests/e2e/test_quickstart.py`: the first command of the README, as a subprocess, from the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
SHORT = ("--set", "train.steps=6", "--set", "train.checkpoint_every=3")
STAGES = ("tag", "dedupe near", "dedupe paragraphs", "mix", "tokenize", "train", "stat")


def dolma(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dolma", *arguments], cwd=REPOSITORY, capture_output=True, text=True)


def quickstart(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return dolma("run", "configs/quickstart.yaml", "--output", str(output), *SHORT, *arguments)


def first_lines(ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What is said of each stage."""
    lines = [line.partition(": ") for line in ended.stdout.splitlines()]
    found: dict[str, str] = {}
    for stage, _, text in lines:
        if stage in STAGES and "/" in text:
            found.setdefault(stage, text)
    return found


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".inputs.json"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    output = tmp_path_factory.mktemp("quickstart") / "out"
    yield output, quickstart(output)


def test_it_works(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert first[1].returncode == 0, first[1].stderr
    assert list(first_lines(first[1])) == list(STAGES)


def test_it_ends_with_ledger_loss_sample_and_places(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, ended = first
    assert re.search(r"^ledger$", ended.stdout, re.M)
    assert re.search(r"^ techdocs +- drop: near\.duplicate +\d+ ", ended.stdout, re.M)
    assert re.search(r"^loss: \d\.\d+ at the start, \d\.\d+ after 6 steps$", ended.stdout, re.M)
    assert re.search(r"^sample: '.+'$", ended.stdout, re.M)
    for stage, folder in {"mix": "mixed", "tokenize": "tokens", "train": "train", "stat": "stat"}.items():
        assert re.search(rf"^{stage}: +{re.escape(str(output / folder))}$", ended.stdout, re.M)
    assert re.search(rf"^recipe: +{re.escape(str(output / 'recipe.yaml'))}$", ended.stdout, re.M)


def test_the_ledger_of_the_first_run_balances(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    rows = re.findall(r"^ (\w+) +(in|- .+?|out, once each|out) {2,}([\d,]+) +[\d,]+ ", first[1].stdout, re.M)
    counts: dict[str, int] = {}
    for source, what, number in rows:
        n = int(number.replace(",", ""))
        # What is written twice counts once: `out, once each` stands before `out`.
        if what == "in":
            counts[source] = n
        elif what != "out" or counts[source]:
            counts[source] -= n
    assert len(counts) == 6
    assert set(counts.values()) == {0}


def test_what_it_wrote_verifies(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    ended = dolma("verify", str(first[0]))
    assert ended.returncode == 0, ended.stderr


def test_again_there_is_nothing_to_do(first: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, _ = first
    before = tree(output)
    ended = quickstart(output)
    assert ended.returncode == 0, ended.stderr
    assert "nothing to do: every stage is complete and its settings and inputs are unchanged" in ended.stdout
    assert all(text.startswith("nothing to do, ") for text in first_lines(ended).values())
    assert tree(output) == before


def test_another_threshold_runs_only_what_depends_on_it(tmp_path: Path) -> None:
    output = tmp_path / "out"
    quickstart(output)
    before = tree(output)
    ended = quickstart(output, "--set", "mix.keep=[length.words BETWEEN 40 AND 100000]", "--overwrite")
    assert ended.returncode == 0, ended.stderr
    said = first_lines(ended)
    idle = [stage for stage in STAGES if said[stage].startswith("nothing to do, ")]
    assert idle == ["tag", "dedupe near", "dedupe paragraphs"]
    after = tree(output)
    assert {path: after[path] for path in after if path.startswith("attributes/")} == {
        path: before[path] for path in before if path.startswith("attributes/")
    }
    assert before["mixed/manifest.json"] != after["mixed/manifest.json"]
    assert sorted(before) == sorted(after)


def test_a_run_that_was_changed_back_gives_the_first_bytes(
    first: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    changed = quickstart(output, "--set", "mix.drop=[near.duplicate]", "--set", "train=null", "--overwrite")
    assert changed.returncode == 0, changed.stderr
    assert quickstart(output, "--set", "train=null", "--overwrite").returncode == 0
    expected = {path: data for path, (data, _) in tree(first[0] / "mixed").items()}
    assert {path: data for path, (data, _) in tree(output / "mixed").items()} == expected


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_in_configs_is_planned_and_runs(path: Path, tmp_path: Path) -> None:
    recipe = str(path.relative_to(REPOSITORY))
    planned = dolma("run", recipe, "--output", str(tmp_path / "out"), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "out").exists()
    short = SHORT if "\ntrain:" in path.read_text() else ()
    ended = dolma("run", recipe, "--output", str(tmp_path / "out"), *short)
    assert ended.returncode == 0, ended.stderr
