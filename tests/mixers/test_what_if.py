"""What other thresholds leave. Run: pytest tests/mixers/test_what_if.py"""

from __future__ import annotations

import itertools
import math
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import MixConfig, convert
from dolma.data.attributes import AttributeWriter
from dolma.data.columns import DocInt
from dolma.errors import ConfigError, DataError
from dolma.mixers.what_if import Sweep, WhatIf, answers, read_sweep, what_if
from dolma.runner.options import RunOptions

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def asked(corpus: Any, *sweeps: str, labels: str | None = None, workers: int = 1, **config: Any) -> WhatIf:
    made = convert(config, MixConfig, path="$.mix")
    return what_if(corpus.dataset(), made, sweeps, labels=labels, options=RunOptions(workers=workers))


@pytest.fixture
def two(corpus: Any) -> Any:
    """Two sources of twenty documents, `my.n` counting from 0, `my.x` a tenth of it."""
    for source in ("books", "web"):
        corpus.write_texts(source, ["é" * (i + 1) for i in range(20)])
        corpus.tag(source, n=list(range(20)), x=[i / 10 for i in range(20)], flag=[i % 3 == 0 for i in range(20)])
    return corpus


@pytest.mark.parametrize("workers", [1, 2])
def test_each_threshold_leaves_what_a_mix_with_it_leaves(two: Any, workers: int) -> None:
    others: dict[str, Any] = {"drop": ["my.flag"], "rules": {"b": {"keep": ["my.x < 1.5"], "sources": ["books"]}}}
    found = asked(two, "my.n >= {3, 10, 100}", keep=["my.n >= 5"], workers=workers, **others)
    assert found.sweeps[0].instead == "$.mix.keep[0]"
    for row in found.grid():
        total = two.preview(keep=[f"my.n >= {row.thresholds[0]:.0f}"], **others).ledger.total().out
        assert (row.documents, row.bytes) == (total.documents, total.bytes)


def test_two_sweeps_are_a_grid(two: Any) -> None:
    grid = asked(two, "my.n >= {3, 10}", "drop: my.x > {0.5, 1.5}").grid()
    assert [row.thresholds for row in grid] == [(3, 0.5), (3, 1.5), (10, 0.5), (10, 1.5)]
    assert [row.documents for row in grid] == [6, 26, 0, 12]


