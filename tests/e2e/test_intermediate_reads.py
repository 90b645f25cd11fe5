"""How often stages read what their phases leave for each other. Run: pytest tests/e2e/test_intermediate_reads.py

Blocks, partitions and fan-in are made small, so that small corpora have as many of each as large ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma.config import DedupeConfig, MixConfig, SourceShare, StatConfig, TagConfig, TokenizeConfig
from dolma.data import exchange, streams
from dolma.data.dataset import Dataset
from dolma.dedupers import method
from dolma.dedupers.dedupe import dedupe
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.tokens.tokenize import tokenize

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TOKENIZER = ROOT / "data" / "sample" / "tokenizer.json"
ONE = RunOptions(workers=1)
STAGES: dict[str, Callable[[Dataset, str], Any]] = {
    "dedupe": lambda dataset, out: dedupe(dataset, DedupeConfig(by="paragraphs"), options=ONE),
    "tokenize": lambda dataset, out: tokenize(
        dataset, TokenizeConfig(tokenizer=str(TOKENIZER), max_tokens_per_shard=2000), output=out, options=ONE
    ),
    "mix": lambda dataset, out: mix(
        dataset,
        MixConfig(sources={"s0": SourceShare(repeat=0.5), "s1": SourceShare(repeat=1.5)}),
        output=out,
        options=ONE,
    ),
    "stat": lambda dataset, out: stat(dataset, StatConfig(), output=out, options=ONE),
}


def corpus(folder: Path, *, n_files: int, n_docs: int) -> Dataset:
    """Files of two sources; half of the paragraphs occur in other files too."""
    home = folder / "documents"
    home.mkdir(parents=True)
    for number in range(n_files):
        records = [
            {
                "id": f"{number}-{i}",
                "text": f"paragraph {number} {i}\nshared {(number * 7 + i) % 1000}",
                "source": f"s{(number + i) % 2}",
            }
            for i in range(n_docs)
        ]
        (home / f"{number:05d}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return Dataset(documents=(f"{home}/*.jsonl",), attributes=str(folder / "attributes"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Files of work folders opened and chunks of them read, so far; what is written is not flushed to the disk."""
    counts = {"opened": 0, "chunks": 0, "bytes": 0}
    read_chunks = streams.read_chunks

    def counting(path: str, **given: Any) -> Iterator[bytes]:
        inside = "/.work/" in path
        counts["opened"] += inside
        for chunk in read_chunks(path, **given):
            counts["chunks"] += inside
            counts["bytes"] += len(chunk) if inside else 0
            yield chunk

    monkeypatch.setattr(streams, "read_chunks", counting)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return counts


def n_reads(reads: dict[str, int], stage: str, dataset: Dataset, out: Path) -> int:
    """Files opened and chunks read by a stage."""
    if stage == "stat":
        tag(dataset, TagConfig(taggers=["length"]), options=ONE)
    before = reads["opened"] + reads["chunks"]
    STAGES[stage](dataset, str(out))
    return reads["opened"] + reads["chunks"] - before


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_reads_grow_with_the_data(
    tmp_path: Path, reads: dict[str, int], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(exchange, "FAN_IN", 8)
    monkeypatch.setattr(method, "PARTITION_BYTES", 8_000)
    found = []
    for times in (1, 4, 16):
        home = tmp_path / str(times)
        found.append(n_reads(reads, stage, corpus(home, n_files=8 * times, n_docs=20), home / "out"))
    assert found[0] > 40
    # Of tokenize all records are merged, 8 files at a time: in no pass, in one, and in two.
    passes = (0, 1, 2) if stage == "tokenize" else (0, 0, 0)
    per_byte = [n / times / (1 + n_passes) for n, times, n_passes in zip(found, (1, 4, 16), passes, strict=True)]
    assert max(per_byte[1:]) < 1.1 * per_byte[0], found


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dedupe", "tokenize", "mix"])
def test_each_of_many_tiny_files_is_read_a_few_times(tmp_path: Path, reads: dict[str, int], stage: str) -> None:
    n_files = int(os.environ.get("DOLMA_TINY_FILES", "500"))
    found = n_reads(reads, stage, corpus(tmp_path, n_files=n_files, n_docs=1), tmp_path / "out")
    print(f"{stage}: {found / n_files:.2f} opens and reads per file")
    assert found < 12 * n_files


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_many_files_need_few_handles(tmp_path: Path, stage: str) -> None:
    n_files = int(os.environ.get("DOLMA_TINY_FILES", "300"))
    dataset = corpus(tmp_path, n_files=n_files, n_docs=1)
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "from tests.e2e.test_intermediate_reads import STAGES\nfrom dolma.data.dataset import Dataset\n"
        f"STAGES[{stage!r}](Dataset(documents={dataset.documents!r}, attributes={dataset.attributes!r}), "
        f"{str(tmp_path / 'out')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
