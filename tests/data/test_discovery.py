"""`pytest tests/data/test_discovery.py`: which files a pattern or a folder names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma.data import discovery, streams
from dolma.errors import ConfigError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "a.jsonl",
        "x/b.jsonl.gz",
        "x/y/c.parquet",
        "x/.hidden.jsonl",
        ".deep/d.jsonl",
        "x/read.me",
        "[1].json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("**/*.jsonl*", ["a.jsonl", "x/b.jsonl.gz"]),
        ("x/**", ["x/b.jsonl.gz", "x/read.me", "x/y/c.parquet"]),
        ("*/?.jsonl.gz", ["x/b.jsonl.gz"]),
        ("x/[a-c].*", ["x/b.jsonl.gz"]),
        ("x", ["x/b.jsonl.gz", "x/y/c.parquet"]),
        ("x/", ["x/b.jsonl.gz", "x/y/c.parquet"]),
        ("x/.*", ["x/.hidden.jsonl"]),
        ("[1].json", ["[1].json"]),
        ("nothing*", []),
    ],
)
def test_patterns(tree: Path, pattern: str, found: list[str]) -> None:
    assert discovery.glob(pattern) == found
    assert discovery.glob(f"{tree}/{pattern}") == [f"{tree}/{path}" for path in found]


def test_file_urls_are_local_paths(tree: Path) -> None:
    assert discovery.glob(f"file://{tree}/x/*.gz") == [f"{tree}/x/b.jsonl.gz"]
    assert streams.size(f"file://{tree}/a.jsonl") == 0
    streams.remove(f"file://{tree}/a.jsonl")
    streams.remove_tree(f"file://{tree}/x")
    assert sorted(os.listdir(tree)) == [".deep", "[1].json"]


def test_wildcards_in_a_web_address_are_refused() -> None:
    with pytest.raises(ConfigError, match="wildcards work for local paths and s3://"):
        discovery.glob("https://example.org/*.jsonl")
