"""Attributes as dimensions of a mix. Run: pytest tests/mixers/test_strata.py"""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dolma.config import Curve, MixConfig, StatConfig, TagConfig, convert, make_recipe
from dolma.data.borders import AttributeBorders, Bordered, borders_json, ranks_of
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, DataError
from dolma.mixers.mix import mix, preview
from dolma.mixers.notes import tables
from dolma.mixers.sampling import Supply
from dolma.mixers.strata import Allotment, Axis, Strata, allotment, curve_factors, curve_weights
from dolma.mixers.what_if import what_if
from dolma.runner.options import RunOptions
from dolma.stats.stat import stat
from dolma.taggers.tag import tag
from dolma.verification import verify
from tests.curve_figure import FIGURE, figure

BUCKETS = AttributeBorders(attribute="my.x", buckets=4, of={"": Bordered(count=40, borders=[0.25, 0.5, 0.75])})


def config(**values: Any) -> MixConfig:
    return convert(values, MixConfig, path="$.mix")


def borders(folder: Path, *of: AttributeBorders) -> str:
    path = folder / "borders.json"
    path.write_bytes(borders_json(of or [BUCKETS]))
    return str(path)


@pytest.fixture
def topics(corpus: Any) -> Any:
    """Two sources of 120 documents each; `my.label` is a, b, b, c, ...; `my.x` rises from 0 to 1."""
    for source in ("one", "two"):
        corpus.write_texts(source, [f"{source} " + "y" * (i % 17) for i in range(120)])
        corpus.tag(source, label=["abbc"[i % 4] for i in range(120)], x=[i / 120 for i in range(120)])
    return corpus


def labels(corpus: Any) -> Counter[str]:
    """How many documents of each topic were written, copies too."""
    return Counter("abbc"[(row["line"] - 1) % 4] for row in corpus.rows())


# --- targets ---------------------------------------------------------------------------------------------------------


def test_targets_are_met_whatever_source_documents_are_of(topics: Any) -> None:
    targets = {"a": 0.5, "b": 0.25, "c": 0.25}
    report = topics.mix(strata=[{"attribute": "my.label", "targets": targets}], unit="documents", total=80)
    assert labels(topics) == {"a": 40, "b": 20, "c": 20}
    assert {row.asked for row in report.details.mixture.sources} == {None}
    assert [(row.labels, row.asked, row.achieved) for row in report.details.mixture.strata] == [
        ({"my.label": "a"}, 40, 40),
        ({"my.label": "b"}, 20, 20),
        ({"my.label": "c"}, 20, 20),
    ]


def test_without_a_total_the_mix_is_the_largest_that_targets_allow(topics: Any) -> None:
    targets = {"a": 0.5, "b": 0.25, "c": 0.25}
    topics.mix(strata=[{"attribute": "my.label", "targets": targets}], unit="documents")
    assert labels(topics) == {"a": 60, "b": 30, "c": 30}


def test_shares_of_sources_are_divided_further(topics: Any) -> None:
    report = topics.mix(
        sources={"one": {"share": 0.75}, "two": {"share": 0.25}},
        strata=[{"attribute": "my.label", "targets": {"a": 0.2, "b": 0.8, "c": 0}, "sources": ["one"]}],
        unit="documents",
        total=60,
    )
    mixture = report.details.mixture
    assert [(row.source, row.asked, row.achieved) for row in mixture.sources] == [("one", 45, 45), ("two", 15, 15)]
    assert [(row.source, row.labels["my.label"], row.asked) for row in mixture.strata] == [
        ("one", "a", 9),
        ("one", "b", 36),
        ("one", "c", 0),
    ]
    said = json.loads((topics.out / "mixture.json").read_bytes())
    assert said["strata"][1]["asked_share"] == 0.6
    assert [table.title for table in tables(report.ledger, report.details)][-2:] == ["sources", "strata"]


def test_strata_without_a_target_divide_what_is_left_by_size(topics: Any) -> None:
    topics.mix(strata=[{"attribute": "my.label", "targets": {"a": 0.4}, "alpha": 1}], unit="documents", total=100)
    assert labels(topics) == {"a": 40, "b": 40, "c": 20}
    topics.mix(
        strata=[{"attribute": "my.label", "alpha": 0}], unit="documents", total=100, overwrite=True, output=topics.out
    )
    assert sorted(labels(topics).values()) == [33, 33, 34]


