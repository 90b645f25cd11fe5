"""Borders of buckets, written and read back. Run: pytest tests/stats/test_borders.py"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.config import StatConfig, convert, make_recipe
from dolma.data.attributes import AttributeWriter
from dolma.data.borders import BORDERS, AttributeBorders, BordersFile, read_borders
from dolma.data.columns import DocFloat, DocInt, DocText, Output
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError
from dolma.runner.options import RunOptions
from dolma.stats.stat import stat
from dolma.verification import verify

OUTPUTS: dict[str, Output] = {"score": DocFloat("quality"), "words": DocInt("words"), "label": DocText("topic")}


def corpus(folder: Path, *shards: dict[str, Sequence[Any]], set: str = "my") -> Dataset:
    """A shard of documents for each of these columns, which are its attributes."""
    for number, columns in enumerate(shards):
        n_docs = len(next(iter(columns.values())))
        path = folder / "web" / "documents" / f"{number}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f'{{"id": "{i}", "text": "t{number}"}}\n' for i in range(n_docs)))
        outputs = {name: OUTPUTS[name] for name in columns}
        arrays = {name: pa.array(values, OUTPUTS[name].arrow_type) for name, values in columns.items()}
        target = folder / "web" / "attributes" / set / f"{number}.jsonl.parquet"
        with AttributeWriter(str(target), outputs, tagger=set) as writer:
            writer.write([str(i) for i in range(n_docs)], arrays, characters=[9] * n_docs)
    return Dataset(documents=(str(folder / "web" / "documents" / "*"),))


def found(dataset: Dataset, folder: Path, *, workers: int = 1, memory: int | None = None, **config: Any) -> bytes:
    """The borders that the stage writes."""
    made = convert(config, StatConfig, path="$.stat")
    options = RunOptions(workers=workers, progress=False, max_memory=memory)
    stat(dataset, made, output=str(folder), options=options)
    return (folder / BORDERS).read_bytes()


def of(content: bytes, at: int = 0) -> AttributeBorders:
    return msgspec.json.decode(content, type=BordersFile).attributes[at]


@pytest.mark.property
@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.none() | st.floats(allow_nan=True) | st.integers(0, 3).map(float), min_size=1, max_size=60),
    st.integers(2, 9),
)
def test_borders_are_values_by_rank(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None], buckets: int
) -> None:
    folder, half = tmp_path_factory.mktemp("borders"), len(values) // 2 + 1
    data = corpus(folder, {"score": values[:half]}, {"score": values[half:] or [None]})
    made = of(found(data, folder / "stat", borders=[f"my.score={buckets}"]))
    ordered = sorted(value + 0.0 for value in values if value is not None and np.isfinite(value))
    if not ordered:
        assert made.of == {}
        return
    assert made.of[""].count == len(ordered)
    assert made.of[""].borders == [ordered[i * len(ordered) // buckets] for i in range(1, buckets)]


def test_large_whole_numbers_are_the_nearest_that_borders_can_be(tmp_path: Path) -> None:
    data = corpus(tmp_path, {"words": [1, 2, 2**60 + 1, 2**60 + 3]})
    assert of(found(data, tmp_path / "stat", borders=["my.words=2"])).of[""].borders == [2.0**60]


def test_each_topic_has_borders_of_its_own(tmp_path: Path) -> None:
    labels = ["art", "law", "law", None] * 100
    scores = [float(i) for i in range(400)]
    data = corpus(tmp_path, {"score": scores, "label": labels})
    made = of(found(data, tmp_path / "stat", borders=["my.score=2"], borders_by="my.label"))
    assert made.by == "my.label"
    assert {label: (of.count, of.borders) for label, of in made.of.items()} == {
        "art": (100, [200.0]),
        "law": (200, [201.0]),
    }


def test_attributes_of_other_sets_join_by_document(tmp_path: Path) -> None:
    corpus(tmp_path, {"label": ["a", "b"] * 50}, {"label": ["b"] * 10}, set="topic")
    data = corpus(tmp_path, {"words": list(range(100))}, {"words": [5000] * 10})
    made = of(found(data, tmp_path / "stat", borders=["my.words=2"], borders_by="topic.label"))
    assert {label: of.borders for label, of in made.of.items()} == {"a": [50.0], "b": [61.0]}


def test_workers_and_memory_make_no_difference_and_the_output_verifies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = corpus(tmp_path, *({"score": rng.random(500).tolist()} for _ in range(3)))
    one = found(data, tmp_path / "one", borders=["my.score=20"])
    two = found(data, tmp_path / "two", borders=["my.score=20"], workers=2, memory=64 << 20)
    assert one == two
    edges = of(one).of[""].borders
    assert all(low < high for low, high in pairwise(edges))
    assert verify([str(tmp_path / "one")], make_recipe({})).problems == []


def test_what_was_written_is_read_by_a_mix(tmp_path: Path) -> None:
    data = corpus(tmp_path, {"score": [0.0, 1.0, 2.0, 3.0], "words": [1, 2, 3, 4]})
    found(data, tmp_path / "stat", borders=["my.words=2", "my.score=4"])
    made = read_borders(str(tmp_path / "stat" / BORDERS), "my.score", key="$.here")
    assert made.buckets_of(np.array([-9.0, 0.5, 1.0, 2.5, 99.0]), "").tolist() == [1, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", r"has no borders: .*\n  give the borders.json that"),
        (b'{"format_version": 2, "attributes": []}', r"has format 2, expected 1"),
        (b'{"attributes": []}', r"has borders of nothing, not of 'a.b'\n  write them: `dolma stat --borders a.b=20`"),
        (
            b'{"attributes": [{"attribute": "a.b", "buckets": 3, "of": {"": {"count": 1, "borders": [2, 1]}}}]}',
            r"has no 2 rising numbers for 'a.b'",
        ),
    ],
)
def test_a_file_without_such_borders_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / BORDERS
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_borders(str(path), "a.b", key="$.here")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"borders": ["my.score"]}, r"`borders` has 'my.score', expected an attribute and 2 to 1,000 buckets"),
        ({"borders": ["my.score=1"]}, r"expected an attribute and 2 to"),
        ({"borders": ["my.score=2", "my.score=3"]}, r"`borders` has an attribute twice"),
        ({"borders_by": "my.label"}, r"`borders_by` is 'my.label', expected an attribute beside `borders`"),
        ({"borders": ["my.scor=2"]}, r"\$.stat.borders\[0\]: no attribute 'my.scor'\n  did you mean 'my.score'\?"),
        ({"borders": ["my.label=2"]}, r"\$.stat.borders\[0\]: text, expected float or int: 'my.label'"),
        ({"borders": ["my.score=2"], "borders_by": "my.score"}, r"borders_by: float, expected text or int or bool"),
    ],
)
def test_borders_that_cannot_be_are_refused(config: dict, message: str, tmp_path: Path) -> None:
    data = corpus(tmp_path, {"score": [1.0], "label": ["a"]})
    with pytest.raises(ConfigError, match=message):
        found(data, tmp_path / "stat", **config)


def test_borders_need_a_folder(tmp_path: Path) -> None:
    data = corpus(tmp_path, {"score": [1.0]})
    with pytest.raises(ConfigError, match=r"\$.stat.borders: go to borders.json, and there is no folder"):
        stat(data, StatConfig(borders=["my.score=2"]), options=RunOptions(workers=1))
