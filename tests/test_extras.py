"""The extras of the package, and what the code says of them. Run: pytest tests/test_extras.py"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = {"all", "dev", "fuzz", "http"}  # itself, those of developers, and an empty one
APART = {"transformers", "eval", "olmo-eval", "parity"}  # which need tokenizers below 1.0


def test_all_holds_what_installs_together() -> None:
    (requirement,) = EXTRAS["all"]
    held = set(re.fullmatch(r"dolma\[(.*)\]", requirement)[1].split(","))  # type: ignore[index]
    assert held == EXTRAS.keys() - WITHOUT - APART


def sources() -> list[Path]:
    folders = ("dolma", "taggers", "dedupe", "mixers", "docs")
    found = [path for name in folders for suffix in ("py", "md", "yaml") for path in (ROOT / name).rglob(f"*.{suffix}")]
    return [ROOT / "README.md", *(path for path in found if path.name not in ("errors.md",))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_extras_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = {name for found in re.findall(r"dolma\[([\w,-]+)\]", text) for name in found.split(",")}
    named |= set(re.findall(r"\bextra=\"([\w-]+)\"", text))
    assert named <= EXTRAS.keys()


def test_readme_lists_every_extra() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert EXTRAS.keys() - {"dev", "fuzz", "http", "parity"} <= listed