def test_max_repeat_lets_a_stratum_supply_more(topics: Any) -> None:
    targets = {"a": 1, "b": 0, "c": 0}
    topics.mix(strata=[{"attribute": "my.label", "targets": targets}], unit="documents", total=100, max_repeat=2)
    assert labels(topics) == {"a": 100}


def test_a_larger_budget_keeps_what_a_smaller_one_had(topics: Any) -> None:
    strata = [{"attribute": "my.label", "targets": {"a": 0.2, "b": 0.4, "c": 0.4}}]
    topics.mix(strata=strata, unit="bytes", total=600)
    small = {(row["shard"], row["line"]) for row in topics.rows()}
    topics.mix(strata=strata, unit="bytes", total=900, overwrite=True)
    assert small < {(row["shard"], row["line"]) for row in topics.rows()}


def test_held_out_documents_are_no_part_of_the_strata(topics: Any) -> None:
    report = topics.mix(
        strata=[{"attribute": "my.label", "targets": {"a": 0.25, "b": 0.5, "c": 0.25}}],
        holdout={"share": 0.1},
        unit="documents",
    )
    rows = report.details.mixture.strata
    assert sum(row.left_documents for row in rows) == 240 - 24
    held = Counter("abbc"[(row["line"] - 1) % 4] for row in topics.rows(of="decisions") if row["held_out"])
    assert {row.labels["my.label"]: row.left_documents + held[row.labels["my.label"]] for row in rows} == {
        "a": 60,
        "b": 120,
        "c": 60,
    }
    assert verify([str(topics.out)], make_recipe({})).problems == []


def test_buckets_of_numbers_are_strata(topics: Any) -> None:
    strata = [{"attribute": "my.x", "borders": [0.5], "targets": {"2": 0.75, "1": 0.25}}]
    topics.mix(strata=strata, unit="documents", total=40)
    assert Counter(row["line"] > 60 for row in topics.rows()) == {True: 30, False: 10}


def test_a_field_of_the_records_divides_too(topics: Any) -> None:
    topics.mix(
        strata=[{"attribute": "document.source", "targets": {"one": 0.9, "two": 0.1}}], unit="documents", total=50
    )
    assert Counter(row["shard"] for row in topics.rows()) == {"one/a.jsonl": 45, "two/a.jsonl": 5}


@pytest.mark.parametrize("shuffle", [False, True])
def test_any_number_of_workers_writes_the_same_bytes(topics: Any, shuffle: bool) -> None:
    values: dict[str, Any] = {
        "strata": [
            {"attribute": "my.label", "targets": {"a": 0.3, "b": 0.3, "c": 0.4}},
            {"attribute": "my.x", "borders": borders(topics.base), "curve": {"power": 2, "discard": 0.25}},
        ],
        "total": 2000,
        "shuffle": shuffle,
    }
    topics.mix(**values)
    topics.mix(**values, workers=2, output=topics.base / "again")
    assert topics.files() == topics.files(output=topics.base / "again")


def test_a_preview_says_what_the_mix_gives(topics: Any) -> None:
    values: dict[str, Any] = {"strata": [{"attribute": "my.label"}], "total": 500}
    seen, made = topics.preview(**values), topics.mix(**values)
    assert seen.details.mixture == made.details.mixture


def test_other_borders_under_the_same_name_make_the_mix_again(topics: Any) -> None:
    strata = [{"attribute": "my.x", "borders": borders(topics.base), "targets": {"1": 1}, "alpha": 1}]
    topics.mix(strata=strata)
    borders(topics.base, AttributeBorders(attribute="my.x", buckets=2, of={"": Bordered(count=9, borders=[0.1])}))
    topics.mix(strata=strata, overwrite=True)
    assert {row["line"] for row in topics.rows()} <= set(range(1, 14))


def test_what_if_leaves_strata_aside(topics: Any) -> None:
    made = config(strata=[{"attribute": "my.label", "targets": {"a": 1}, "alpha": 1}], total=10)
    found = what_if(topics.dataset(), made, ["my.x >= {0.5}"], options=RunOptions(workers=1))
    assert found.retained(0.5).documents == 120


# --- documents without a value ---------------------------------------------------------------------------------------


@pytest.fixture
def partly(corpus: Any) -> Any:
    corpus.write_texts("one", [f"text {i}" for i in range(10)])
    corpus.tag("one", label=["a", None] * 5, x=[None if i == 3 else float(i) for i in range(10)])
    return corpus


