"""Near vectors from attributes on disk to attributes on disk. Run: `pytest tests/dedupe/test_semantic.py`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig
from dolma.data import exchange
from dolma.data.attributes import AttributeWriter
from dolma.data.columns import DocFloat, DocVector
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.dedupers import dedupe as stage_module
from dolma.dedupers import method, semantic, verdict
from dolma.dedupers.dedupe import dedupe
from dolma.dedupers.inspection import inspect
from dolma.dedupers.reference import Sources, near_vectors
from dolma.errors import AlignmentError, ConfigError, DataError, Unfinished
from dolma.runner.options import RunOptions

if TYPE_CHECKING:
    from .conftest import Corpus

Vectors = Sequence[Sequence[float] | None]
SEMANTIC: dict[str, Any] = {"method": "semantic", "by": "embedding.vector"}


def write(corpus: Corpus, name: str, vectors: Vectors, texts: Sequence[str] | None = None, size: int = 0) -> None:
    """A shard with these vectors, in the set `embedding`; ids are "<name>-0", …"""
    size = size or next((len(vector) for vector in vectors if vector is not None), 1)
    corpus.write_texts(name, texts if texts is not None else [f"text {i}" for i in range(len(vectors))])
    outputs = {"vector": DocVector("of the text", size=size), "length": DocFloat("of the text")}
    path = str(corpus.folder / "attributes" / "embedding" / f"{name}.parquet")
    with AttributeWriter(path, outputs, tagger="embedding") as out:
        columns = {
            "vector": pa.array(vectors, pa.list_(pa.float32(), size)),
            "length": pa.array([1.0] * len(vectors)),
        }
        out.write([f"{name}-{i}" for i in range(len(vectors))], columns)


def planted(rng: np.random.Generator, n: int, *, size: int = 24, noise: float = 0.05) -> list[list[float]]:
    """Vectors of which every third is near the one before."""
    found = rng.normal(size=(n, size))
    for i in range(2, n, 3):
        found[i] = found[i - 1] * rng.uniform(0.5, 4) + noise * rng.normal(size=size)
    return found.astype(np.float32).tolist()


def answers(corpus: Corpus, name: str = "dedupe") -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "id"} for row in corpus.rows(name)]


numbers = st.integers(-4, 4).map(float)
rows = st.lists(st.tuples(st.lists(numbers, min_size=3, max_size=3).filter(any), st.sampled_from(["a", "bb", " "])))


@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(rows, min_size=1, max_size=3).filter(any),
    options=st.fixed_dictionaries(
        {
            "threshold": st.sampled_from([0.5, 0.9, 1.0]),
            "keep": st.sampled_from(["first", "last", "longest", "shortest", "none"]),
            "link": st.sampled_from(["components", "kept"]),
        }
    ),
)
def test_the_answer_is_that_of_the_twin(corpora: Any, shards: list[Any], options: dict[str, Any]) -> None:
    corpus, ids, texts, vectors = corpora(), [], [], []
    for i, shard in enumerate(shards):
        write(corpus, f"{i}.jsonl", [vector for vector, _ in shard], [text for _, text in shard], size=3)
        ids += [f"{i}.jsonl-{j}" for j in range(len(shard))]
        texts += [text for _, text in shard]
        vectors += [vector if text.strip() else None for vector, text in shard]
    corpus.dedupe(**SEMANTIC, **options)
    ranks = {"longest": [len(text) for text in texts], "shortest": [-len(text) for text in texts]}
    expected = near_vectors(
        ids,
        vectors,
        threshold=options["threshold"],
        link=options["link"],
        keep=options["keep"],
        ranks=ranks.get(options["keep"]),
    )
    assert answers(corpus) == expected


def test_planted_copies_are_found_and_nothing_else(corpus: Corpus) -> None:
    vectors = planted(np.random.default_rng(1), 600)
    write(corpus, "a.jsonl", vectors[:400])
    write(corpus, "b.jsonl", vectors[400:])
    report = corpus.dedupe(**SEMANTIC)
    assert [i for i, row in enumerate(corpus.rows()) if row["duplicate"]] == list(range(2, 600, 3))
    assert [row["kept_id"] for row in corpus.rows()[2:7:3]] == ["a.jsonl-1", "a.jsonl-4"]
    assert all(row["similarity"] > 0.98 for row in corpus.rows() if row["duplicate"])
    near = report.details.near
    assert (near.clusters, near.compared, near.alike, near.by_chain) == (200, 600 * 599 // 2, 200, 0)


def test_within_cells_copies_are_found_as_without_them(corpora: Any) -> None:
    vectors = planted(np.random.default_rng(1), 900, noise=0.01)
    one, several = corpora(), corpora()
    for corpus in (one, several):
        write(corpus, "a.jsonl", vectors)
    one.dedupe(**SEMANTIC)
    report = several.dedupe(**SEMANTIC, cells=6)
    assert report.details.near.compared < 900 * 899 // 4
    found = [sum(row["duplicate"] for row in corpus.rows()) for corpus in (one, several)]
    assert found[0] == 300
    assert found[1] >= 294  # the others lie beside a border


def test_workers_pieces_partitions_and_memory_change_nothing(corpora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    vectors = planted(rng, 300, noise=0.5)
    made = [corpora() for _ in range(4)]
    for corpus in made:
        for i in range(3):
            write(corpus, f"{i}.jsonl", vectors[100 * i : 100 * i + 100])
    settings = {**SEMANTIC, "cells": 5, "threshold": 0.9}
    made[0].dedupe(**settings)
    made[1].dedupe(**settings, workers=2)
    spills: list[object] = []
    temporary = verdict.tempfile.TemporaryFile
    with monkeypatch.context() as patch:
        patch.setattr(verdict.tempfile, "TemporaryFile", lambda: spills.append(temporary()) or spills[-1])
        patch.setattr(stage_module, "MEMORY", 1 << 14)
        patch.setattr(exchange, "BLOCK_BYTES", 2_000)
        patch.setattr(exchange, "FAN_IN", 3)
        patch.setattr(method, "PARTITION_BYTES", 5_000)
        patch.setattr(semantic.FindCentres, "__call__", _with_memory(semantic.FindCentres.__call__))
        made[2].dedupe(**settings, reading=Reading(batch_bytes=300))
    assert spills
    whole = [path.read_bytes() for path in made[0].files()]
    assert len(whole) == 3
    for i in (1, 2) * 6:
        with contextlib.suppress(Unfinished):
            made[3].dedupe(**settings, shard=(i, 2))
    for corpus in made[1:]:
        assert [path.read_bytes() for path in corpus.files()] == whole


def _with_memory(call: Any) -> Any:
    def with_memory(self: Any, spec: Any) -> Any:
        object.__setattr__(self, "memory", 1 << 30)
        return call(self, spec)

    return with_memory


def test_twenty_thousand_copies_are_compared_once(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0, 3.0]] * 20_000 + [[3.0, -2.0, 1.0]])
    report = corpus.dedupe(**SEMANTIC)
    assert (report.details.near.compared, report.details.duplicates) == (1, 19_999)


def test_references_and_sources_are_compared_as_by_the_other_methods(tmp_path: Path, corpora: Any) -> None:
    rng = np.random.default_rng(7)
    corpus, other = corpora(), corpora()
    vectors = rng.normal(size=(12, 8)).astype(np.float32).tolist()
    write(other, "r.jsonl", [vectors[0], vectors[1]])
    write(corpus, "a.jsonl", [vectors[0], vectors[2], vectors[2], vectors[1]])
    dataset = Dataset(documents=(str(corpus.folder / "documents" / "*"),))
    reference = [str(other.folder / "documents" / "*")]
    config = DedupeConfig(**SEMANTIC, name="new", reference=reference)
    report = dedupe(dataset, config, options=RunOptions(workers=1))
    found = near_vectors(
        ["r.jsonl-0", "r.jsonl-1", *(f"a.jsonl-{i}" for i in range(4))],
        [vectors[i] for i in (0, 1, 0, 2, 2, 1)],
        threshold=0.95,
        sources=Sources([""] * 6, n_references=2),
    )
    assert answers(corpus, "new") == found[2:]
    assert report.details.references == 2
    assert [row["duplicate"] for row in found[2:]] == [True, False, True, True]


@pytest.mark.parametrize("scope", ["within-source", "across-sources"])
def test_scopes_and_priority_are_those_of_the_twin(corpus: Corpus, scope: str) -> None:
    vectors = [[1.0, 0.0], [1.0, 0.125], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.25]]
    sources = ["web", "web", "wiki", "web", "web", "wiki"]
    write(corpus, "a.jsonl", vectors)
    corpus.write("a.jsonl", [{"id": f"d{i}", "text": "t", "source": of} for i, of in enumerate(sources)])
    with AttributeWriter(
        str(corpus.folder / "attributes/embedding/a.jsonl.parquet"),
        {"vector": DocVector("v", size=2)},
        tagger="embedding",
    ) as out:
        out.write([f"d{i}" for i in range(6)], {"vector": pa.array(vectors, pa.list_(pa.float32(), 2))})
    corpus.dedupe(**SEMANTIC, scope=scope, priority=["wiki"])
    of = Sources(sources, scope=scope, priority=["wiki"])
    expected = near_vectors([f"d{i}" for i in range(6)], vectors, threshold=0.95, sources=of)
    assert answers(corpus) == expected


def test_a_pair_can_be_looked_at(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    corpus.dedupe(**SEMANTIC)
    (pair,) = inspect(Dataset(documents=(str(corpus.folder / "documents" / "*"),)), "dedupe")
    assert (pair.id, pair.kept_id, pair.line, pair.kept_line) == ("a.jsonl-2", "a.jsonl-0", 3, 1)
    assert pair.similarity == pytest.approx(1 / np.sqrt(1.01))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (None, r"is null, expected some numbers"),
        ([0.0, 0.0, -0.0], r"is a vector of zeros, which has no direction"),
        ([1.0, float("nan"), 0.0], r"is a vector with numbers that are null, NaN or infinite"),
        ([1.0, float("inf"), 0.0], r"is a vector with numbers that are null, NaN or infinite"),
        ([1.0, None, 0.0], r"is a vector with numbers that are null, NaN or infinite"),
    ],
)
def test_an_odd_vector_is_an_error_that_names_the_document(corpus: Corpus, odd: Any, said: str) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0, 3.0], odd, [1.0, 2.0, 3.0]])
    with pytest.raises(DataError, match=f"a.jsonl:2: `embedding.vector` of the document 'a.jsonl-1' {said}"):
        corpus.dedupe(**SEMANTIC)
    assert not list((corpus.folder / "attributes" / "dedupe").glob("*.parquet"))


def test_the_vector_of_a_blank_document_is_not_looked_at(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [None, [1.0, 2.0], [1.0, 2.0]], [" ", "a", "b"])
    report = corpus.dedupe(**SEMANTIC)
    assert [row["duplicate"] for row in corpus.rows()] == [False, False, True]
    assert report.details.without_key == 1


def test_documents_without_text_alone_have_an_answer(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [None, None], [" ", ""], size=2)
    corpus.dedupe(**SEMANTIC, cells=3)
    assert [row["duplicate"] for row in corpus.rows()] == [False, False]


def test_vectors_of_two_sizes_are_refused(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0]])
    write(corpus, "b.jsonl", [[1.0, 2.0, 3.0]])
    with pytest.raises(
        AlignmentError, match=r"b.jsonl:1: its vectors in .*b.jsonl.parquet have 3 numbers, expected 2 as"
    ):
        corpus.dedupe(**SEMANTIC)


def test_a_row_that_is_missing_is_an_error(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0], [2.0, 1.0]])
    corpus.write_texts("a.jsonl", ["one", "two", "three"])
    with pytest.raises(AlignmentError, match=r"a.jsonl:3: no row for this document \(id 'a.jsonl-2'\)"):
        corpus.dedupe(**SEMANTIC)


def test_a_file_without_attributes_is_an_error(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0]])
    corpus.write_texts("b.jsonl", ["one"])
    with pytest.raises(
        AlignmentError, match=r"b.jsonl:1: no attributes 'embedding' for this file: .* there are: embedding"
    ):
        corpus.dedupe(**SEMANTIC)


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("embedding.size", r"'embedding' has no output 'size'; valid: length, vector"),
        ("embedding.length", r"'embedding.length' is float, expected a vector\n  these are: embedding.vector"),
    ],
)
def test_what_holds_no_vectors_is_refused(corpus: Corpus, by: str, said: str) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0]])
    with pytest.raises(ConfigError, match=said):
        corpus.dedupe(method="semantic", by=by)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "text"}, "expected an attribute that has vectors"),
        ({"by": "a.b.c"}, "expected an attribute that has vectors"),
        ({"by": "a.b", "threshold": 0.0}, "`threshold` is 0.0, expected more than 0"),
        ({"by": "a.b", "cells": 0}, "`cells` is 0, expected 1 to 10,000"),
        ({"by": "a.b", "seed": -1}, "`seed` is -1"),
        ({"by": "a.b", "bands": 3}, "`bands` is not for semantic"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DedupeConfig(method="semantic", **settings)


def test_cells_that_memory_cannot_find_are_refused(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    write(corpus, "a.jsonl", planted(np.random.default_rng(0), 300, size=64))
    monkeypatch.setattr(stage_module, "MEMORY", 1 << 16)
    with pytest.raises(ConfigError, match=r"the centres of 9 cells takes .* bytes, more than `--max-memory` 65,536"):
        corpus.dedupe(**SEMANTIC, cells=9)


def test_another_vector_makes_it_again(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [[1.0, 2.0], [2.0, 1.0]])
    corpus.dedupe(**SEMANTIC)
    manifest = json.loads((corpus.folder / "attributes/dedupe/_manifest.json").read_bytes())
    assert [file["name"] for file in manifest["inputs"]] == ["a.jsonl", "attributes/embedding/a.jsonl"]
    assert corpus.dedupe(**SEMANTIC).complete_before
    write(corpus, "a.jsonl", [[1.0, 2.0], [1.0, 2.0]])
    assert corpus.dedupe(**SEMANTIC, overwrite=True).details.duplicates == 1
