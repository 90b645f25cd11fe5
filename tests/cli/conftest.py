"""The `dolma` command in this process, and a tiny corpus for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dolma.cli.main import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Dolma = Callable[..., Ended]


@pytest.fixture
def dolma(capsys: pytest.CaptureFixture[str]) -> Dolma:
    """The command with these arguments."""

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(status=status, out=out, err=err)

    return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with `books/documents/a.jsonl` and `web/documents/b.jsonl`, four documents each."""
    for source, name in (("books", "a"), ("web", "b")):
        lines = [{"id": f"{name}{i}", "text": f"{source} has " + "words " * i} for i in range(4)]
        path = tmp_path / source / "documents" / f"{name}.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below, hidden ones too: its bytes and when it was written; what is remembered of inputs left aside."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".inputs.json")
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, tuple[bytes, int]]]:
    return tree