def test_a_document_without_a_value_is_an_error(partly: Any) -> None:
    with pytest.raises(DataError, match=r"a.jsonl:2: the rule `strata: my.label` is NULL for document 'one-1'"):
        partly.mix(strata=[{"attribute": "my.label"}])


def test_a_document_without_a_value_is_dropped_if_asked(partly: Any) -> None:
    report = partly.mix(strata=[{"attribute": "my.label"}], missing="drop")
    assert report.ledger.total().dropped["strata: my.label"].documents == 5


def test_documents_without_a_value_are_a_stratum_if_asked(partly: Any) -> None:
    targets = {"a": 0.25, "missing": 0.75}
    partly.mix(strata=[{"attribute": "my.label", "targets": targets}], missing="keep", unit="documents", total=4)
    assert Counter(row["line"] % 2 for row in partly.rows()) == {0: 3, 1: 1}


def test_a_curve_does_not_place_what_has_no_quality(partly: Any) -> None:
    with pytest.raises(ConfigError, match=r"strata\[0\].curve: .*keeps those without one\n  say `missing: drop`"):
        partly.mix(strata=[{"attribute": "my.x", "borders": borders(partly.base), "curve": {}}], missing="keep")


# --- the curve -------------------------------------------------------------------------------------------------------


def test_good_documents_appear_more_often_and_the_worst_not_at_all(topics: Any) -> None:
    curve = {"power": 1, "discard": 0.5, "max": 4}
    report = topics.mix(
        strata=[{"attribute": "my.x", "borders": borders(topics.base), "curve": curve}], unit="documents"
    )
    assert [row.asked_repeat for row in report.details.mixture.strata] == [0, 0, pytest.approx(4 / 3, abs=0.02), 4]
    times = Counter((row["shard"], row["line"]) for row in topics.rows())
    assert {times[key] for key in times if key[1] > 90} == {4}
    assert {times[key] for key in times if key[1] <= 90} == {1, 2}
    assert min(line for _, line in times) == 61


def test_a_total_scales_the_curve_under_its_cap(topics: Any) -> None:
    strata = [{"attribute": "my.x", "borders": borders(topics.base), "curve": {"discard": 0.5, "max": 4}}]
    report = topics.mix(strata=strata, unit="documents", total=420)
    assert [row.asked for row in report.details.mixture.strata] == [0, 0, 180, 240]
    with pytest.raises(ConfigError) as found:
        topics.mix(strata=strata, unit="documents", total=600, overwrite=True)
    assert str(found.value) == (
        "$.mix.strata[0].curve: asks 600 documents, of which the buckets above `discard: 0.5` have 120, "
        "480 at `max: 4`\n"
        "  lower `total` to 480, raise `max`, or lower `discard`"
    )


def test_each_topic_has_a_curve_of_its_own(topics: Any) -> None:
    report = topics.mix(
        strata=[
            {"attribute": "my.label", "targets": {"a": 0.5, "b": 0.25, "c": 0.25}},
            {"attribute": "my.x", "borders": borders(topics.base), "curve": {"discard": 0.5, "max": 4}},
        ],
        unit="documents",
        total=160,
    )
    repeats = {tuple(row.labels.values()): row.asked_repeat for row in report.details.mixture.strata}
    assert repeats["a", "4"] == 4
    assert repeats["b", "4"] == pytest.approx(1, abs=0.05)
    sums = Counter[str]()
    for row in report.details.mixture.strata:
        sums[row.labels["my.label"]] += row.asked
    assert sums == {"a": 80, "b": 40, "c": 40}


@pytest.mark.property
@settings(deadline=None)
@given(st.integers(2, 30), st.floats(0, 8), st.floats(0, 0.95))
def test_weights_rise_and_are_the_mean_of_the_power(buckets: int, power: float, discard: float) -> None:
    weights = curve_weights(buckets, Curve(power=power, discard=discard))
    assert weights == sorted(weights)
    at = (np.arange(buckets * 1000) + 0.5) / (buckets * 1000)
    values = np.where(at < discard, 0, (np.maximum(at - discard, 0) / (1 - discard)) ** power)
    assert np.allclose(list(map(float, weights)), values.reshape(buckets, 1000).mean(axis=1), atol=2e-3)


