"""Many small files: what waits for the disk is what a stage leaves, not what its phases leave for each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import dolma

N_FILES = 96
TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
GROUPS = 32  # tasks that are left of many small ones
OTHERS = 24  # manifests, inputs, heartbeats, plans, merges


@pytest.fixture
def documents(tmp_path: Path) -> str:
    folder = tmp_path / "documents"
    folder.mkdir()
    for i in range(N_FILES):
        (folder / f"{i:02d}.jsonl").write_text(f'{{"id": "{i}", "text": "Some words, and the number {i}."}}\n')
    return str(folder / "*.jsonl")


@pytest.mark.parametrize(
    ("stage", "outputs", "intermediate"),
    [
        (lambda given, out: dolma.tag(documents=given, taggers=["length"], workers=1), N_FILES, 0),
        (lambda given, out: dolma.dedupe(documents=given, workers=1), N_FILES, 2 * GROUPS),
        (
            lambda given, out: dolma.mix(documents=given, keep=["document.bytes > 1"], output=out, workers=1),
            3 * N_FILES,
            0,
        ),
        (lambda given, out: dolma.tokenize(documents=given, tokenizer=TOKENIZER, output=out, workers=1), 3, 2 * GROUPS),
        (lambda given, out: dolma.stat(documents=given, output=out, workers=1), 1, GROUPS),
    ],
    ids=["tag", "dedupe", "mix", "tokenize", "stat"],
)
def test_files_that_are_flushed(
    documents: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: Callable[[str, str], object],
    outputs: int,
    intermediate: int,
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    stage(documents, str(tmp_path / "out"))
    assert outputs <= len(flushed) <= outputs + intermediate + OTHERS
