"""`pytest tests/e2e/test_scale.py`: the scripts of docs/scale.md, with a loop in the place of the scheduler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "scale.md"
SECONDS = 400.0
N = 4
RECIPE = f"""
documents: [{REPOSITORY}/data/sample/books/documents, {REPOSITORY}/data/sample/code/documents]
output: out
tag: {{taggers: [length]}}
dedupe: {{by: paragraphs}}
mix: {{keep: [length.words > 30], sources: {{books: {{repeat: 1.5}}, code: {{repeat: 1}}}}}}
tokenize: {{tokenizer: {REPOSITORY}/data/sample/tokenizer.json, max_tokens_per_shard: 50000}}
stat: {{}}
"""


def scripts(heading: str) -> list[str]:
    """The bash blocks below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the recipe, and a `dolma` on the path that is this one."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "dolma"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dolma "$@"\n')
    command.chmod(0o755)
    return tmp_path


def start(folder: Path, script: str, **environment: object) -> subprocess.Popen[str]:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    settings = os.environ | {"PATH": path} | {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What a script says that ends well; one that does not end is killed."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, err
    return out + err


def finish_all(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for all of them; the first that fails is told at once, as the others may wait for it."""
    pool = ThreadPoolExecutor(len(processes))
    try:
        for waiting in as_completed([pool.submit(finish, process) for process in processes]):
            waiting.result()
    finally:
        for process in processes:
            process.kill()
        pool.shutdown()


def array_task(i: int) -> dict[str, int]:
    return {"SLURM_ARRAY_TASK_ID": i, "SLURM_ARRAY_TASK_COUNT": N}


def tree(folder: Path) -> dict[str, bytes]:
    """What was written but `recipe.yaml`, which says how many workers there were, and what was remembered of inputs."""
    home = folder / "out"
    files = [
        path for path in sorted(home.rglob("*")) if path.is_file() and path.name not in ("recipe.yaml", ".inputs.json")
    ]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the recipe."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "recipe.yaml").write_text(RECIPE)
    finish(start(folder, f"{sys.executable} -m dolma run recipe.yaml --workers 1"))
    return tree(folder)


def test_a_slurm_array(folder: Path, expected: dict[str, bytes]) -> None:
    array, _, _ = scripts("Slurm")
    started = [start(folder, array, **array_task(i)) for i in range(1, N + 1)]
    finish_all(started)
    assert tree(folder) == expected


def test_slurm_arrays_one_after_the_other_that_do_not_wait(folder: Path, expected: dict[str, bytes]) -> None:
    _, array, last = scripts("Slurm")
    for _ in range(2):
        for i in range(1, N + 1):
            finish(start(folder, array, **array_task(i)))
    finish(start(folder, last))
    assert tree(folder) == expected


def test_gnu_parallel(folder: Path, expected: dict[str, bytes]) -> None:
    (script,) = scripts("GNU parallel")
    found = re.fullmatch(r"seq 1 4 \| parallel -j 4 (.*)\n", script)
    assert found is not None
    started = [start(folder, found[1].replace("{}", str(i))) for i in range(1, N + 1)]
    finish_all(started)
    assert tree(folder) == expected


def test_ray(folder: Path, expected: dict[str, bytes]) -> None:
    pytest.importorskip("ray", reason="ray is not installed (dolma[ray])")
    (script,) = scripts("Ray")
    finish(start(folder, script.replace('--address "$RAY_ADDRESS"', "--workers 2")))
    assert tree(folder) == expected
