"""`pytest tests/data/formats/test_table.py`: what a file's name says about it."""

from __future__ import annotations

import pytest

from dolma.data.formats.table import format_of, strip_suffixes
from dolma.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a.jsonl.gz", "a"),
        ("x.y/a.json.zst", "x.y/a"),
        ("a.b.parquet", "a.b"),
        ("a.tar.gz", "a.tar"),
        ("a.md", "a.md"),
        ("A.JSONL.GZ", "A"),
        ("x.y/a", "x.y/a"),
    ],
)
def test_suffixes_are_stripped(path: str, stem: str) -> None:
    assert strip_suffixes(path) == stem


def test_a_file_of_no_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a\.md is no document file\n  expected \.jsonl, .* or \.parquet, \.arrow"):
        format_of("a.md")
