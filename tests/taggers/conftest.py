"""What datatrove answered about some documents: tests/goldens/make_datatrove.py."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EVERY = 5


@pytest.fixture(scope="session")
def datatrove() -> Callable[[str], list[dict[str, Any]]]:
    """The rows of a golden file by name, each with the text that datatrove was asked about, `asked`."""
    found = []
    for path in sorted(ROOT.glob("data/sample/*/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            found += [json.loads(line) for line in lines][::EVERY]
    with open(ROOT / "tests/goldens/dolma1/edge_cases.jsonl", encoding="utf-8", newline="\n") as lines:
        found += [json.loads(line) for line in lines]
    texts = {document["id"]: document["text"] for document in found}

    def rows(name: str) -> list[dict[str, Any]]:
        with gzip.open(ROOT / f"tests/goldens/datatrove/{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [row | {"asked": texts[row["id"]]} for row in map(json.loads, lines)]

    return rows
