"""The first documents of a corpus. Run: pytest tests/data/test_limit.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma.data.dataset import Dataset, pieces
from dolma.data.documents import Intake, Reading, read_batches

COUNTS = {"a": 3, "b": 0, "c": 4, "d": 5}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    for name, n in COUNTS.items():
        lines = [json.dumps({"id": f"{name}{i}", "text": "words " * i}) for i in range(n)]
        if name == "c":
            lines.insert(1, "no JSON")
        path = tmp_path / "documents" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines))
    return f"{tmp_path}/documents/*"


def ids(pattern: str, reading: Reading) -> tuple[list[str], list[str]]:
    """The shards of a limited dataset, and the ids of its documents."""
    shards = Dataset(documents=(pattern,), limited=reading).shards()
    batches = [
        batch for shard in shards for piece in pieces(shard) for batch in read_batches(piece, reading, intake=Intake())
    ]
    return [shard.name for shard in shards], [id for batch in batches for id in batch.ids]


@pytest.mark.parametrize(
    ("limit", "names", "found"),
    [
        (1, ["a.jsonl"], ["a0"]),
        (3, ["a.jsonl"], ["a0", "a1", "a2"]),
        (5, ["a.jsonl", "b.jsonl", "c.jsonl"], ["a0", "a1", "a2", "c0", "c1"]),
        (100, ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"], [f"{x}{i}" for x, n in COUNTS.items() for i in range(n)]),
    ],
)
def test_the_first_documents_are_taken_in_corpus_order(
    corpus: str, limit: int, names: list[str], found: list[str]
) -> None:
    assert ids(corpus, Reading(limit=limit, on_error="skip")) == (names, found)


@pytest.mark.parametrize("batch_bytes", [1, 40, 1 << 20])
def test_batches_of_any_size_end_at_the_same_document(corpus: str, batch_bytes: int) -> None:
    reading = Reading(limit=6, on_error="skip", batch_bytes=batch_bytes)
    assert ids(corpus, reading)[1] == ["a0", "a1", "a2", "c0", "c1", "c2"]


def test_a_limit_is_a_part_of_the_identity() -> None:
    assert Reading(limit=5).identity == Reading().identity | {"limit": 5}