def test_a_moved_threshold_reads_nothing(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(two, "my.n >= {3}")
    for path in two.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    assert [found.retained(at).documents for at in (0, 18.5, 19, 20)] == [40, 2, 2, 0]


def test_bytes_are_those_after_edits(corpus: Any) -> None:
    corpus.write_texts("web", ["secret", "word"])
    corpus.tag("web", n=[1, 2], spans=[[(0, 5, 1.0)], []])
    found = asked(corpus, "my.n >= {1, 2}", spans=[{"attribute": "my.spans", "replace": ""}])
    assert [row.bytes for row in found.grid()] == [5, 4]


@pytest.mark.parametrize(("missing", "documents"), [("keep", [2, 1]), ("drop", [1, 0])])
def test_what_is_missing_passes_or_not_as_the_mix_says(corpus: Any, missing: str, documents: list[int]) -> None:
    corpus.write_texts("web", ["a", "b"])
    corpus.tag("web", n=[1, None])
    assert [row.documents for row in asked(corpus, "my.n >= {1, 2}", missing=missing).grid()] == documents


def test_what_is_missing_is_an_error_by_default(corpus: Any) -> None:
    corpus.write_texts("web", ["a", "b"])
    corpus.tag("web", n=[1, None])
    with pytest.raises(DataError, match=r":2: the rule .* is NULL for document 'web-1' \(my.n is missing\)"):
        asked(corpus, "my.n >= {1}")


def test_fields_of_the_records_can_be_swept(corpus: Any) -> None:
    corpus.write("web", [{"id": str(i), "text": "t", "score": i} for i in range(5)])
    found = asked(corpus, "TRY_CAST(document.score AS DOUBLE) > {1, 3}")
    assert [row.documents for row in found.grid()] == [3, 1]


def test_an_expression_that_fails_is_an_error_at_the_file(corpus: Any) -> None:
    corpus.write_texts("web", ["a"])
    corpus.tag("web", label=["x"])
    with pytest.raises(DataError, match=r"a.jsonl:1: what is compared with thresholds cannot be evaluated: Could not"):
        asked(corpus, "CAST(my.label AS INTEGER) > {1}")


# --- labels and tokens -----------------------------------------------------------------------------------------------


def test_labels_of_no_document_are_said(two: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,keep\nbooks-1,true\nboks-2,true\nweb-99,false\n")
    found = asked(two, "my.n >= {0}", labels=str(path))
    assert found.unknown_labels == 2
    assert found.table(found.grid()).title.endswith("; 2 labelled ids are of no document")
    path.write_text("id,keep\nbooks-1,true\n")
    assert "labelled" not in (again := asked(two, "my.n >= {0}", labels=str(path))).table(again.grid()).title


def test_labels_give_precision_and_recall(two: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,keep\nweb-2,true\nweb-12,true\nweb-13,false\nweb-19,true\nbooks-1,true\nelsewhere,true\n")
    found = asked(two, "my.n >= {0, 10, 19, 30}", labels=str(path), drop=["document.id = 'books-1'"])
    assert [(row.precision, row.recall) for row in found.grid()] == [
        (0.75, 0.75),
        (2 / 3, 0.5),
        (1.0, 0.25),
        (None, 0.0),
    ]


@pytest.fixture
def counted(two: Any) -> Any:
    outputs = {"tokens": DocInt("tokens", unit="tokens")}
    for source in ("books", "web"):
        path = two.folder / source / "attributes" / "tokens" / "a.jsonl.parquet"
        with AttributeWriter(str(path), outputs, tagger="tokens") as writer:
            writer.write([f"{source}-{i}" for i in range(20)], {"tokens": pa.array([10] * 20)})
    return two


def shown(corpus: Any, target: str | None, *sweeps: str, **config: Any) -> list[Any]:
    made = convert(config, MixConfig, path="$.mix")
    return list(answers(corpus.dataset(), made, sweeps=sweeps, target_tokens=target, options=RunOptions(workers=1)))


def test_a_target_finds_the_strictest_threshold(counted: Any) -> None:
    table, found = shown(counted, "0.1k", "my.n >= {5}")
    assert table.headers == ["keep: my.n >=", "documents", "bytes", "tokens"]
    assert table.rows == [["5", 30, 2 * 2 * sum(range(6, 21)), 300]]
    assert found.title == "the strictest threshold that leaves 100 tokens"
    assert (found.rows[0][0], found.rows[0][3]) == ("15", 100)


@pytest.mark.parametrize(
    ("target", "sweeps", "why"),
    [
        ("1M", ["my.n >= {5}"], "^--target-tokens: no threshold leaves 1,000,000 tokens: the other rules leave 400\n"),
        ("10", ["my.n >= {5}", "my.x > {1}"], "^--target-tokens: needs one sweep to look for a threshold of"),
        ("some", ["my.n >= {5}"], "`--target-tokens` is 'some', expected a whole number"),
    ],
)
def test_a_target_that_cannot_be_met_is_told(counted: Any, target: str, sweeps: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        shown(counted, target, *sweeps)


def test_a_target_needs_a_count_of_tokens(two: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--target-tokens: no attribute has the number of tokens"):
        shown(two, "10", "my.n >= {5}")


# --- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        ("my.n>={1,2}", {}, ("keep: my.n >=", "")),
        ("MY.N >= {1}", {"keep": ["a.b", "my.n >= 3"]}, ("keep: MY.N >=", "$.mix.keep[1]")),
        ("my.n > {1}", {"keep": ["my.n >= 3"]}, ("keep: my.n >", "")),
        ("my.n > {1}", {"drop": ["my.n > 3"]}, ("drop: my.n >", "$.mix.drop[0]")),
        ("keep: my.n > {1}", {"drop": ["my.n > 3"]}, ("keep: my.n >", "")),
        ("my.n > {1}", {"rules": {"g": {"keep": {"x": "my.n > 3"}}}}, ("keep: my.n >", "$.mix.rules.g.keep.x")),
        ("my.n > {1}", {"rules": {"g": {"keep": ["my.n > 3"], "sources": ["web"]}}}, ("keep: my.n >", "")),
        ("my.n > {1}", {"keep": ["my.n > my.m", "my.n > 3 AND a.b"]}, ("keep: my.n >", "")),
    ],
)
def test_a_sweep_stands_in_the_place_of_the_same_comparison(text: str, config: Any, expected: tuple[str, str]) -> None:
    sweep = read_sweep(text, convert(config, MixConfig, path="$.mix"))
    assert (sweep.label, sweep.instead) == expected


@pytest.mark.parametrize(
    "text", ["my.n > 5", "my.n > {}", "my.n > {a}", "my.n = {1}", "> {1}", "my. > {1}", "my.n > {nan}"]
)
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--what-if: `.*` is no comparison with thresholds in braces"):
        read_sweep(text, MixConfig())


def test_a_sweep_names_the_rules_about_the_same_attribute_that_stay(two: Any) -> None:
    found = asked(two, "my.n >= {3}", keep=["my.n BETWEEN 2 AND 9", "my.x < 1"])
    said = "what if: `keep: my.n >=` one more rule; `keep: my.n BETWEEN 2 AND 9` stays"
    assert found.table(found.grid()).title == said
    found = asked(two, "g: drop: my.n > {30}", rules={"g": {"drop": ["my.n > 40"]}})
    assert found.table(found.grid()).title == "what if: `drop: my.n >` in the place of $.mix.rules.g.drop[0]"


def test_one_comparison_makes_no_grid(two: Any) -> None:
    with pytest.raises(ConfigError, match=r"makes the comparison `keep: my.n >=` twice\n  give all of its"):
        asked(two, "my.n >= {3}", "my.n >= {10}")


def test_errors_of_a_sweep_are_those_of_rules(two: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--what-if: no attribute 'my.m'"):
        asked(two, "my.m > {1}")
    with pytest.raises(ConfigError, match=r"^--what-if: `\(my.flag\) > 1.0`: .*|^--what-if"):
        asked(two, "document.source > {1}")
    with pytest.raises(ConfigError, match=r"^--what-if: has 3 sweeps\n  give one, or two for a grid"):
        asked(two, "my.n > {1}", "my.n < {1}", "my.x > {1}")


# --- against readable twins ------------------------------------------------------------------------------------------

VALUES = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1, 1))


@st.composite
def measured(draw: st.DrawFn, n_sweeps: int) -> WhatIf:
    documents = draw(st.lists(st.tuples(*[VALUES] * n_sweeps), max_size=12))
    sweeps = [
        Sweep(
            kind=draw(st.sampled_from(["keep", "drop"])),
            expression="a.b",
            operator=draw(st.sampled_from(sorted(OPERATORS))),
            thresholds=tuple(draw(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=3))),
        )
        for _ in range(n_sweeps)
    ]
    values = [[math.nan if value is None else value for value in of] for of in zip(*documents, strict=True)]
    sizes = np.arange(1, len(documents) + 1)
    return WhatIf(
        sweeps=tuple(sweeps),
        missing=draw(st.sampled_from(["keep", "drop"])),
        values=np.array(values or [[]] * n_sweeps, dtype=np.float64),
        n_bytes=sizes,
        tokens=sizes * 10,
    )


def passes(found: WhatIf, sweep: int, document: int, threshold: float) -> bool:
    value, of = found.values[sweep, document], found.sweeps[sweep]
    if math.isnan(value):
        return found.missing == "keep"
    return OPERATORS[of.operator](value, threshold) == (of.kind == "keep")


@pytest.mark.property
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a loaded machine
@given(measured(2))
def test_a_grid_counts_the_documents_that_pass_both(found: WhatIf) -> None:
    pairs = list(itertools.product(*(sweep.thresholds for sweep in found.sweeps)))
    expected = [
        [i for i in range(len(found.n_bytes)) if all(passes(found, of, i, at) for of, at in enumerate(pair))]
        for pair in pairs
    ]
    assert [(row.thresholds, row.documents, row.bytes) for row in found.grid()] == [
        (pair, len(left), sum(i + 1 for i in left)) for pair, left in zip(pairs, expected, strict=True)
    ]
    assert [found.retained(*pair) for pair in pairs] == found.grid()


@pytest.mark.property
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(measured(1), st.integers(1, 900))
def test_no_stricter_threshold_leaves_as_many_tokens(found: WhatIf, target: int) -> None:
    assert found.tokens is not None
    at = found.threshold_for(target)
    levels = sorted({value for value in found.values[0].tolist() if not math.isnan(value)})
    tried = [0.0, *levels, *(math.nextafter(level, way) for level in levels for way in (-math.inf, math.inf))]
    amounts = [found.retained(level).tokens or 0 for level in tried]
    enough = [amount for amount in amounts if amount >= target]
    if at is None:
        assert not enough
    else:
        assert at.tokens == min(enough)
