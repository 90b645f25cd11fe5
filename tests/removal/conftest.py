"""A finished run over some real documents, of which each test has its own copy."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import dolma
from dolma.data import streams
from dolma.data.documents import DocumentWriter

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
RECIPE: dict[str, Any] = {
    "documents": ["raw/*/documents/*"],
    "output": "run",
    "seed": 1,
    "workers": 1,
    "tag": {"taggers": ["length", "pii"]},
    "dedupe": [
        {"method": "minhash", "name": "near", "threshold": 0.5},
        {"name": "exact", "index": True},
        {"by": "paragraphs", "name": "paragraphs"},
    ],
    "mix": {
        "keep": ["length.words >= 20"],
        "drop": ["near.duplicate"],
        "dropped": True,
        "holdout": {"share": 0.1},
        "spans": [{"attribute": "pii.email", "replace": "|||MAIL|||"}],
        "sources": {"books": {"repeat": 2}},
    },
    "tokenize": {"tokenizer": "tokenizer.json"},
    "stat": {},
}
SENTENCE = "Quokkas seldom borrow umbrellas from marmalade accountants."
"""In no document but one."""


def sample(source: str, n: int) -> list[dict[str, Any]]:
    """The first documents of a source of the sample."""
    (path,) = (SAMPLE / source / "documents").glob("*.jsonl.gz")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for _, line in zip(range(n), lines, strict=False)]


def planted() -> dict[str, list[dict[str, Any]]]:
    """Documents by file: of the sample, and some that are copies of each other, short, or of a domain."""
    books, manuals, words = sample("books", 20), sample("techdocs", 30), sample("reference", 40)
    body = manuals[0]["text"][:3000]
    web = [
        {"id": "web/kept", "text": body + SENTENCE, "source": "web", "metadata": {"url": "https://www.a.example/1"}},
        {"id": "web/copy", "text": body, "source": "web", "metadata": {"url": "https://b.example/2"}},
        {"id": "web/other", "text": body + " Also.", "source": "web", "metadata": {"url": "http://x.A.example:80/"}},
        {"id": "web/twin", "text": words[0]["text"] * 3, "source": "web", "url": "https://c.example/"},
        {"id": "web/twins", "text": words[0]["text"] * 3, "source": "web"},
        {"id": "web/short", "text": "Too short.", "source": "web"},
        {"id": "web/mail", "text": words[1]["text"] * 3 + " me@mail.example", "source": "web"},
    ]
    return {
        "books/documents/a.jsonl.gz": books,
        "techdocs/documents/b.jsonl.zst": manuals[1:],
        "reference/documents/c.csv": [{"id": w["id"], "text": w["text"], "source": w["source"]} for w in words],
        "web/documents/d.jsonl": web,
        "more/documents/e.parquet": [{**d, "id": f"more/{i}", "source": "more"} for i, d in enumerate(manuals[1:9])],
    }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in several formats, a recipe, and what it has made of them."""
    home = tmp_path_factory.mktemp("made")
    for name, records in planted().items():
        path = home / "raw" / name
        path.parent.mkdir(parents=True)
        with DocumentWriter(str(path)) as out:
            out.write([json.dumps(record).encode() for record in records])
    shutil.copy(SAMPLE / "tokenizer.json", home)
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with chdir(home):
        dolma.run("recipe.yaml")
    return home


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, as the current folder."""
    home = tmp_path / "home"
    shutil.copytree(made, home)
    with chdir(home):
        yield home


def write_ids(*ids: str) -> str:
    """A file of these ids, outside of the run."""
    path = Path("..") / "ids.txt"
    path.write_text("".join(f"{id}\n" for id in ids))
    return str(path)


def holding(folder: Path | str, *needles: str) -> list[str]:
    """The files below a folder in which one of these stands, decompressed and decoded, hidden files too."""
    found = []
    for home, _, names in os.walk(folder):
        for path in (os.path.join(home, name) for name in names):
            content = content_of(path)
            found += [f"{path}: {needle}" for needle in needles if needle.encode() in content]
    return found


def content_of(path: str) -> bytes:
    if path.endswith(".parquet"):
        table, raw = pq.read_table(path), pq.ParquetFile(path).metadata.metadata
        return repr((table.to_pylist(), raw)).encode()
    if path.endswith(".arrow"):
        return repr(pa.ipc.open_file(path).read_all().to_pylist()).encode()
    return b"".join(streams.read_chunks(path)) if streams.compression_of(path) else Path(path).read_bytes()


def tree(folder: Path | str) -> dict[str, str]:
    """The files below a folder by path, each with a hash, but for caches and locks."""
    return {
        os.path.relpath(path, folder): hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for home, _, names in os.walk(folder)
        for path in (os.path.join(home, name) for name in names)
        if os.path.basename(path) not in (".inputs.json", ".lock")
    }


def attributes(name: str) -> dict[str, dict[str, Any]]:
    """The rows of an attribute set of the run by id."""
    files = map(pq.read_table, Path("run/attributes", name).glob("**/*.parquet"))
    return {row["id"]: row for table in files for row in table.to_pylist()}