def scaled_by_halving(sizes: list[int], weights: list[Fraction], asked: int, cap: float) -> list[float]:
    """The twin of `curve_factors`: the scale is looked for."""
    low, high = 0.0, 1e30
    for _ in range(400):
        scale = (low + high) / 2
        factors = [min(cap, scale * float(weight)) for weight in weights]
        if sum(factor * size for factor, size in zip(factors, sizes, strict=True)) < asked:
            low = scale
        else:
            high = scale
    return [min(cap, high * float(weight)) for weight in weights]


@pytest.mark.property
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9)), min_size=1, max_size=20),
    st.fractions(0, 1),
    st.sampled_from([1, 2, 7]),
)
def test_factors_rise_with_quality_under_the_cap_and_meet_what_is_asked(
    of: list[tuple[int, int]], part: Fraction, cap: int
) -> None:
    sizes, weights = [size for size, _ in of], sorted(Fraction(weight, 9) for _, weight in of)
    most = sum(size * cap for size, weight in zip(sizes, weights, strict=True) if weight)
    asked = int(part * most)
    factors = curve_factors(sizes, weights, asked, Fraction(cap))
    assert factors == sorted(factors)
    assert all(0 <= factor <= cap for factor in factors)
    assert sum(factor * size for factor, size in zip(factors, sizes, strict=True)) == asked
    twin = scaled_by_halving(sizes, weights, asked, cap)
    assert all(abs(a - b) < 1e-6 for a, b, size in zip(factors, twin, sizes, strict=True) if size)


# --- amounts ---------------------------------------------------------------------------------------------------------


def axis(i: int, **values: Any) -> Axis:
    made = config(strata=[{"attribute": f"my.{i}", **values}]).strata[0]
    return Axis(path=f"$.mix.strata[{i}]", config=made, column=("my", str(i)))


def asked(
    config: MixConfig, axes: list[Axis], documents: dict[tuple[str, ...], int], *, source: str = "s"
) -> tuple[Allotment, dict[tuple[str, ...], int]]:
    supplies = {(source, of): Supply(documents=n, bytes=n) for of, n in documents.items()}
    found = allotment(config, Strata(axes=tuple(axes)), supplies, seen=[source])
    return found, {quota.stratum: quota.asked for quota in found.wanted}


def divided_one_by_one(targets: list[dict[str, float]], labels: tuple[str, ...]) -> float:
    """The twin of targets: the share of a stratum is the product of those of its labels."""
    share = 1.0
    for of, label in zip(targets, labels, strict=True):
        share *= of[label] / sum(of.values())
    return share


@pytest.mark.property
@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1), min_size=1, max_size=3),
    st.integers(1, 5000),
    st.data(),
)
def test_amounts_are_products_of_targets_and_add_up(
    weights: list[dict[str, int]], total: int, data: st.DataObject
) -> None:
    assume(all(any(of.values()) for of in weights))
    targets = [{label: n / sum(of.values()) for label, n in of.items()} for of in weights]
    cells: list[tuple[str, ...]] = [()]
    for of in targets:
        cells = [(*cell, label) for cell in cells for label in of]
    documents = {cell: total + data.draw(st.integers(0, 9)) for cell in cells}
    axes = [axis(i, targets=of) for i, of in enumerate(targets)]
    made = config(strata=[{"attribute": "my.0"}], unit="documents", total=total)
    found, amounts = asked(made, axes, documents)
    assert sum(amounts.values()) == total
    assert all(abs(n - total * divided_one_by_one(targets, cell)) <= len(targets) for cell, n in amounts.items())
    assert all(found.wanted[found.of_cell["s", cell]].stratum == cell for cell in cells)


@pytest.mark.property
@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.tuples(st.integers(1, 9), st.integers(1, 500)), min_size=1))
def test_the_largest_mix_takes_all_of_some_stratum_and_never_more_than_there_is(
    of: dict[str, tuple[int, int]],
) -> None:
    whole = sum(weight for weight, _ in of.values())
    made = config(strata=[{"attribute": "my.0"}], unit="documents")
    documents = {(label,): n for label, (_, n) in of.items()}
    targets = {label: weight / whole for label, (weight, _) in of.items()}
    _, amounts = asked(made, [axis(0, targets=targets)], documents)
    assert all(amounts[labels] <= n for labels, n in documents.items())
    assert any(n - amounts[labels] <= whole for labels, n in documents.items())


