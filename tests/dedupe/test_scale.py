"""The arithmetic of docs/scale.md: how large the records of each method are, and what 1 TB of text comes to.

Run: `pytest tests/dedupe/test_scale.py`.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma.config import DedupeConfig
from dolma.data.dataset import Dataset
from dolma.data.exchange import MEMORY, RunWriter, whole_runs
from dolma.dedupers.bloom import FALSE_POSITIVE_RATE
from dolma.dedupers.bloom_filter import shape_for
from dolma.dedupers.dedupe import dedupe
from dolma.dedupers.method import PARTITION_BYTES
from dolma.dedupers.minhash import EDGES, LINKS, FindComponents
from dolma.runner.options import RunOptions

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "scale.md").read_text()
DOCUMENTS = sorted(map(str, REPOSITORY.glob("data/sample/*/documents/*.jsonl.gz")))
NAMES = 40
TERABYTE = {
    "documents": 1e12 / 4000,
    "paragraphs": 1e12 / 100,
    "words": 1e12 / 6,
    "bands": 18 * 1e12 / 4000,
    "shingles": 0.3 * 1e12 / 6,
    "seeds": 1e12 / 73,
    "windows": 0.1 * 1e12 / 5,
}
"""How many records of a kind there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: the options of the method, its files, and what is said of their records."""

    options: str
    files: str
    kind: str
    n_bytes: int
    names: bool
    millions: float
    gigabytes: float

    def __str__(self) -> str:
        return f"{self.options} {self.files}"


def lines() -> Iterator[Line]:
    options = ""
    for line in re.findall(r"^\| (.*) \|$", PAGE.partition("## What it takes")[2], re.M)[2:]:
        given, files, kind, size, records, total = (cell.strip().strip("`") for cell in line.split("|"))
        options = given or options
        n_bytes, _, names = size.partition(" and ")
        yield Line(
            options=options,
            files=files,
            kind=re.split(r"[ ,]", kind)[0],
            n_bytes=int(n_bytes),
            names=bool(names),
            millions=float(records.removesuffix(" million").replace(",", "")),
            gigabytes=float(total.removesuffix(" GB").replace(",", "")),
        )


LINES = list(lines())


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_terabyte(line: Line) -> None:
    n = TERABYTE[line.kind]
    assert line.millions == round(n / 1e6)
    assert line.gigabytes == round(n * (line.n_bytes + NAMES * line.names) / 1e9)


@cache
def written(options: str) -> dict[str, tuple[int, int]]:
    """Records and bytes that the method leaves of the sample, by files."""
    given = re.findall(r"--([\w-]+) (\S+)", options)
    config: dict[str, Any] = {key.replace("-", "_"): int(value) if value.isdigit() else value for key, value in given}
    found: dict[str, tuple[int, int]] = {}
    leave = RunWriter.__exit__

    def counting(writer: RunWriter, kind: Any, *others: Any) -> None:
        leave(writer, kind, *others)
        rows, n_bytes = found.get(writer.table.name, (0, 0))
        found[writer.table.name] = (rows + writer.file.rows, n_bytes + writer.file.index)

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(RunWriter, "__exit__", counting)
        dataset = Dataset(documents=tuple(DOCUMENTS), attributes=folder)
        dedupe(dataset, DedupeConfig(**config), options=RunOptions(workers=1))
    return found


@cache
def sample() -> tuple[int, float, int]:
    """Documents of the sample, bytes of the names of one, and bytes of text."""
    records = [json.loads(line) for path in DOCUMENTS for line in gzip.decompress(Path(path).read_bytes()).splitlines()]
    names = sum(len((record["id"] + record["source"]).encode()) for record in records)
    return len(records), names / len(records), sum(len(record["text"].encode()) for record in records)


@pytest.mark.parametrize("line", [line for line in LINES if line.kind != "shingles"], ids=str)
def test_the_size_of_a_record(line: Line) -> None:
    rows, n_bytes = written(line.options)[line.files]
    assert n_bytes / rows == pytest.approx(line.n_bytes + line.names * sample()[1], rel=0.03, abs=3)


def test_records_of_each_document() -> None:
    n_docs, _, n_bytes = sample()
    minhash = written("--method minhash")
    assert minhash["bands"][0] == 18 * n_docs
    assert minhash["rows"][0] == written("--by text")["keys"][0] == n_docs
    assert n_bytes / written("--method substring")["seeds"][0] == pytest.approx(73, rel=0.02)


def test_tasks_of_a_terabyte() -> None:
    keys, bands = (
        next(line for line in LINES if str(line) == name) for name in ("--by text keys", "--method minhash bands")
    )
    tasks = [
        1 + int(line.millions * 1e6 * (line.n_bytes + NAMES * line.names)) // PARTITION_BYTES for line in (keys, bands)
    ]
    said = re.search(r"([\d,]+) tasks for the `keys` of `--by text`, ([\d,]+) for the `bands`", PAGE)
    assert said is not None
    assert tasks == [int(number.replace(",", "")) for number in said.groups()]
    assert PARTITION_BYTES == 64 << 20
    assert MEMORY == 256 << 20


def test_the_filter_of_a_terabyte() -> None:
    said = re.search(r"\((\d+) GB for 10,000 million paragraphs, at an error of 1e-5\)", PAGE)
    assert said is not None
    assert int(said[1]) == round(shape_for(10**10, error=FALSE_POSITIVE_RATE).n_bytes / 1e9)


def test_documents_that_share_a_band_take_100_bytes_each(tmp_path: Path) -> None:
    n = 400_000
    places, rng = np.arange(n, dtype=np.uint64), np.random.default_rng(0)
    others = rng.integers(0, n, n).astype(np.uint64)
    with RunWriter(LINKS, str(tmp_path), "a") as links, RunWriter(EDGES, str(tmp_path), "a") as edges:
        links.add(pa.RecordBatch.from_arrays([pa.array(one) for one in (places, others, others)], schema=LINKS.schema))
        for at in range(0, n, 1 << 14):
            some = slice(at, at + (1 << 14))
            columns = [pa.array(np.minimum(places, others)[some]), pa.array(np.maximum(places, others)[some])]
            edges.add(pa.RecordBatch.from_arrays(columns, schema=EDGES.schema))
    finding = FindComponents(work=str(tmp_path), memory=1 << 20)
    tracemalloc.start()
    try:
        finding((whole_runs([links.file]), [edges.file]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 50 * n < peak < 110 * n
    assert "at 100 bytes each: 7.5 GB for 75 million" in PAGE
