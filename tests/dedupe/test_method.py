"""What methods share: pieces in groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from dolma.runner import together as runner_module

if TYPE_CHECKING:
    from .conftest import Corpus

METHODS: dict[str, dict[str, Any]] = {
    "documents": {},
    "paragraphs": {"by": "paragraphs"},
    "minhash": {"method": "minhash", "character_ngrams": 5},
}
N_FILES = 96


def one_by_one(sizes: list[int]) -> list[list[int]]:
    return [[i] for i in range(len(sizes))]


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_small_files_that_share_tasks_have_the_attributes_of_files_that_do_not(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for i in range(N_FILES):
        texts = [] if i % 7 == 0 else [f"page {i % 5} of a text that others have as well\n" * 3, f"{i}"]
        corpus.write_texts(f"{i:02d}.jsonl", texts)
    together = corpus.dedupe(**config)
    made = [path.read_bytes() for path in corpus.files()]
    monkeypatch.setattr(runner_module, "grouped", one_by_one)
    alone = corpus.dedupe(**config, overwrite=True)
    assert made == [path.read_bytes() for path in corpus.files()]
    assert len(made) == N_FILES
    assert together.details == alone.details
    assert together.details.duplicates > 0
    assert together.ledger == alone.ledger


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_of_many_small_files_little_more_than_the_attributes_is_written(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    for i in range(1000):
        corpus.write_texts(f"{i:04d}.jsonl", [f"the text of page {i % 500}"])
    flushed: list[int] = []
    written: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(os, "replace", lambda old, new: (written.append(str(new)), replace(old, new)))
    corpus.dedupe(**config)
    assert len(flushed) < 1.25 * 1000
    assert len(written) < 1.5 * 1000
