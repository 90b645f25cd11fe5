"""`pytest tests/mixers/test_decisions.py`: what was decided on each document, and that it fits what was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers

from dolma.mixers.decisions import DecidedPiece, Decision
from dolma.mixers.sampling import document_keys
from dolma.mixers.token_counts import NOT_COUNTED

RULES: dict[str, Any] = {"keep": ["my.n >= 2", "my.n < 9"], "drop": ["my.flag"]}
SAMPLED: dict[str, Any] = {"sources": {"web": {"repeat": 1.5}}}


@pytest.fixture
def web(corpus: Any) -> Any:
    corpus.write_texts("web", [f"text {i}" for i in range(12)])
    spans = [[(0, 2, 1.0), (3, 4, 1.0)] if i % 2 else [(0, 0, 1.0)] for i in range(12)]
    corpus.tag("web", n=list(range(12)), flag=[i in (0, 5, 10) for i in range(12)], spans=spans)
    return corpus


def test_every_document_has_a_row_with_the_rules_that_drop_it(web: Any) -> None:
    web.mix(**RULES)
    rows = web.rows(of="decisions")
    assert [row["id"] for row in rows] == [f"web-{i}" for i in range(12)]
    assert [row["line"] for row in rows] == list(range(1, 13))
    assert {row["id"]: row["rules"] for row in rows if row["rules"]} == {
        "web-0": ["keep: my.n >= 2", "drop: my.flag"],
        "web-1": ["keep: my.n >= 2"],
        "web-5": ["drop: my.flag"],
        "web-9": ["keep: my.n < 9"],
        "web-10": ["keep: my.n < 9", "drop: my.flag"],
        "web-11": ["keep: my.n < 9"],
    }
    assert all(row["kept"] == (not row["rules"]) for row in rows)
    assert [row["copies"] for row in rows] == [int(row["kept"]) for row in rows]
    assert {row["source"] for row in rows} == {"web"}
    assert {row["draw"] for row in rows} == {None}


@pytest.mark.parametrize("more", [{}, SAMPLED])
def test_edits_are_counted_and_bytes_are_those_before_and_after(web: Any, more: dict[str, Any]) -> None:
    edits = [{"attribute": "my.spans", "replace": "-"}]
    web.mix(**RULES, **more, spans=edits, min_length=6)
    rows = {row["id"]: row for row in web.rows(of="decisions")}
    assert (rows["web-2"]["edits"], rows["web-2"]["bytes"], rows["web-2"]["edited_bytes"]) == (0, 6, 6)
    assert (rows["web-3"]["edits"], rows["web-3"]["bytes"], rows["web-3"]["edited_bytes"]) == (2, 6, 5)
    assert (rows["web-3"]["kept"], rows["web-3"]["rules"], rows["web-3"]["copies"]) == (False, ["min_length"], 0)
    assert (rows["web-1"]["edits"], rows["web-1"]["edited_bytes"]) == (0, 6)  # dropped before


@pytest.mark.parametrize("workers", [1, 2])
def test_of_a_sampled_mix_draws_and_copies_are_told(web: Any, workers: int) -> None:
    web.mix(**RULES, **SAMPLED, seed=3, workers=workers)
    rows = web.rows(of="decisions")
    written = Counter(record["id"].partition("#")[0] for record in web.records())
    assert {row["id"]: row["copies"] for row in rows if row["copies"]} == written
    draws = document_keys(
        [row["id"] for row in rows],
        ["web"] * len(rows),
        [row["line"] for row in rows],
        shard="web/a.jsonl",
        seed=3,
    )
    assert [row["draw"] for row in rows] == draws.tolist()
    twice = [row["draw"] for row in rows if row["copies"] == 2]
    assert len(twice) == 3
    assert max(twice) < min(row["draw"] for row in rows if row["copies"] == 1)


def test_a_document_that_is_sampled_out_is_kept_and_not_written(web: Any) -> None:
    web.mix(**RULES, sources={"web": {"repeat": 0.5}})
    rows = web.rows(of="decisions")
    assert Counter((row["kept"], row["copies"]) for row in rows) == {(True, 1): 3, (True, 0): 3, (False, 0): 6}


@pytest.mark.parametrize("more", [{}, SAMPLED])
def test_without_rules_all_is_kept(web: Any, more: dict[str, Any]) -> None:
    web.mix(**more)
    assert [(row["kept"], row["rules"]) for row in web.rows(of="decisions")] == [(True, [])] * 12


def test_a_bad_record_has_no_decision(corpus: Any, tmp_path: Path) -> None:
    from dolma.data.documents import Reading

    corpus.write("web", [{"id": "a", "text": "one"}, b"no JSON", {"id": "b", "text": "two"}])
    corpus.mix(reading=Reading(on_error="skip"), **SAMPLED)
    assert [(row["id"], row["line"]) for row in corpus.rows(of="decisions")] == [("a", 1), ("b", 3)]


def test_duckdb_reads_the_rules_as_a_list_of_strings(web: Any) -> None:
    web.mix(**RULES)
    found = duckdb.sql(
        f"SELECT rule, count(*) FROM (SELECT unnest(rules) AS rule FROM '{web.out}/decisions/**/*.parquet') "
        "GROUP BY rule ORDER BY rule"
    )
    assert found.fetchall() == [("drop: my.flag", 3), ("keep: my.n < 9", 3), ("keep: my.n >= 2", 2)]


@given(data=st.data(), n_rules=st.integers(0, 20), n_docs=st.integers(0, 9))
def test_records_and_back(data: st.DataObject, n_rules: int, n_docs: int) -> None:
    fired = data.draw(numbers.arrays(bool, (n_rules, n_docs)))
    wide = np.arange(n_docs, dtype=np.int64)
    made = Decision(
        fired=fired,
        edits=wide.astype(np.int32),
        n_bytes=wide * 7,
        draws=wide.astype(np.uint64) * 3,
        n_tokens=wide - 1,
    )
    records = made.records(wide + 1, np.zeros(n_docs, dtype=np.int32))
    found = Decision.of_records(records, n_rules=n_rules)
    np.testing.assert_array_equal(found.fired, fired)
    np.testing.assert_array_equal(found.kept, [not any(rule[i] for rule in fired) for i in range(n_docs)])
    for name in ("edits", "n_bytes", "draws", "n_tokens"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))


def test_candidates_are_the_documents_that_the_rules_leave(web: Any) -> None:
    fired = np.array([[False, True, False], [False, False, True]])
    made = Decision(
        fired=fired,
        edits=np.zeros(3, np.int32),
        n_bytes=np.array([7, 8, 9]),
        draws=np.array([1, 2, 3], dtype=np.uint64),
        n_tokens=np.array([NOT_COUNTED, 4, 5]),
    )
    records = made.records(np.array([4, 5, 6]), np.array([1, 0, 1], dtype=np.int32))
    piece = DecidedPiece(shard="web/a.jsonl", file=None, codes=(3, 2), quotas=(3, 2), rates=(0.0, 0.3), n_rules=2)  # type: ignore[arg-type]
    found = piece.candidates(records)
    assert found.n_tokens.tolist() == [2]  # three tenths of seven bytes
    assert (found.lines.tolist(), found.sources.tolist(), found.n_bytes.tolist(), found.keys.tolist()) == (
        [4],
        [2],
        [7],
        [1],
    )
