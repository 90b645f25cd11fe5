"""The arithmetic of the waterfall. Run: pytest tests/mixers/test_waterfall.py"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.mixers.waterfall import (
    Waterfall,
    WaterfallRow,
    by_source,
    gone_sources,
    overlaps_of,
    warnings_of,
)
from dolma.runner.ledger import Ledger


def filled(holds: list[list[bool]], *, sources: list[str], n_bytes: list[int]) -> Waterfall:
    """One batch; `holds` has a list per document."""
    made = Waterfall([f"rule {i}" for i in range(len(holds[0]))])
    made.add(
        np.array(holds).T.reshape(len(holds[0]), len(holds)),
        sources=sources,
        n_bytes=np.array(n_bytes),
        ids=[f"id{i}" for i in range(len(holds))],
    )
    return made


def test_first_and_alone_are_told_apart() -> None:
    holds = [[True, True], [False, True], [True, False], [False, False]]
    found = filled(holds, sources=["a"] * 4, n_bytes=[1, 10, 100, 1000]).complete(["a"])
    assert [(row.documents, row.bytes, row.alone, row.alone_bytes, row.total, row.samples) for row in found] == [
        (2, 1010, 1, 10, 2, ["id1", "id3"]),
        (1, 100, 1, 100, 2, ["id2"]),
    ]
    assert [(row.total_bytes, row.overlaps) for row in found] == [(1010, {"rule 1": 1}), (1100, {"rule 0": 1})]


def test_sources_are_counted_apart_and_rows_complete() -> None:
    found = filled([[False], [True], [False]], sources=["b", "a", "b"], n_bytes=[1, 2, 3]).complete(["a", "b"])
    assert [(row.source, row.documents, row.bytes) for row in found] == [("a", 0, 0), ("b", 2, 4)]


def test_a_rule_has_no_row_of_a_source_that_it_is_not_about() -> None:
    made = filled([[False, True], [True, False]], sources=["a", "b"], n_bytes=[1, 2])
    found = made.complete("ab", is_about=lambda rule, source: rule == 0 or source == "b")
    assert [(row.rule, row.source) for row in found] == [("rule 0", "a"), ("rule 0", "b"), ("rule 1", "b")]


def test_at_most_three_examples_the_first_ones() -> None:
    made = filled([[False]] * 2, sources=["a"] * 2, n_bytes=[1] * 2)
    made.add(np.array([[False] * 5]), sources=["a"] * 5, n_bytes=np.ones(5, int), ids=list("vwxyz"))
    assert made.complete(["a"])[0].samples == ["id0", "id1", "v"]


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from("ab")), min_size=1, max_size=30),
    st.integers(1, 9),
)
def test_batches_add_up_to_the_whole(documents: list[tuple[bool, bool, bool, str]], step: int) -> None:
    holds, sources = [list(doc[:3]) for doc in documents], [doc[3] for doc in documents]
    sizes = list(range(1, len(documents) + 1))
    whole = filled(holds, sources=sources, n_bytes=sizes)
    parts = Waterfall(whole.labels)
    for at in range(0, len(documents), step):
        part = Waterfall(whole.labels)
        part.add(
            np.array(holds[at : at + step]).T,
            sources=sources[at : at + step],
            n_bytes=np.array(sizes[at : at + step]),
            ids=[f"id{i}" for i in range(at, len(documents))],
        )
        parts.merge(part.indexed())
    assert parts.complete("ab") == whole.complete("ab")
    dropped = [size for doc, size in zip(documents, sizes, strict=True) if not all(doc[:3])]
    assert sum(row.bytes for row in whole.rows.values()) == sum(dropped)
    assert sum(row.documents for row in whole.rows.values()) == len(dropped)


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 4), max_size=20))
def test_overlaps_are_the_documents_that_two_rules_share(documents: list[tuple[bool, ...]]) -> None:
    fired = np.array(documents, dtype=bool).reshape(-1, 4).T
    expected = [[sum(doc[a] and doc[b] for doc in documents) for b in range(4)] for a in range(4)]
    assert overlaps_of(fired).tolist() == expected


def test_what_is_dropped_goes_into_the_ledger_once() -> None:
    ledger = Ledger()
    ledger.take("a", documents=4, bytes=1111)
    ledger.keep("a", documents=1, bytes=1)
    holds = [[True, True], [False, True], [True, False], [False, False]]
    filled(holds, sources=["a"] * 4, n_bytes=[1, 10, 100, 1000]).drop(ledger)
    ledger.check("mix")
    assert {reason: tally.documents for reason, tally in ledger.account("a").dropped.items()} == {
        "rule 0": 2,
        "rule 1": 1,
    }


def test_masks_by_source() -> None:
    assert [(name, mask.tolist()) for name, mask in by_source(["b", "a", "b"])] == [
        ("b", [True, False, True]),
        ("a", [False, True, False]),
    ]


# --- warnings --------------------------------------------------------------------------------------------------------


def warned(*totals: int, taken: int = 1000, kept: int = 1, implicit: tuple[str, ...] = ()) -> list[str]:
    rows = [WaterfallRow(rule=f"rule {i}", source="a", total=total) for i, total in enumerate(totals)]
    return warnings_of(rows, taken={"a": taken}, kept=kept, implicit=implicit)


def test_a_rule_that_drops_nothing_is_worth_a_warning() -> None:
    assert warned(0, 5) == ["the rule `rule 0` drops no document of 1,000"]


@pytest.mark.parametrize(("total", "n"), [(990, 0), (991, 1), (1000, 1)])
def test_a_rule_that_drops_nearly_everything_is_worth_a_warning(total: int, n: int) -> None:
    assert warned(total) == ["the rule `rule 0` drops 991 of 1,000 documents".replace("991", f"{total:,}")] * n


def test_a_rule_that_nobody_wrote_may_drop_nothing() -> None:
    assert warned(0, implicit=("rule 0",)) == []


def test_an_empty_result_is_worth_a_warning() -> None:
    assert warned(5, kept=0) == ["no document is left of 1,000; the output is empty"]


def test_a_rule_is_measured_by_the_documents_that_it_is_about() -> None:
    rows = [WaterfallRow(rule="books: few", source="a", total=10)]
    assert warnings_of(rows, taken={"a": 10, "b": 990}, kept=1, implicit=()) == [
        "the rule `books: few` drops 10 of 10 documents"
    ]


def test_a_source_that_loses_all_its_documents_is_worth_a_warning() -> None:
    rows = [
        WaterfallRow(rule="r", source=source, documents=n) for source, n in (("a", 3), ("b", 1), ("b", 4), ("c", 2))
    ]
    assert gone_sources(rows, {"a": 9, "b": 5, "c": 2, "none": 0}) == ["the rules drop all documents of b, c"]
    assert gone_sources(rows, {"a": 3, "b": 5, "c": 2}) == []  # the output is empty, which another warning says
