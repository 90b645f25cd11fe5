"""Documents of a mix in other files than they came in. Run: pytest tests/mixers/test_arrange.py"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.dataset as arrow_datasets
import pytest

from dolma.config import MixConfig, convert
from dolma.data import dataset, exchange
from dolma.data.dataset import Dataset
from dolma.data.manifest import read_manifest
from dolma.errors import ConfigError
from dolma.mixers.mix import mix, plan
from dolma.mixers.verify import contradictions
from dolma.runner.ledger import Ledger
from dolma.runner.options import RunOptions

SAMPLED = [{}, {"books": {"repeat": 2.5}, "web": {"repeat": 0.5}}]


@pytest.fixture
def two(corpus: Any) -> Any:
    """Two sources of a hundred documents of 10 to 49 bytes in three files."""
    corpus.write_texts("books", ["b" * (10 + i % 40) for i in range(100)])
    corpus.write_texts("web", ["w" * (10 + i % 40) for i in range(60)], name="a.jsonl")
    corpus.write("web", [{"id": f"late-{i}", "text": "l" * (10 + i % 40)} for i in range(40)], name="b.jsonl.gz")
    return corpus


def sizes(corpus: Any, format: str = ".jsonl.zst") -> list[int]:
    """Bytes of text in each file of documents, in order."""
    paths = sorted((corpus.out / "documents").glob(f"part-*{format}"))
    return [sum(len(record["text"]) for record in corpus.records(path.name)) for path in paths]


def check_rows(corpus: Any) -> None:
    """Rows stand in the order of documents, and ledger and files fit."""
    assert [row["id"] for row in corpus.rows()] == corpus.ids()
    manifest = read_manifest(str(corpus.out))
    assert manifest is not None
    assert list(contradictions(str(corpus.out), manifest, msgspec.convert(manifest.ledger, Ledger))) == []


@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_hold_the_mix_in_corpus_order_in_so_many_files_of_one_size(two: Any, sources: Any, parts: int) -> None:
    two.mix(sources=sources, output=two.base / "plain")
    report = two.mix(sources=sources, parts=parts)
    assert two.lines() == two.lines(output=two.base / "plain")
    assert two.rows(of="decisions") == two.rows(of="decisions", output=two.base / "plain")
    assert two.rows() == two.rows(output=two.base / "plain")
    check_rows(two)
    found = sizes(two)
    assert (len(found), report.details.parts) == (parts, parts)
    assert max(found) - min(found) < 2 * 50


def test_files_of_a_size_are_as_many_as_the_preview_says(two: Any) -> None:
    keep = ["document.bytes > 20"]
    said = two.preview(keep=keep, part_bytes="1k").details.parts
    two.mix(keep=keep, part_bytes="1k")
    found = sizes(two)
    assert len(found) == said == -(-sum(found) // 1000)
    assert max(found) < 1000 + 50


def test_the_plan_says_how_many_files_there_will_be(two: Any) -> None:
    def said(**config: Any) -> set[str]:
        return {row["output"] for row in plan(two.dataset(), convert(config, MixConfig), output="out")}

    assert said(parts=4) == {"out/documents/part-*.jsonl.zst (4 files)"}
    assert said(shuffle=True, format=".parquet") == {"out/documents/part-*.parquet (3 files)"}
    assert said(part_bytes="1k") == {"out/documents/part-*.jsonl.zst (about 1k bytes of text each)"}
    assert len(said()) == 3


@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
def test_a_shuffled_mix_has_the_same_documents_in_another_order(two: Any, sources: Any) -> None:
    two.mix(sources=sources, output=two.base / "plain")
    two.mix(sources=sources, shuffle=True)
    assert Counter(two.lines()) == Counter(two.lines(output=two.base / "plain"))
    check_rows(two)
    assert len(sizes(two)) == 3
    labels = np.array([row["shard"].startswith("books") for row in two.rows()])
    assert abs(np.corrcoef(labels, np.arange(len(labels)))[0, 1]) < 0.2
    copies = [i for i, row in enumerate(two.rows()) if row["copy"]]
    first = {row["line"]: i for i, row in enumerate(two.rows()) if row["shard"].startswith("books") and not row["copy"]}
    near = [i for i in copies if abs(i - first[two.rows()[i]["line"]]) == 1]
    assert len(near) < 0.1 * max(len(copies), 10)


def test_dropped_documents_stay_beside_their_inputs(two: Any) -> None:
    two.mix(shuffle=True, parts=2, dropped=True, drop=["document.bytes > 20"])
    dropped = sorted(str(path.relative_to(two.out)) for path in (two.out / "dropped").rglob("*.zst"))
    assert dropped == ["dropped/books/a.jsonl.zst", "dropped/web/a.jsonl.zst", "dropped/web/b.jsonl.zst"]
    check_rows(two)


def test_the_order_depends_on_the_seed(two: Any) -> None:
    for seed in (1, 2):
        two.mix(shuffle=True, seed=seed, output=two.base / f"seed{seed}")
    assert two.ids(output=two.base / "seed1") != two.ids(output=two.base / "seed2")


@pytest.mark.parametrize("config", [{"shuffle": True, "parts": 5}, {"part_bytes": 700}])
@pytest.mark.parametrize("sources", SAMPLED, ids=["in one pass", "sampled"])
def test_pieces_workers_memory_and_merges_do_not_show(
    two: Any, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], sources: Any
) -> None:
    two.mix(sources=sources, **config)
    assert read_manifest(str(two.out)) is not None
    monkeypatch.setattr(dataset.pieces, "__kwdefaults__", {"piece_bytes": 700})
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    options = RunOptions(workers=2, max_memory=64 << 20, progress=False)
    again = two.base / "again"
    mix(two.dataset(), convert({"sources": sources, **config}, MixConfig), output=str(again), options=options)
    found, before = two.files(output=again), two.files()
    of_parts = [name for name in before if "/part-" in name]
    assert {name: found[name] for name in of_parts} == {name: before[name] for name in of_parts}
    assert found.keys() == before.keys()


def test_more_parts_than_documents_are_written_all_the_same(corpus: Any) -> None:
    corpus.write_texts("web", ["a", "", "b"])
    corpus.mix(parts=5)
    assert len(sizes(corpus)) == 5
    assert corpus.ids() == ["web-0", "web-1", "web-2"]
    check_rows(corpus)


def test_nothing_left_is_so_many_empty_files(corpus: Any) -> None:
    corpus.write_texts("web", ["a", "b"])
    corpus.mix(parts=2, drop=["document.bytes > 0"], format=".parquet")
    assert len(list((corpus.out / "documents").glob("part-*.parquet"))) == 2
    assert corpus.rows() == []


def test_columns_of_all_parts_are_one_data_set(two: Any) -> None:
    two.write("web", [{"id": "x", "text": "t", "metadata": {"a": 1}, "late": [1]}], name="c.jsonl")
    two.mix(parts=3, format=".parquet", shuffle=True)
    paths = sorted(map(str, (two.out / "documents").glob("*.parquet")))
    schemas = {arrow_datasets.dataset(path).schema.to_string() for path in paths}
    assert len(schemas) == 1
    table = arrow_datasets.dataset(paths).to_table()
    assert table["id"].to_pylist() == [row["id"] for row in two.rows()]
    (row,) = table.filter(arrow_datasets.field("id") == "x").to_pylist()
    assert (json.loads(row["metadata"]), json.loads(row["extra"])) == ({"a": 1}, {"late": [1]})


@pytest.mark.parametrize("format", [".parquet", ".jsonl.gz", ".jsonl.zst"])
def test_the_folder_opens_as_a_data_set_of_hugging_face(two: Any, format: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    two.mix(parts=3, format=format)
    loaded = datasets.load_dataset(str(two.out / "documents"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["id"] == [row["id"] for row in two.rows()]


def test_a_mix_of_an_arranged_mix_has_the_same_sources(two: Any) -> None:
    first = two.mix(shuffle=True)
    documents = Dataset(documents=(str(two.out / "documents"),))
    again = two.mix(dataset=documents, output=two.base / "again")
    assert again.ledger.accounts.keys() == first.ledger.accounts.keys() == {"books", "web"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"parts": 0}, r"`parts` is 0, expected 1 to 100,000"),
        ({"parts": 2, "part_bytes": "1M"}, r"`parts` and `part_bytes` both say how many files there are"),
        ({"part_bytes": "0"}, r"part_bytes"),
    ],
)
def test_how_many_files_is_said_once(corpus: Any, keys: Any, said: str) -> None:
    corpus.write_texts("web", ["a"])
    with pytest.raises(ConfigError, match=said):
        corpus.mix(**keys)