def test_a_stratum_that_cannot_supply_is_refused_with_the_numbers() -> None:
    made = config(strata=[{"attribute": "my.0"}], unit="documents", total=1000)
    of = axis(0, targets={"a": 0.7, "b": 0.3})
    with pytest.raises(ConfigError) as found:
        asked(made, [of], {("a",): 400, ("b",): 9000})
    assert str(found.value) == (
        "$.mix.strata[0].targets.a: 0.7 of 1,000 documents is 700 documents, but 'a' has 400 documents after the "
        "rules, which give 400 documents at most\n"
        "  lower `total` to 571, lower the target, or allow repetition: `max_repeat: 1.75`\n"
        "  the nearest that there is: 1,000 documents, with targets a 0.4, b 0.6"
    )
    for values in ({"total": 571}, {"total": 1000, "max_repeat": 1.75}):
        asked(config(strata=[{"attribute": "my.0"}], unit="documents", **values), [of], {("a",): 400, ("b",): 9000})
    asked(made, [axis(0, targets={"a": 0.4, "b": 0.6})], {("a",): 400, ("b",): 9000})


def test_a_stratum_of_a_source_is_named_with_it() -> None:
    made = config(strata=[{"attribute": "my.0"}], unit="documents", total=10, sources={"s": {"share": 1}})
    with pytest.raises(ConfigError, match=r"targets.b: 0.5 of 10 documents of 's' is 5 documents, but 'b' has 2 docum"):
        asked(made, [axis(0, targets={"a": 0.5, "b": 0.5})], {("a",): 9, ("b",): 2})


def test_a_target_of_which_there_is_nothing_is_refused() -> None:
    made = config(strata=[{"attribute": "my.0"}], unit="documents")
    with pytest.raises(ConfigError, match=r"scence: is 0.5, but no document is of 'scence' .*\n.*'science'\?"):
        asked(made, [axis(0, targets={"scence": 0.5}, alpha=1)], {("science",): 9, ("art",): 9})


