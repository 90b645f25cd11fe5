"""`pytest tests/e2e/test_shard_kill.py`: a shard killed in any phase of any stage; the output is that of one process.

All in one process: `Killed` stands for a kill, as nothing of ours catches it.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.dedupers.dedupe import dedupe
from dolma.runner.options import RunOptions
from tests.e2e.every_phase import PHASES, PIECE_BYTES, STAGES, before, make, run, shards_killed, small, tree

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("whole")
    with small():
        make(home)
        yield home


@pytest.mark.parametrize("name", STAGES)
def test_a_shard_killed_in_any_phase_and_started_again(whole: Path, tmp_path: Path, name: str) -> None:
    spared = shards_killed(
        lambda place: before(whole, name, tmp_path / place),
        lambda home, options: run(home, name, options),
        lambda home: tree(home, name),
        tree(whole, name),
    )
    assert {*PHASES[name], "the manifest"} <= spared


MODES: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "by field": ({"by": "metadata.site", "keep": "longest"}, {"hash", "group", "write"}, "abc"),
    "bloom by text": ({"method": "bloom"}, {"hash", "fill", "join", "write"}, "abc"),
    "bloom by paragraphs": ({"method": "bloom", "by": "paragraphs"}, {"hash", "fill", "join", "write"}, "abc"),
    "windows by sentences": ({"method": "windows", "by": "sentences"}, {"hash", "group", "write"}, "abc"),
    "windows by paragraphs": (
        {"method": "windows", "by": "paragraphs", "min_documents": 3},
        {"hash", "group", "write"},
        "abc",
    ),
    "minhash": (
        {"method": "minhash", "word_ngrams": 2, "index": True},
        {"sign", "candidates", "components", "shingles", "verify", "write", "keep", "index"},
        "abc",
    ),
    "benchmarks": (
        {"method": "decontaminate", "items": ["in/items.jsonl"], "report_items": True, "self_check": True},
        {"search", "self-check", "score", "write", "report"},
        "abc",
    ),
    "since": ({"since": "old/dedupe"}, {"hash", "group", "rewrite", "write", "keep", "index"}, "bc"),
}
"""Settings, phases, and the files of documents, of ways to find copies that are not among the stages."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, benchmark items, and a set with an index of the first documents."""
    home, rng = tmp_path_factory.mktemp("corpus"), random.Random(5)
    words = ["".join(rng.choices("abcdefgh", k=6)) for _ in range(300)]
    repeated = [" ".join(rng.choices(words, k=12)) for _ in range(5)]
    (home / "in").mkdir()
    for name in "abc":
        with (home / "in" / f"{name}.jsonl").open("w") as out:
            for i in range(25):
                lines = [rng.choice(repeated), " ".join(rng.choices(words, k=15)), rng.choice(repeated)]
                text = ".\n".join(rng.choice([lines, repeated[:3]]))
                record = {"id": f"{name}{i}", "source": "web", "text": text, "metadata": {"site": rng.randrange(9)}}
                out.write(json.dumps(record) + "\n")
    items = [{"id": f"item{i}", "text": text, "answer": words[i]} for i, text in enumerate(repeated)]
    (home / "in" / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    dataset = Dataset(documents=(str(home / "in" / "a.jsonl"),), attributes=str(home / "old"))
    dedupe(dataset, DedupeConfig(index=True), options=RunOptions(workers=1))
    return home


def copies(home: Path, mode: str, options: RunOptions) -> None:
    """Find copies in the documents of a place, which is the working directory."""
    config, _, names = MODES[mode]
    documents = tuple(str(home / "in" / f"{name}.jsonl") for name in names)
    dataset = Dataset(documents=documents, attributes=str(home / "out"), piece_bytes=PIECE_BYTES)
    dedupe(dataset, DedupeConfig(**config), options=options)


@pytest.mark.parametrize("mode", MODES)
def test_a_shard_that_finds_copies_killed_and_started_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def begin(name: str) -> Path:
        monkeypatch.chdir(shutil.copytree(corpus, tmp_path / name))
        return tmp_path / name

    def written(home: Path) -> dict[str, bytes]:
        files = [path for path in sorted((home / "out").rglob("*")) if path.is_file() and path.name != ".inputs.json"]
        return {str(path.relative_to(home)): path.read_bytes() for path in files}

    with small():
        whole = begin("whole")
        copies(whole, mode, RunOptions(workers=1))
        spared = shards_killed(begin, lambda home, options: copies(home, mode, options), written, written(whole))
    assert {*MODES[mode][1], "the manifest"} <= spared
