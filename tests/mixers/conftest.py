"""Small corpora on disk with attributes, and a way to mix them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.config import MixConfig, convert
from dolma.data.attributes import AttributeWriter
from dolma.data.columns import DocBool, DocFloat, DocInt, DocText, DocVector, Output, Spans, spans_of
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.streams import open_input, open_output
from dolma.mixers.mix import mix, preview
from dolma.mixers.notes import MixNotes
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport

OUTPUTS: dict[str, Output] = {
    "n": DocInt("a whole number"),
    "x": DocFloat("a number"),
    "flag": DocBool("a truth value"),
    "label": DocText("a string"),
    "spans": Spans("spans"),
    "more": Spans("more spans"),
    "vector": DocVector("some numbers", size=2),
}


class Corpus:
    """Documents and attributes below `folder`, mixes beside it in `base`."""

    def __init__(self, folder: Path) -> None:
        self.base, self.folder, self.out = folder, folder / "corpus", folder / "out"

    def write(self, source: str, records: Iterable[Mapping[str, Any] | bytes], *, name: str = "a.jsonl") -> Path:
        """A shard of these records; bytes are written as they are."""
        lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
        path = self.folder / source / "documents" / name
        with open_output(str(path)) as out:
            out.write(b"".join(line + b"\n" for line in lines))
        return path

    def write_texts(self, source: str, texts: Iterable[str], *, name: str = "a.jsonl") -> Path:
        """A shard of these texts, with ids "<source>-0", …"""
        records = [{"id": f"{source}-{i}", "text": text, "source": source} for i, text in enumerate(texts)]
        return self.write(source, records, name=name)

    def tag(
        self,
        source: str,
        *,
        ids: Sequence[str] | None = None,
        set: str = "my",
        name: str = "a.jsonl",
        format: Any = "parquet",
        **columns: Sequence,
    ) -> Path:
        """An attribute set of a shard, with these outputs; its rows have ids "<source>-0", … unless given."""
        suffix = ".parquet" if format == "parquet" else ""
        path = self.folder / source / "attributes" / set / f"{name}{suffix}"
        outputs = {output: OUTPUTS[output] for output in columns}
        n_docs = len(next(iter(columns.values())))
        arrays = {
            output: _spans(values) if OUTPUTS[output].kind == "spans" else pa.array(values, OUTPUTS[output].arrow_type)
            for output, values in columns.items()
        }
        with AttributeWriter(str(path), outputs, tagger=set, format=format) as writer:
            names = [f"{source}-{i}" for i in range(n_docs)] if ids is None else ids
            writer.write(names, arrays, characters=[99] * n_docs)
        return path

    def dataset(self, *patterns: str) -> Dataset:
        """All documents, or those of these patterns."""
        return Dataset(documents=patterns or (str(self.folder / "*" / "documents" / "**" / "*"),))

    def mix(
        self,
        *,
        workers: int = 1,
        overwrite: bool = False,
        shard: tuple[int, int] | None = None,
        reading: Reading | None = None,
        seed: int = 0,
        output: Path | None = None,
        dataset: Dataset | None = None,
        **config: Any,
    ) -> StageReport[MixNotes]:
        """Run the stage; the rest are keys of the recipe's `mix`."""
        return mix(
            dataset or self.dataset(),
            convert(config, MixConfig, path="$.mix"),
            output=str(output or self.out),
            reading=reading,
            options=RunOptions(workers=workers, overwrite=overwrite, shard=shard, wait=False, progress=False),
            seed=seed,
        )

    def preview(self, **config: Any) -> StageReport[MixNotes]:
        """What mixing would do."""
        return preview(self.dataset(), convert(config, MixConfig, path="$.mix"), options=RunOptions(workers=1))

    def lines(self, name: str = "", *, output: Path | None = None) -> list[bytes]:
        """The records of the mix, or of one of its files, in corpus order."""
        folder = (output or self.out) / "documents"
        paths = [folder / name] if name else sorted(path for path in folder.rglob("*") if path.is_file())
        found = []
        for path in paths:
            with open_input(str(path)) as stream:
                found += stream.read().splitlines()
        return found

    def records(self, name: str = "", *, output: Path | None = None) -> list[dict[str, Any]]:
        """The same, decoded."""
        return [json.loads(line) for line in self.lines(name, output=output)]

    def ids(self, *, output: Path | None = None) -> list[str]:
        """The ids of the mix, in corpus order."""
        return [record["id"] for record in self.records(output=output)]

    def rows(self, *, of: str = "rows", output: Path | None = None) -> list[dict[str, Any]]:
        """The provenance rows, or the decisions, in corpus order."""
        paths = sorted(((output or self.out) / of).rglob("*.parquet"))
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    def files(self, *, output: Path | None = None) -> dict[str, bytes]:
        """Every file that a mix wrote, by its path."""
        base = output or self.out
        paths = sorted(path for path in base.rglob("*") if path.is_file() and path.name != ".inputs.json")
        return {str(path.relative_to(base)): path.read_bytes() for path in paths}


def _spans(values: Sequence[Any]) -> pa.Array:
    found = spans_of([value or [] for value in values])
    return pa.array([None if values[i] is None else found[i].as_py() for i in range(len(values))], found.type)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)
