"""Documents held out for validation. Run: pytest tests/mixers/test_holdout.py"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dolma
from dolma.data.dataset import pieces
from dolma.errors import ConfigError
from dolma.mixers.holdout import GROUPS, components, held_nodes


@pytest.fixture
def corpus(corpus: Any) -> Any:
    """Sources of 100 and 40 documents; in the first half `my.n` puts seven together, `more.n` a few across them."""
    for source, n in (("web", 100), ("forum", 40)):
        corpus.write_texts(source, [f"{source} text {i} " * (1 + i % 5) for i in range(n)])
        corpus.tag(source, n=[i // 7 if i < n // 2 else None for i in range(n)])
        corpus.tag(source, set="more", n=[i if i % 10 == 0 and i < 40 else None for i in range(n)])
    return corpus


CLUSTER = ["my.n", "more.n"]


def held(corpus: Any) -> set[str]:
    return {json.loads(line)["id"] for line in (corpus.out / "holdout.jsonl").read_bytes().splitlines()}


def joined(source: str, i: int) -> list[tuple[str, int]]:
    """The clusters of a document of the corpus; those of `my.n` have the same numbers in both sources."""
    n = {"web": 100, "forum": 40}[source]
    first = [("my.n", i // 7)] if i < n // 2 else []
    return first + ([("more.n", i)] if i % 10 == 0 and i < 40 else [])


def naive_components() -> list[set[str]]:
    """What clusters put together, document by document: the readable twin."""
    groups: list[tuple[set[str], set[tuple[str, int]]]] = []
    for source, n in (("web", 100), ("forum", 40)):
        for i in range(n):
            ids, clusters = {f"{source}-{i}"}, set(joined(source, i))
            apart = [group for group in groups if not group[1] & clusters]
            for other_ids, others in (group for group in groups if group[1] & clusters):
                ids, clusters = ids | other_ids, clusters | others
            groups = [*apart, (ids, clusters)]
    return [ids for ids, _ in groups]


# --- what is held out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_source", "expected"), [(True, {"web": 10, "forum": 4}), (False, None)], ids=["per source", "of all"]
)
def test_a_share_is_exact_where_no_clusters_are(corpus: Any, per_source: bool, expected: dict[str, int] | None) -> None:
    report = corpus.mix(holdout={"share": 0.1, "per_source": per_source})
    ids = held(corpus)
    assert len(ids) == 14
    if expected is not None:
        assert Counter(id.split("-")[0] for id in ids) == expected
    assert ids.isdisjoint(corpus.ids())
    assert len(corpus.ids()) == 126
    assert sum(account.dropped["held out"].documents for account in report.ledger.accounts.values()) == 14


def test_the_documents_held_out_lie_beside_the_mix(corpus: Any) -> None:
    corpus.mix(holdout={"share": 0.1}, keep=["document.bytes > 20"])
    paths = sorted((corpus.out / "holdout").rglob("*.zst"))
    found = {
        record["id"]: record["text"]
        for path in paths
        for record in map(json.loads, dolma.data.streams.open_input(str(path)).read().splitlines())
    }
    assert set(found) == held(corpus)
    assert all(len(text) > 20 for text in found.values())
    rows = corpus.rows(of="decisions")
    assert {row["id"] for row in rows if row["held_out"]} == set(found)
    assert not any(row["copies"] for row in rows if row["held_out"])
    assert not dolma.verify(str(corpus.out)).problems


@pytest.mark.parametrize("seed", range(5))
def test_clusters_never_straddle_what_is_held_out(corpus: Any, seed: int) -> None:
    corpus.mix(holdout={"share": 0.3, "cluster": CLUSTER}, seed=seed)
    ids, mixed = held(corpus), set(corpus.ids())
    assert len(ids) + len(mixed) == 140
    for together in naive_components():
        assert together <= ids or together <= mixed


def test_a_document_that_rules_drop_still_joins_clusters(corpus: Any) -> None:
    corpus.mix(holdout={"share": 0.3, "cluster": CLUSTER}, drop=["document.id = 'web-0'"])
    ids, mixed = held(corpus), set(corpus.ids())
    for together in naive_components():
        assert not (together & ids and together & mixed)


def test_clustered_documents_are_held_out_on_average(corpus: Any) -> None:
    counts = []
    for seed in range(20):
        corpus.mix(holdout={"share": 0.3, "cluster": CLUSTER}, seed=seed, overwrite=True)
        counts.append(len(held(corpus)))
    assert 25 < np.mean(counts) < 60


def test_shares_are_of_what_is_not_held_out(corpus: Any) -> None:
    report = corpus.mix(
        holdout={"share": 0.5}, unit="documents", sources={"web": {"share": 0.8}, "forum": {"share": 0.2}}
    )
    assert [(row.source, row.left_documents, row.achieved) for row in report.details.mixture.sources] == [
        ("forum", 20, 12),
        ("web", 50, 50),
    ]


def test_edits_are_made_in_what_is_held_out_too(corpus: Any) -> None:
    corpus.tag("web", set="pii", spans=[[(0, 3, 1.0)]] * 100)
    corpus.tag("forum", set="pii", spans=[[]] * 40)
    corpus.mix(holdout={"share": 0.1}, spans=[{"attribute": "pii.spans", "replace": "XXX"}])
    path = corpus.out / "holdout" / "web" / "a.jsonl.zst"
    texts = [json.loads(line)["text"] for line in dolma.data.streams.open_input(str(path)).read().splitlines()]
    assert len(texts) == 10
    assert all(text.startswith("XXX") for text in texts)


# --- ids that stay held out ------------------------------------------------------------------------------------------


def test_what_was_held_out_stays_held_out_when_the_corpus_grows(corpus: Any, tmp_path: Path) -> None:
    corpus.mix(holdout={"share": 0.1, "cluster": CLUSTER})
    before, ids = held(corpus), tmp_path / "ids.jsonl"
    ids.write_bytes((corpus.out / "holdout.jsonl").read_bytes())
    corpus.write_texts("news", [f"news {i}" for i in range(50)])
    corpus.tag("news", n=[None] * 50)
    corpus.tag("news", set="more", n=[None] * 50)
    corpus.mix(holdout={"share": 0.1, "cluster": CLUSTER, "ids": str(ids)}, overwrite=True, seed=9)
    assert before < held(corpus)
    corpus.mix(holdout={"ids": str(ids)}, overwrite=True, seed=9)
    assert before == held(corpus)


def test_a_cluster_goes_with_an_id(corpus: Any, tmp_path: Path) -> None:
    (tmp_path / "ids.jsonl").write_text('{"id": "web-1", "source": "web"}\n{"id": "web-99"}\n{"id": "elsewhere"}\n')
    corpus.mix(holdout={"cluster": ["my.n"], "ids": str(tmp_path / "ids.jsonl")})
    assert held(corpus) == {f"{source}-{i}" for source in ("web", "forum") for i in range(7)} | {"web-99"}


def test_a_file_of_ids_that_changes_in_the_same_process_is_read_again(corpus: Any, tmp_path: Path) -> None:
    path = tmp_path / "ids.jsonl"
    for id in ("web-99", "forum-39"):
        path.write_text(f'{{"id": "{id}"}}\n')
        corpus.mix(holdout={"ids": str(path)}, overwrite=True)
        assert held(corpus) == {id}


def test_other_ids_are_another_mix(corpus: Any, tmp_path: Path) -> None:
    path = tmp_path / "ids.jsonl"
    path.write_text('{"id": "web-1"}\n')
    corpus.mix(holdout={"ids": str(path)})
    path.write_text('{"id": "web-2"}\n')
    with pytest.raises(ConfigError, match="holdout"):
        corpus.mix(holdout={"ids": str(path)})


# --- the same bytes every time ---------------------------------------------------------------------------------------


def test_workers_and_pieces_leave_no_trace(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"holdout": {"share": 0.2, "cluster": CLUSTER}, "sources": {"web": {"repeat": 1.5}}, "format": ".jsonl"}
    one = corpus.mix(**config)
    two = corpus.mix(workers=2, output=corpus.base / "two", **config)
    assert corpus.files(output=corpus.base / "two") == corpus.files()
    monkeypatch.setattr("dolma.data.dataset.pieces.__kwdefaults__", {"piece_bytes": 1500})
    assert len(pieces(corpus.dataset().shards()[1])) > 3
    parts = corpus.mix(output=corpus.base / "parts", **config)
    for name, content in corpus.files().items():
        if name.startswith(("documents/", "holdout")):
            assert (corpus.base / "parts" / name).read_bytes() == content
    assert one.ledger == two.ledger == parts.ledger


def test_a_preview_tells_what_is_held_out(corpus: Any) -> None:
    config = {"holdout": {"share": 0.2, "cluster": CLUSTER}, "sources": {"web": {"repeat": 1.5}}}
    assert corpus.preview(**config).ledger == corpus.mix(**config).ledger


# --- components ------------------------------------------------------------------------------------------------------


@pytest.mark.property
@settings(deadline=None)
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_are_those_of_merging_edge_by_edge(given: tuple[int, list[tuple[int, int]]]) -> None:
    n, edges = given
    roots = list(range(n))
    for one, other in edges:
        least, most = sorted((roots[one], roots[other]))
        roots = [least if root == most else root for root in roots]
    ones, others = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    assert components(n, ones, others).tolist() == roots


def test_an_id_holds_out_its_whole_component() -> None:
    rows = pa.table(
        {"node": [1, 2, 7], "other": [2, 3, 7], "forced": [False, True, False]}, schema=GROUPS.schema
    ).to_batches()
    assert held_nodes(rows, share=0.0, seed=0).tolist() == [1, 2, 3]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        ({"share": 1}, r"`share` is 1.0, expected 0 to below 1"),
        ({}, r"nothing is held out\n  give `share`, such as 0.01, or `ids`"),
        ({"share": 0.1, "cluster": "my.m"}, r"\$.mix.holdout.cluster\[0\]: no attribute 'my.m'"),
        (
            {"share": 0.1, "cluster": "x.spans"},
            r"\$.mix.holdout.cluster\[0\]: 'x.spans' is spans, expected int or text",
        ),
        ({"ids": "none.jsonl"}, r"\$.mix.holdout.ids: no such file: none.jsonl\n  give `holdout.jsonl`"),
    ],
)
def test_what_cannot_be_held_out_is_refused(corpus: Any, holdout: dict[str, Any], message: str) -> None:
    for source, n in (("web", 100), ("forum", 40)):
        corpus.tag(source, set="x", spans=[[]] * n)
    with pytest.raises(ConfigError, match=message):
        corpus.mix(holdout=holdout)
    assert not corpus.out.exists()


def test_a_file_that_has_no_ids_is_refused_with_the_line(corpus: Any, tmp_path: Path) -> None:
    (tmp_path / "ids.jsonl").write_text('{"id": "a"}\nweb-1\n')
    with pytest.raises(ConfigError, match=r"ids.jsonl:2: .*\n  expected lines such as \{"):
        corpus.mix(holdout={"ids": str(tmp_path / "ids.jsonl")})