def test_a_stratum_without_a_target_is_refused() -> None:
    made = config(strata=[{"attribute": "my.0"}], unit="documents")
    with pytest.raises(ConfigError, match=r"my.0 'b', 'c' have no target.*\n.*\(`b: 0, c: 0`\).*alpha: 1"):
        asked(made, [axis(0, targets={"a": 1})], {("a",): 9, ("b",): 2, ("c",): 2})


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strata", "more", "message"),
    [
        ([{"attribute": "my.label", "targets": {"a": 0.5}}], {}, r"`targets` add up to 0.5, expected 1\n  `alpha: 1`"),
        ([{"attribute": "my.label", "targets": {"a": 2}}], {}, r"`targets` gives 'a' 2, expected 0 to 1"),
        ([{"attribute": "my.x", "borders": [0.5, 0.5]}], {}, r"`borders` is \[0.5, 0.5\], expected rising numbers"),
        (
            [{"attribute": "my.x", "borders": [0.5], "curve": {}}],
            {},
            r"`curve` needs quantiles\n.*dolma stat --borders",
        ),
        ([{"attribute": "my.x", "borders": "f", "curve": {}, "alpha": 1}], {}, r"leave `targets` and `alpha` out"),
        ([{"attribute": "my.x", "borders": "f", "curve": {"max": 0}}], {}, r"`max` is 0, expected above 0"),
        ([{"attribute": "my.x", "borders": "f", "curve": {"discard": 1}}], {}, r"`discard` is 1, expected 0 to below"),
        ([{"attribute": "my.x", "borders": "f", "curve": {"power": -1}}], {}, r"`power` is -1, expected 0 to 100"),
        (
            [{"attribute": "my.x", "borders": "f", "curve": {}}, {"attribute": "my.label"}],
            {},
            r"has others behind one with a `curve`\n  let that be the last",
        ),
        (
            [{"attribute": "my.label", "sources": ["one"]}],
            {},
            r"sources have no shares\n  give them shares; `alpha: 1`",
        ),
        ([{"attribute": "my.label"}], {"sources": {"one": {"repeat": 2}}}, r"`strata` and `repeat` of a source both"),
        ([{"attribute": "my.labl"}], {}, r"strata\[0\].attribute: no attribute 'my.labl'\n  did you mean 'my.label'\?"),
        ([{"attribute": "my.x"}], {}, r"'my.x' is float, whose values are no strata\n.*dolma stat --borders my.x=20"),
        ([{"attribute": "my.label", "borders": [1]}], {}, r"borders: are of numbers, and 'my.label' is text"),
        ([{"attribute": "my.x", "borders": "none.json"}], {}, r"no such file: none.json\n  write it: `dolma stat"),
        ([{"attribute": "my.x", "borders": [0.5], "targets": {"3": 1}}], {}, r"no bucket '3'\n.*1 \(the lowest\) to 2"),
        ([{"attribute": "my.label", "sources": ["on"]}], {"alpha": 1}, r"strata\[0\].sources\[0\]: no document of the"),
    ],
)
def test_strata_that_make_no_sense_are_refused(topics: Any, strata: list, more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        topics.mix(strata=strata, **more)


def test_a_vector_is_no_stratum(topics: Any) -> None:
    for source in ("one", "two"):
        topics.tag(source, set="other", vector=[[1, 2]] * 120)
    with pytest.raises(ConfigError, match=r"'other.vector' is vector, whose values are no strata"):
        topics.mix(strata=[{"attribute": "other.vector"}])


def test_borders_by_topic_know_the_topics_that_they_are_of(topics: Any) -> None:
    of = AttributeBorders(
        attribute="my.x", buckets=2, by="my.label", of={label: Bordered(count=9, borders=[0.5]) for label in "ab"}
    )
    strata = [{"attribute": "my.x", "borders": borders(topics.base, of)}]
    with pytest.raises(DataError, match=r"no borders of my.x for documents whose my.label is 'c': there are .* a, b\n"):
        topics.mix(strata=strata)
    report = topics.mix(strata=strata, drop=["my.label = 'c'"])
    assert [row.left_documents for row in report.details.mixture.strata] == [90, 90]


def test_sources_that_are_not_divided_need_no_borders(topics: Any) -> None:
    of = AttributeBorders(
        attribute="my.x", buckets=2, by="my.label", of={label: Bordered(count=9, borders=[0.5]) for label in "ab"}
    )
    report = topics.mix(
        sources={"one": {"share": 0.5}, "two": {"share": 0.5}},
        strata=[{"attribute": "my.x", "borders": borders(topics.base, of), "sources": ["one"]}],
        rules={"known": {"drop": ["my.label = 'c'"], "sources": ["one"]}},
        unit="documents",
        total=60,
    )
    assert [(row.source, row.achieved) for row in report.details.mixture.sources] == [("one", 30), ("two", 30)]


# --- a real corpus ---------------------------------------------------------------------------------------------------


def test_quality_strata_of_the_sample_by_the_borders_of_another_run(tmp_path: Path) -> None:
    data = Dataset(documents=("data/sample/*/documents/*.jsonl.gz",), attributes=str(tmp_path / "attributes"))
    one = RunOptions(workers=1, progress=False)
    tag(data, TagConfig(taggers=["length"]), options=one)
    edges = StatConfig(borders=["length.words=5"])
    stat(data, edges, output=str(tmp_path / "stat"), options=one)
    found = json.loads((tmp_path / "stat" / "borders.json").read_bytes())["attributes"][0]
    assert found["of"][""]["count"] == 989
    made = config(
        strata=[
            {
                "attribute": "length.words",
                "borders": str(tmp_path / "stat" / "borders.json"),
                "curve": {"discard": 0.4, "max": 3},
            }
        ],
        unit="documents",
    )
    report = mix(data, made, output=str(tmp_path / "mixed"), options=one)
    rows = report.details.mixture.strata
    assert [abs(row.left_documents - 989 / 5) < 12 for row in rows] == [True] * 5
    assert [row.asked_repeat for row in rows] == sorted(row.asked_repeat for row in rows)
    assert [row.achieved for row in rows] == [row.asked for row in rows]
    assert rows[-1].asked_repeat == 3
    assert preview(data, made, options=one).details.mixture == report.details.mixture


def test_the_figure_is_that_of_the_formula() -> None:
    assert FIGURE.read_text(encoding="utf-8") == figure(), "run `python -m tests.curve_figure`"


def test_ranks_part_documents_evenly() -> None:
    assert np.diff([0, *ranks_of(103, 10), 103]).tolist() == [10, 10, 10, 11, 10, 10, 11, 10, 10, 11]
