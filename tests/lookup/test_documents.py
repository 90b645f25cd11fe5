"""Documents by id, or by file and line. Run: `pytest tests/lookup/test_documents.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.lookup.documents import Documents


def test_a_whole_path_is_taken_though_another_one_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("documents", "more/documents"):
        path = Path(folder, "a.jsonl")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"id": folder, "text": "x"}) + "\n")
    documents = Documents(Dataset(documents=("documents/*", "more/documents/*")), Reading(), index=None)
    assert [found.id for found in documents.find("documents/a.jsonl:1")] == ["documents"]
    assert [found.id for found in documents.find("more/documents/a.jsonl:1")] == ["more/documents"]
