"""Small corpora on disk and a way to dedupe them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dolma.config import DedupeConfig
from dolma.data.attributes import read_attributes
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.streams import open_output
from dolma.dedupers.dedupe import dedupe
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport

Record = Mapping[str, Any]


class Corpus:
    """Documents below one folder, and what dedupe says about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, records: Iterable[Record | bytes]) -> None:
        """A shard of these records; bytes are written as they are."""
        lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
        with open_output(str(self.folder / "documents" / name)) as out:
            out.write(b"".join(line + b"\n" for line in lines))

    def write_texts(self, name: str, texts: Iterable[str]) -> None:
        """A shard of these texts, with ids "<name>-0", …"""
        self.write(name, [{"id": f"{name}-{i}", "text": text} for i, text in enumerate(texts)])

    def dedupe(
        self,
        *,
        workers: int = 1,
        overwrite: bool = False,
        shard: tuple[int, int] | None = None,
        reading: Reading | None = None,
        max_memory: int | None = None,
        **config: Any,
    ) -> StageReport[Any]:
        """Run the stage over all shards."""
        dataset = Dataset(documents=(str(self.folder / "documents" / "**" / "*"),))
        options = RunOptions(
            workers=workers, overwrite=overwrite, shard=shard, wait=False, progress=False, max_memory=max_memory
        )
        return dedupe(dataset, DedupeConfig(**config), reading=reading or Reading(), options=options)

    def rows(self, name: str = "dedupe") -> list[dict[str, Any]]:
        """The rows of all attribute files, in corpus order."""
        return [row for path in self.files(name) for row in read_attributes(str(path)).to_pylist()]

    def files(self, name: str = "dedupe") -> list[Path]:
        """The attribute files, in corpus order."""
        folder = self.folder / "attributes" / name
        return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("_"))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


@pytest.fixture
def corpora(tmp_path: Path) -> Callable[[], Corpus]:
    """As many corpora as a test asks for."""
    made: list[Corpus] = []

    def make() -> Corpus:
        made.append(Corpus(tmp_path / f"corpus-{len(made)}"))
        return made[-1]

    return make
