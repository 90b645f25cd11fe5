"""`pytest tests/e2e/test_kill.py`: killed at any moment and run again, a command leaves what it leaves undisturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOKENIZER = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
N_SHARDS = 10
N_DOCUMENTS = 500
SECONDS = 120.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten files of documents in two sources, with paragraphs and addresses that repeat, and their attributes."""
    home = tmp_path_factory.mktemp("corpus")
    rng = random.Random(7)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)]
    repeated = [" ".join(rng.choices(vocabulary, k=30)) for _ in range(50)]
    for number in range(N_SHARDS):
        path = home / f"source{number % 2}" / "documents" / f"part-{number:02d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as out:
            for i in range(N_DOCUMENTS):
                own = [" ".join(rng.choices(vocabulary, k=rng.randint(5, 120))) for _ in range(3)]
                text = "\n".join([*own, rng.choice(repeated), f"write to {rng.choice(vocabulary)}@example.org"])
                out.write(json.dumps({"id": f"{number}-{i}", "text": text}) + "\n")
    finish(start(home, "tag", "-t", "length", "-t", "pii", "--documents", documents(home), "--attributes", "measured"))
    return home


def documents(corpus: Path) -> str:
    return f"{corpus}/*/documents/*.jsonl"


def command(corpus: Path, stage: str) -> list[str]:
    """The stage over the corpus, from a working folder, into its folder `out`."""
    own = {
        "tag": ["--set", "tag.taggers=[length, gopher, pii]", "--attributes", "out"],
        "dedupe": ["--by", "paragraphs", "--attributes", "out"],
        "mix": ["--attributes", str(corpus / "measured"), "--output", "out"],
        "tokenize": ["--tokenizer", str(TOKENIZER), "--output", "out", "--max-tokens-per-shard", "300000"],
    }[stage]
    if stage == "mix":
        own += ["--keep", "length.words > 60", "--set", "mix.sources={source0: {repeat: 1.5}, source1: {repeat: 1}}"]
        own += ["--set", "mix.spans=[{attribute: pii.email, replace: '<mail>'}]"]
    return [stage, *own, "--documents", documents(corpus), "--workers", "2"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`dolma` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dolma", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Standard output and error of a command that ended well."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, err
    return out + err


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of the output, hidden ones too, but what is remembered of inputs."""
    home = folder / "out"
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.name != ".inputs.json"]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.fixture(scope="module", params=["tag", "dedupe", "mix", "tokenize"])
def undisturbed(
    request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, bytes], float]]:
    """A stage, what it writes when nothing happens to it, and how many seconds that takes."""
    stage: str = request.param
    folder = tmp_path_factory.mktemp(f"undisturbed-{stage}")
    began = time.monotonic()
    finish(start(folder, *command(corpus, stage)))
    yield stage, tree(folder), time.monotonic() - began
    shutil.rmtree(folder)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes that it has now."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def test_what_is_compared_is_whole(undisturbed: tuple[str, dict[str, bytes], float]) -> None:
    stage, expected, _ = undisturbed
    assert any(path.endswith("manifest.json") for path in expected), stage
    assert not [path for path in expected if path.startswith(".") or "/." in path]


def test_the_parent_killed_three_times(
    corpus: Path, tmp_path: Path, undisturbed: tuple[str, dict[str, bytes], float]
) -> None:
    stage, expected, seconds = undisturbed
    moments = random.Random(f"parent {stage}")
    for third in range(3):
        process = start(tmp_path, *command(corpus, stage))
        time.sleep(seconds * (third + moments.uniform(0.3, 1)) / 3)
        process.kill()
        process.communicate()
    finish(start(tmp_path, *command(corpus, stage)))
    assert tree(tmp_path) == expected


def test_everything_killed_at_once(
    corpus: Path, tmp_path: Path, undisturbed: tuple[str, dict[str, bytes], float]
) -> None:
    stage, expected, seconds = undisturbed
    moments = random.Random(f"group {stage}")
    for _ in range(2):
        process = start(tmp_path, *command(corpus, stage))
        time.sleep(seconds * moments.uniform(0.4, 0.95))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(tmp_path, *command(corpus, stage)))
    assert tree(tmp_path) == expected


def test_a_worker_killed_is_replaced_and_nothing_is_lost(
    corpus: Path, tmp_path: Path, undisturbed: tuple[str, dict[str, bytes], float]
) -> None:
    stage, expected, seconds = undisturbed
    moments = random.Random(f"worker {stage}")
    process = start(tmp_path, *command(corpus, stage))
    give_up = time.monotonic() + SECONDS
    while not workers_of(process) and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    time.sleep(moments.uniform(0, seconds / 3))
    for worker in workers_of(process)[:1]:
        worker.kill()
    finish(process)
    assert tree(tmp_path) == expected
