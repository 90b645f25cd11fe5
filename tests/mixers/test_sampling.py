"""Shares, repeats and which documents they take. Run: pytest tests/mixers/test_sampling.py"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.amounts import share_out
from dolma.config import MixConfig, convert
from dolma.errors import ConfigError
from dolma.mixers.sampling import (
    Candidates,
    Cut,
    Quota,
    Supply,
    Unit,
    check_sources,
    document_keys,
    find_cuts,
    nearest_mixture,
    quotas,
    times_of,
    with_weights,
)


def config(**values: Any) -> MixConfig:
    return convert(values, MixConfig, path="$.mix")


def supply(documents: int, n_bytes: int) -> Supply:
    return Supply(documents=documents, bytes=n_bytes, tokens=n_bytes // 3)


# --- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repeat", "copies", "rest"),
    [(1, 1, 0), (0, 0, 0), (2.5, 2, 5), (0.3, 0, 3), (0.25, 0, 3), (0.24, 0, 2), (3, 3, 0), (1.01, 1, 0)],
)
def test_a_repeat_is_copies_and_a_sample_of_documents(repeat: float, copies: int, rest: int) -> None:
    found = quotas(config(sources={"a": {"repeat": repeat}}), {"a": supply(10, 99)}, seen=["a"])["a"]
    assert (found.copies, found.rest, found.unit) == (copies, rest, "documents")


def test_a_source_that_is_not_mentioned_is_taken_once() -> None:
    found = quotas(config(sources={"a": {"repeat": 2}}), {"a": supply(1, 9), "b": supply(1, 9)}, seen=["a", "b"])
    assert (found["b"].copies, found["b"].rest) == (1, 0)


def test_the_default_total_is_the_largest_without_repetition() -> None:
    made = config(sources={"a": {"share": 0.7}, "b": {"share": 0.2}, "c": {"share": 0.1}})
    found = quotas(made, {"a": supply(10, 1000), "b": supply(10, 1000), "c": supply(10, 10)}, seen="abc")
    assert {source: quota.asked for source, quota in found.items()} == {"a": 70, "b": 20, "c": 10}
    assert (found["c"].copies, found["c"].rest) == (1, 0)


def test_a_max_repeat_lets_a_source_supply_more() -> None:
    made = config(sources={"a": {"share": 0.5}, "b": {"share": 0.5, "max_repeat": 2.5}})
    found = quotas(made, {"a": supply(10, 1000), "b": supply(10, 100)}, seen="ab")
    assert {source: quota.asked for source, quota in found.items()} == {"a": 250, "b": 250}
    assert (found["b"].copies, found["b"].rest) == (2, 50)


@pytest.mark.property
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300)), min_size=1, max_size=5).filter(
        lambda of: any(weight for weight, _ in of)
    ),
    st.none() | st.integers(1, 1000),
)
def test_there_is_enough_for_the_nearest_mixture(of: list[tuple[int, int]], total: int | None) -> None:
    shares = [Fraction(weight, sum(weight for weight, _ in of)) for weight, _ in of]
    most = [has for _, has in of]
    found, size = nearest_mixture(shares, most, total=total)
    assert (size > 0) == any(share and has for share, has in zip(shares, most, strict=True))
    assert total is None or size <= total
    if size:
        assert sum(found) == 1
        assert all(n <= has for n, has in zip(share_out(size, found), most, strict=True))
        enough = total is not None and all(share * total <= has for share, has in zip(shares, most, strict=True))
        assert not enough or [abs(a - b) < 1e-5 for a, b in zip(found, shares, strict=True)] == [True] * len(of)


def test_a_total_is_divided_by_the_largest_remainder() -> None:
    made = config(sources={source: {"share": 1 / 3} for source in "abc"}, total=100)
    found = quotas(made, {source: supply(9, 99) for source in "abc"}, seen="abc")
    assert [quota.asked for quota in found.values()] == [34, 33, 33]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_extreme_shares_of_equal_sources_are_exact(share: float) -> None:
    made = config(sources={"a": {"share": share}, "b": {"share": 1 - share}})
    found = quotas(made, {"a": supply(1000, 10**9), "b": supply(1000, 10**9)}, seen="ab")
    small, large = sorted(quota.asked for quota in found.values())
    assert large == 10**9
    assert small == pytest.approx(10**9 / 999, rel=1e-9)


def test_a_total_can_be_in_documents() -> None:
    made = config(sources={"a": {"share": 0.75}, "b": {"share": 0.25}}, unit="documents", total=8)
    found = quotas(made, {"a": supply(6, 6), "b": supply(100, 6)}, seen="ab")
    assert [(quota.unit, quota.copies, quota.rest) for quota in found.values()] == [
        ("documents", 1, 0),
        ("documents", 0, 2),
    ]


def test_a_share_above_the_supply_is_refused_with_the_numbers() -> None:
    made = config(sources={"a": {"share": 0.7}, "b": {"share": 0.3}}, total="1M")
    with pytest.raises(ConfigError) as found:
        quotas(made, {"a": supply(12, 400_000), "b": supply(10**6, 10**9)}, seen="ab")
    assert str(found.value) == (
        "$.mix.sources.a.share: 0.7 of 1,000,000 bytes is 700,000 bytes, but 'a' has 12 documents of 400,000 bytes "
        "after the rules, 400,000 bytes at `max_repeat: 1`\n"
        "  lower `total` to 571,428, lower the share, or allow repetition: `max_repeat: 1.75`\n"
        "  the nearest mixture that there is: 1,000,000 bytes, with shares a 0.4, b 0.6"
    )


def test_what_the_error_proposes_is_accepted() -> None:
    supplies = {"a": supply(12, 400_000), "b": supply(10**6, 10**9)}
    made = config(sources={"a": {"share": 0.7}, "b": {"share": 0.3}}, total=571_428)
    assert quotas(made, supplies, seen="ab")["a"].asked == 400_000
    made = config(sources={"a": {"share": 0.4}, "b": {"share": 0.6}}, total="1M")
    assert quotas(made, supplies, seen="ab")["a"].asked == 400_000
    made = config(sources={"a": {"share": 0.7, "max_repeat": 1.75}, "b": {"share": 0.3}}, total="1M")
    assert quotas(made, supplies, seen="ab")["a"].copies == 1


def test_a_share_of_a_source_of_which_nothing_is_left_is_refused() -> None:
    made = config(sources={"a": {"share": 0.5}, "b": {"share": 0.5}})
    with pytest.raises(ConfigError, match=r"b.share: is 0.5, but 'b' has 0 documents of 0 bytes after the rules"):
        quotas(made, {"a": supply(1, 1)}, seen="ab")


def test_a_share_of_zero_leaves_the_source_out() -> None:
    made = config(sources={"a": {"share": 1}, "b": {"share": 0}})
    found = quotas(made, {"a": supply(1, 1), "b": supply(1, 1)}, seen="ab")
    assert (found["b"].copies, found["b"].rest) == (0, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": {"a": {"share": 0.5}, "b": {}}}, r"\$.mix.sources.b: has no share, but other sources have"),
        (
            {"sources": {"a": {"share": 0.5}, "b": {"share": 0.4}}},
            r"\$.mix.sources: the shares add up to 0.9, expected 1",
        ),
        ({"sources": {"a": {"repeat": 2}}, "total": 1}, r"\$.mix.total: is the size of a mix with shares"),
        (
            {"sources": {"a": {"share": 1}}, "total": 0},
            r"\$.mix.total: `total` is 0, expected a whole number of at least 1",
        ),
        ({"sources": {"a": {"share": 1, "repeat": 2}}}, r"sources.a: `share` and `repeat` both say how much goes in"),
        ({"sources": {"a": {"max_repeat": 2}}}, r"sources.a: `max_repeat` bounds what fills a share"),
        (
            {"sources": {"a": {"share": 1, "max_repeat": 0.5}}},
            r"sources.a.max_repeat: `max_repeat` is 0.5, expected 1 to",
        ),
    ],
)
def test_shares_that_make_no_sense_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_sources(config(**values))


def test_shares_may_miss_one_by_a_billionth() -> None:
    check_sources(config(sources={"a": {"share": 1 / 3}, "b": {"share": 1 / 3}, "c": {"share": 1 / 3}}))


def test_a_source_that_is_not_in_the_corpus_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\$.mix.sources.boks: no document .*\n  did you mean 'books'\?"):
        quotas(config(sources={"boks": {"repeat": 2}}), {"books": supply(1, 1)}, seen=["books"])


def test_a_source_of_the_corpus_without_a_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source 'b' has no share, .*\n.*`b: \{share: 0\}`"):
        quotas(config(sources={"a": {"share": 1}}), {"a": supply(1, 1), "b": supply(1, 1)}, seen="ab")


# --- shares that follow from sizes, or stand in a file ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "asked"),
    [(1, {"de": 900, "is": 100, "la": 0}), (0.5, {"de": 75, "is": 25, "la": 0}), (0, {"de": 50, "is": 50, "la": 0})],
)
def test_shares_are_in_the_proportions_of_a_power_of_the_sizes(alpha: float, asked: dict[str, int]) -> None:
    made = config(alpha=alpha, total=sum(asked.values()))
    supplies = {"de": supply(9, 900), "is": supply(1, 100), "la": supply(0, 0)}
    assert {source: quota.asked for source, quota in quotas(made, supplies, seen=supplies).items()} == asked


def test_a_given_share_stays_and_the_others_divide_the_rest() -> None:
    made = config(alpha=0.5, sources={"en": {"share": 0.6}, "xx": {"share": 0}}, total=1000)
    supplies = {source: supply(9, n) for source, n in {"en": 9000, "de": 9000, "is": 1000, "xx": 5}.items()}
    found = quotas(made, supplies, seen=supplies)
    assert {source: quota.asked for source, quota in found.items()} == {"de": 300, "en": 600, "is": 100, "xx": 0}


def test_a_repeat_of_the_mix_is_that_of_sources_without_their_own() -> None:
    made = config(alpha=0, max_repeat=3, sources={"is": {"max_repeat": 2}})
    supplies = {"de": supply(9, 900), "is": supply(1, 100), "la": supply(1, 100)}
    assert [quota.asked for quota in quotas(made, supplies, seen=supplies).values()] == [200, 200, 200]


def weights(tmp_path: Path, content: str, **values: Any) -> MixConfig:
    path = tmp_path / "weights.json"
    path.write_text(content)
    return with_weights(config(weights=str(path), **values))


def test_the_weights_of_an_optimiser_are_shares(tmp_path: Path) -> None:
    made = weights(tmp_path, '{"web": 3, "code": 1.0}', sources={"code": {"max_repeat": 4}})
    assert made.sources["web"].share == 0.75
    assert (made.sources["code"].share, made.sources["code"].max_repeat) == (0.25, 4)
    check_sources(made)


@pytest.mark.parametrize(
    ("content", "values", "message"),
    [
        ("[1]", {}, r"\$.mix.weights: .*weights.json has no weights: .*\n  expected one JSON object"),
        ('{"a": "x"}', {}, r"has no weights"),
        ('{"a": -1, "b": 2}', {}, r"expected numbers from 0 on, not all 0"),
        ("{}", {}, r"expected numbers from 0 on, not all 0"),
        ('{"a": 1}', {"sources": {"a": {"share": 1}}}, r"\$.mix.sources.a: has a share, and a weight too"),
        ('{"a": 1}', {"sources": {"b": {}}}, r"\$.mix.sources.b: has no weight in .*\n  say it at one place"),
        ('{"a": 1}', {"alpha": 1}, r"\$.mix.alpha: says the shares, as `weights` does"),
    ],
)
def test_weights_that_make_no_sense_are_refused(
    tmp_path: Path, content: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        weights(tmp_path, content, **values)


def test_a_file_of_weights_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"\$.mix.weights: no such file: none.json\n  give the JSON"):
        with_weights(config(weights="none.json"))


# --- which documents -------------------------------------------------------------------------------------------------


def candidates(sizes: list[list[int]], *, pieces: int = 1, bits: int = 64) -> list[Candidates]:
    """Documents of several sources, spread over pieces; `bits` of each key count."""
    found = []
    for part in range(pieces):
        rows = [(i, line, size) for i, of in enumerate(sizes) for line, size in enumerate(of) if line % pieces == part]
        ids = [f"{i}/{line}" for i, line, _ in rows]
        names = [str(i) for i, _, _ in rows]
        lines = [line for _, line, _ in rows]
        keys = document_keys(ids, names, lines, shard=f"s{part}", seed=1)
        found.append(
            Candidates(
                shard=f"s{part}",
                lines=np.array(lines, np.int64),
                sources=np.array([i for i, _, _ in rows], np.int32),
                n_bytes=np.array([size for _, _, size in rows], np.int64),
                n_tokens=np.array([size // 3 for _, _, size in rows], np.int64),
                keys=keys >> np.uint64(64 - bits) << np.uint64(64 - bits),
            )
        )
    return found


def achieved(wanted: list[Quota], found: list[Candidates], cuts: list[Cut]) -> list[int]:
    totals = []
    for i, quota in enumerate(wanted):
        total = 0
        for piece in found:
            total += int((times_of(piece, cuts) * piece.amounts(quota.unit))[piece.sources == i].sum())
        totals.append(total)
    return totals


@pytest.mark.property
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=40), min_size=1, max_size=3),
    st.fractions(0, 3),
    st.sampled_from(["documents", "bytes", "tokens"]),
    st.sampled_from([2, 8, 64]),
    st.integers(1, 3),
)
def test_each_source_comes_out_within_half_a_document(
    sizes: list[list[int]], factor: Fraction, unit: Unit, bits: int, pieces: int
) -> None:
    counted = {"bytes": lambda size: size, "tokens": lambda size: size // 3, "documents": lambda size: 1}[unit]
    wanted, slacks = [], []
    for i, of in enumerate(sizes):
        amounts = [counted(size) for size in of]
        supply = Supply(documents=len(of), bytes=sum(of), tokens=sum(size // 3 for size in of))
        copies = int(factor) if sum(amounts) else 0
        rest = int((factor - copies) * sum(amounts))
        wanted.append(Quota(source=str(i), supply=supply, unit=unit, copies=copies, rest=rest))
        slacks.append(0 if unit == "documents" else max(amounts) / 2)
    found = candidates(sizes, pieces=pieces, bits=bits)
    cuts = find_cuts(wanted, lambda: iter(found), bin_bits=4)
    for quota, slack, total in zip(wanted, slacks, achieved(wanted, found, cuts), strict=True):
        assert abs(total - quota.asked) <= slack


def taken_one_by_one(quota: Quota, found: list[Candidates]) -> dict[tuple[str, int], int]:
    """The readable twin of `find_cuts` for one source: documents that count, by key, as long as that comes nearer."""
    documents = sorted(
        (key, piece.shard, line, amount)
        for piece in found
        for key, line, amount in zip(
            piece.keys.tolist(), piece.lines.tolist(), piece.amounts(quota.unit).tolist(), strict=True
        )
        if amount
    )
    times = {(shard, line): quota.copies for _, shard, line, _ in documents}
    total = 0
    for _, shard, line, amount in documents if quota.rest else ():
        if abs(total + amount - quota.rest) >= abs(total - quota.rest):
            break
        times[shard, line] += 1
        total += amount
    return times


@pytest.mark.property
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=30),
    st.lists(st.fractions(0, 3), min_size=2, max_size=2).map(sorted),
    st.sampled_from(["documents", "bytes", "tokens"]),
    st.sampled_from([2, 8, 64]),
    st.integers(1, 3),
)
def test_a_larger_amount_keeps_every_copy_and_the_twin_agrees(
    sizes: list[int], factors: list[Fraction], unit: Unit, bits: int, pieces: int
) -> None:
    found = candidates([sizes], pieces=pieces, bits=bits)
    amount = sum(int(piece.amounts(unit).sum()) for piece in found)
    of = Supply(documents=len(sizes), bytes=sum(sizes), tokens=sum(size // 3 for size in sizes))
    had: dict[tuple[str, int], int] = {}
    for factor in factors:
        copies = int(factor) if amount else 0
        quota = Quota(source="0", supply=of, unit=unit, copies=copies, rest=int((factor - copies) * amount))
        (cut,) = find_cuts([quota], lambda: iter(found), bin_bits=4)
        times = {
            (piece.shard, line): n
            for piece in found
            for line, n in zip(piece.lines.tolist(), times_of(piece, [cut]).tolist(), strict=True)
        }
        twin = taken_one_by_one(quota, found)
        assert {key: times[key] for key in twin} == twin
        assert all(times[key] >= n for key, n in had.items())
        had = times


def test_parts_of_a_document_count_together() -> None:
    found = Candidates(
        shard="",
        lines=np.array([1, 1, 1]),
        sources=np.zeros(3, np.int32),
        n_bytes=np.zeros(3, np.int64),
        n_tokens=np.full(3, 100),
        keys=np.full(3, 7, np.uint64),
    )
    quota = Quota(source="a", supply=supply(1, 900), unit="tokens", copies=0, rest=250)
    assert times_of(found, find_cuts([quota], lambda: iter([found]))).tolist() == [1, 1, 1]


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=30), st.integers(1, 12))
def test_how_documents_are_spread_over_pieces_does_not_matter(sizes: list[int], bits: int) -> None:
    rest = sum(sizes) // 3
    quota = Quota(source="0", supply=supply(len(sizes), sum(sizes)), unit="bytes", copies=0, rest=rest)
    (whole,) = candidates([sizes], bits=bits)
    halves = [
        Candidates(
            shard=whole.shard,
            lines=whole.lines[part],
            sources=whole.sources[part],
            n_bytes=whole.n_bytes[part],
            n_tokens=whole.n_tokens[part],
            keys=whole.keys[part],
        )
        for part in (slice(len(sizes) // 2, None), slice(0, len(sizes) // 2))
    ]
    taken = [
        times_of(whole, [cut]).tolist()
        for pieces, bin_bits in (([whole], 3), (halves, 8), (halves[::-1], 5))
        for cut in find_cuts([quota], lambda: iter(pieces), bin_bits=bin_bits)  # noqa: B023 - called at once
    ]
    assert taken[0] == taken[1] == taken[2]


def test_a_larger_sample_holds_the_smaller_one() -> None:
    found = candidates([[7] * 200])

    def taken(n: int) -> set[int]:
        quota = Quota(source="0", supply=supply(200, 1400), unit="documents", copies=0, rest=n)
        (cut,) = find_cuts([quota], lambda: iter(found))
        return set(np.flatnonzero(times_of(found[0], [cut])).tolist())

    assert taken(10) < taken(50) < taken(199)
    assert len(taken(50)) == 50


def test_documents_with_equal_keys_go_by_shard_and_line() -> None:
    cut = Cut(copies=1, key=5, shard="b", line=3)
    keys, lines = np.array([4, 5, 5, 6], np.uint64), np.array([9, 2, 3, 1])
    zeros = np.zeros(4, np.int64)

    def times(shard: str) -> list[int]:
        found = Candidates(
            shard=shard, lines=lines, sources=zeros.astype(np.int32), n_bytes=zeros, n_tokens=zeros, keys=keys
        )
        return times_of(found, [cut]).tolist()

    assert times("b") == [2, 2, 1, 1]
    assert times("a") == [2, 2, 2, 1]
    assert times("c") == [2, 1, 1, 1]


def test_keys_depend_on_seed_source_id_shard_and_line() -> None:
    def key(id: str = "i", source: str = "s", line: int = 1, shard: str = "a", seed: int = 0) -> int:
        return int(document_keys([id], [source], [line], shard=shard, seed=seed)[0])

    found = {key(), key(id="j"), key(source="t"), key(line=2), key(shard="b"), key(seed=1), key(id="i\0a")}
    assert len(found) == 7


@pytest.mark.golden
def test_keys_stay_as_they_are() -> None:
    keys = document_keys(["a", "é"], ["books", "web"], [1, 2], shard="books/0.jsonl", seed=7)
    assert keys.tolist() == [16303875762174214933, 15013309606451494685]


def test_pieces_without_documents_are_fine() -> None:
    def empty() -> Iterator[Candidates]:
        yield Candidates(
            shard="s",
            lines=np.zeros(0, np.int64),
            sources=np.zeros(0, np.int32),
            n_bytes=np.zeros(0, np.int64),
            n_tokens=np.zeros(0, np.int64),
            keys=np.zeros(0, np.uint64),
        )

    quota = Quota(source="0", supply=supply(0, 0), unit="documents", copies=2, rest=0)
    assert find_cuts([quota], empty) == [Cut(copies=2)]
