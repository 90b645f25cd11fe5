"""`pytest tests/e2e/test_named_stages.py`: a recipe of named stages, killed in each of them, gives the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
SECONDS = 120.0
STAGES = {
    "page": {"tag": {"taggers": ["c4_v2"]}},
    "clean": {
        "mix": {
            "spans": [{"attribute": "c4_v2.lines_with_too_few_words"}],
            "drop": ["c4_v2.has_javascript IS NOT NULL"],
        },
        "attributes": ["page"],
    },
    "again": {"tag": {"taggers": ["fineweb"]}, "documents": "clean"},
    "final": {
        "mix": {"keep": ["fineweb.short_line_ratio < 1"], "missing": "drop"},
        "documents": "clean",
        "attributes": ["again"],
    },
    "shards": {"tokenize": {"tokenizer": str(TOKENIZER)}, "documents": "final"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which the rules of both mixes drop some, and lines that the first one takes out."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(500)]
    for number in range(4):
        path = folder / "documents" / f"{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as out:
            for i in range(100):
                lines = [" ".join(rng.choices(words, k=rng.choice([1, 12, 30]))) + "." for _ in range(6)]
                text = "\n".join([*lines, "javascript is off." if i % 9 == 0 else "the end of it all."])
                out.write(json.dumps({"id": f"{number}-{i}", "text": text}) + "\n")
    recipe = {"documents": [f"{folder}/documents/*.jsonl"], "output": "out", "workers": 1, "stages": STAGES}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return folder


def start(home: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dolma", "run", str(home / "recipe.yaml")]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, said.decode()
    return said.decode()


def kill_once_there(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill the run and its workers as soon as a stage has begun to write to its folder, or after that."""
    end = time.monotonic() + SECONDS
    while not folder.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert folder.exists()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file, but for what remembers the times of inputs."""
    home = folder / "out"
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.name != ".inputs.json"]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def test_killed_in_each_stage_and_gone_on_with(home: Path, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    finish(start(home, undisturbed))
    for name in STAGES:
        kill_once_there(start(home, killed), killed / "out" / name)
    said = finish(start(home, killed))
    assert "nothing to do, out/page is complete and unchanged" in said
    expected = tree(undisturbed)
    assert {path.split("/")[0] for path in expected} == {*STAGES, "recipe.yaml"}
    assert tree(killed) == expected
    ledgers = {name: json.loads(expected[f"{name}/manifest.json"])["ledger"]["accounts"] for name in ("clean", "final")}
    taken = {name: sum(account["taken"]["documents"] for account in found.values()) for name, found in ledgers.items()}
    assert taken["clean"] == 400 > taken["final"] > 0
