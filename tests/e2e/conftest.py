"""A place for a tiny corpus, and the `dolma` command in this process."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dolma.cli.main import run

REPOSITORY = Path(__file__).parents[2]
TOKENIZER = str(REPOSITORY / "data" / "sample" / "tokenizer.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


class Place:
    """A folder with `documents/`, `attributes/` and `out/`, and the stage commands upon it."""

    def __init__(self, folder: Path, call: Callable[[list[str]], Ended]) -> None:
        self.folder, self._call, self.out = folder, call, "out"

    # --- what lies there ----------------------------------------------------------------------------------------------

    def write(self, name: str, records: Iterable[Mapping[str, Any] | bytes]) -> Path:
        """A document file of these records; bytes are lines taken as they are."""
        lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
        return self.write_bytes(name, b"".join(line + b"\n" for line in lines))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """A document file, compressed as its suffix says."""
        path = self.folder / "documents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        elif name.endswith(".zst"):
            import zstandard

            data = zstandard.ZstdCompressor(write_checksum=True).compress(data)
        path.write_bytes(data)
        return path

    def path(self, *parts: str) -> str:
        return str(self.folder.joinpath(*parts))

    def files(self, *parts: str) -> dict[str, bytes]:
        """Every file below, hidden ones too, by its relative path; what is remembered of inputs is none."""
        home = self.folder.joinpath(*parts)
        found = [path for path in sorted(home.rglob("*")) if path.is_file() and path.name != ".inputs.json"]
        return {str(path.relative_to(home)): path.read_bytes() for path in found}

    def times(self) -> dict[str, int]:
        """When each file was last written, in nanoseconds."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != ".inputs.json")
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in paths}

    def results(self, stage: str) -> list[str]:
        """The visible files that the stage has written."""
        folder = {"tag": "attributes/length", "dedupe": "attributes/dedupe"}.get(stage, self.out)
        return [path for path in self.files(folder) if not any(part.startswith(".") for part in path.split("/"))]

    def moved(self, name: str) -> Place:
        """The same place with another folder for outputs, so that several stages fit in it."""
        other = Place(self.folder, self._call)
        other.out = f"out-{name}"
        return other

    # --- commands -----------------------------------------------------------------------------------------------------

    def dolma(self, *arguments: str) -> Ended:
        """Run `dolma` with just these arguments."""
        return self._call(list(arguments))

    def stage(self, stage: str, *arguments: str) -> Ended:
        """Run one stage over the place's documents, with little to do."""
        own = {
            "tag": ["--taggers", "length"],
            "dedupe": ["--by", "text"],
            "mix": ["--keep", "length.characters >= 0", "--format", ".jsonl", "--output", self.path(self.out)],
            "tokenize": ["--tokenizer", TOKENIZER, "--output", self.path(self.out)],
            "stat": ["--output", self.path(self.out)],
        }[stage]
        places = ["--documents", self.path("documents"), "--attributes", self.path("attributes")]
        return self.dolma(stage, *own, *places, "--workers", "1", *arguments)


@pytest.fixture
def dolma(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command, run in this process."""

    def call(arguments: list[str]) -> Ended:
        capsys.readouterr()
        status = run(arguments)
        out, err = capsys.readouterr()
        return Ended(status=status, out=out, err=err)

    return lambda *arguments: call([str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path: Path, dolma: Callable[..., Ended]) -> Place:
    return Place(tmp_path, lambda arguments: dolma(*arguments))
