"""Mixes in tokens, against what `dolma tokenize` writes. Run: pytest tests/mixers/test_token_counts.py"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dolma
from dolma.config import MixConfig, TokenizeConfig, convert
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError
from dolma.mixers.mix import mix
from dolma.mixers.token_counts import NOT_COUNTED, Calibrating, Calibration, calibrated
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize

TOKENIZER = str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")
TOKENIZE = TokenizeConfig(tokenizer=TOKENIZER)


@pytest.fixture
def two(corpus: Any) -> Any:
    """Two sources of texts of many lengths, of which every third has a word that is edited."""
    for source, words in (("web", "some words of the web, and ünï "), ("forum", "you said: ")):
        texts = [f"{words * (1 + i * i % 23)}secret{i}" for i in range(60)]
        corpus.write_texts(source, texts)
        spans = [[(len(text) - 8, len(text), 1.0)] if i % 3 == 0 else [] for i, text in enumerate(texts)]
        corpus.tag(source, n=list(range(60)), spans=spans)
    return corpus


def mixed(corpus: Any, *, encoding: TokenizeConfig | None = TOKENIZE, workers: int = 1, **config: Any) -> Any:
    """A mix in tokens, the text of whose spans becomes `<gone away>`."""
    settings = {"spans": [{"attribute": "my.spans", "replace": "<gone away>"}], "unit": "tokens", **config}
    return mix(
        corpus.dataset(),
        convert(settings, MixConfig, path="$.mix"),
        output=str(corpus.out),
        options=RunOptions(workers=workers, overwrite=True),
        tokenize=encoding,
    )


def encoded(corpus: Any, config: TokenizeConfig = TOKENIZE) -> dict[str, list[int]]:
    """The tokens of each document in the shards made of the mix, by source."""
    dataset, out = Dataset(documents=(str(corpus.out / "documents" / "*" / "*"),)), corpus.base / "tokens"
    tokenize(dataset, config, output=str(out), options=RunOptions(workers=1, overwrite=True))
    found: dict[str, list[int]] = {}
    for path in out.glob("part-*.csv.gz"):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            for start, end, _, file, _ in csv.reader(lines):
                found.setdefault(file.split("/")[0], []).append(int(end) - int(start))
    return found


SHARES = {"web": {"share": 0.6}, "forum": {"share": 0.4, "max_repeat": 2}}


@pytest.mark.parametrize(
    "settings", [{}, {"bos": "<|endoftext|>"}, {"strip": True}, {"allow_special_tokens": True}], ids=str
)
def test_asked_and_achieved_agree_with_the_shards(two: Any, settings: dict[str, Any]) -> None:
    config = TokenizeConfig(tokenizer=TOKENIZER, **settings)
    mixture = mixed(two, encoding=config, sources=SHARES, total="4k").details.mixture
    found = encoded(two, config)
    assert (mixture.unit, mixture.asked, mixture.counted) == ("tokens", 4000, "the tokenizer")
    assert [(row.source, row.asked) for row in mixture.sources] == [("forum", 1600), ("web", 2400)]
    for row in mixture.sources:
        tokens = found[row.source]
        assert row.achieved == row.tokens == sum(tokens)
        assert row.documents == len(tokens)
        assert abs(row.achieved - row.asked) <= max(tokens)
        assert row.error == 0


def test_the_mixture_travels_with_the_documents(two: Any) -> None:
    report = mixed(two, sources=SHARES, total="4k")
    written = json.loads((two.out / "mixture.json").read_bytes())
    assert [row["achieved"] for row in written["sources"]] == [row.achieved for row in report.details.mixture.sources]
    assert "mixture.json" in (two.out / "manifest.json").read_text()
    assert not dolma.verify(str(two.out)).problems


def test_decisions_have_the_tokens_of_the_text_as_written(two: Any) -> None:
    mixed(two, sources={"web": {"repeat": 1}}, keep=["my.n > 2"])
    rows = two.rows(of="decisions")
    assert all((row["tokens"] is None) == (not row["kept"]) for row in rows)
    counted = Counter()
    for row in rows:
        counted[row["source"]] += (row["tokens"] or 0) * row["copies"]
    assert counted == {source: sum(tokens) for source, tokens in encoded(two).items()}


def test_a_recipe_counts_by_its_own_tokenizer(two: Any) -> None:
    recipe = {
        "documents": [str(two.folder / "*" / "documents" / "*")],
        "output": str(two.base / "run"),
        "mix": {"unit": "tokens", "sources": SHARES, "total": "3k"},
        "tokenize": {"tokenizer": TOKENIZER},
    }
    report = dolma.run(recipe)
    mixture = report["mix"][0].details.mixture
    tokens = report["tokenize"][0].ledger
    assert mixture.achieved == sum(account.out.tokens for account in tokens.accounts.values())


def test_a_file_of_its_own_counts_too(two: Any) -> None:
    one = mixed(two, sources=SHARES, total="4k").details.mixture
    other = mixed(two, encoding=None, tokenizer=TOKENIZER, sources=SHARES, total="4k").details.mixture
    assert one == other


def test_what_a_source_cannot_supply_is_said_in_tokens(two: Any) -> None:
    with pytest.raises(ConfigError) as found:
        mixed(two, sources=SHARES, total="1M")
    assert "0.4 of 1,000,000 tokens is 400,000 tokens, but 'forum' has 60 documents of" in str(found.value)
    assert " tokens at `max_repeat: 2`\n" in str(found.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_leaves_no_trace(two: Any, workers: int) -> None:
    mixed(two, sources=SHARES, total="4k")
    first = two.files()
    mixed(two, sources=SHARES, total="4k", workers=workers)
    assert two.files() == first


def test_a_larger_budget_keeps_what_a_smaller_one_had(two: Any) -> None:
    had: set[str] = set()
    for total in ("1k", "2k", "4k", "6k"):
        mixed(two, sources=SHARES, total=total)
        ids = set(two.ids())
        assert had < ids
        had = ids


# --- attributes and estimates ----------------------------------------------------------------------------------------


def counted_by_attribute(corpus: Any) -> None:
    """An attribute `my.n` that says of each document three tokens for each of its words."""
    for source in ("web", "forum"):
        lines = (corpus.folder / source / "documents" / "a.jsonl").read_bytes().splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        spans = [[(len(text) - 8, len(text), 1.0)] if i % 3 == 0 else [] for i, text in enumerate(texts)]
        corpus.tag(source, n=[3 * len(text.split()) for text in texts], spans=spans)


def test_an_attribute_counts_documents_without_edits_alone(two: Any) -> None:
    counted_by_attribute(two)
    mixed(two, token_count="my.n", sources={"web": {"repeat": 1}})
    by_tokenizer, words = encoded(two), Counter()
    for row in two.rows(of="decisions"):
        edited = row["edits"] > 0
        assert (row["tokens"] % 3 == 1) or edited  # three to a word and the end of the text
        words[edited] += 1
    assert words == {True: 40, False: 80}
    edited = [row["tokens"] for row in two.rows(of="decisions") if row["edits"]]
    assert not Counter(edited) - Counter(by_tokenizer["web"] + by_tokenizer["forum"])


def test_without_a_tokenizer_edited_documents_are_estimated_and_the_error_is_told(two: Any) -> None:
    counted_by_attribute(two)
    report = mixed(two, encoding=None, token_count="my.n", sources=SHARES, total="2k")
    assert {row["tokens"] is None for row in two.rows(of="decisions") if row["edits"]} == {True}
    assert all(0 < row.error < 0.2 for row in report.details.mixture.sources)
    assert any("tokens are an estimate, to within" in warning for warning in report.warnings)
    assert all(abs(row.achieved - row.asked) < 150 for row in report.details.mixture.sources)


def test_a_sample_is_counted_and_the_others_are_estimated_within_the_error(two: Any) -> None:
    exact = mixed(two, sources=SHARES, total="3k").details.mixture
    found = mixed(two, sources=SHARES, total="3k", count_share=0.3).details.mixture
    assert found.counted == "the tokenizer, 0.3 of all documents"
    n_counted = sum(row["tokens"] is not None for row in two.rows(of="decisions"))
    assert 20 < n_counted < 55
    for row, true in zip(found.sources, exact.sources, strict=True):
        assert 0 < row.error < 0.2
        assert abs(row.left_tokens - true.left_tokens) <= 4 * row.error * row.left_tokens


def summed(*parts: tuple[np.ndarray, np.ndarray]) -> Calibration:
    """The sums of sizes and tokens of documents of one cell, in batches."""
    calibrating = Calibrating()
    for sizes, tokens in parts:
        calibrating.add(np.zeros(len(sizes), np.int32), np.ones(len(sizes), bool), sizes, tokens)
    return calibrating.of(1)[0]


def test_sums_of_tasks_are_those_of_the_whole() -> None:
    sizes, tokens = np.array([10, 20, 30, 40]), np.array([3, 5, NOT_COUNTED, 11])
    parts = [(sizes[part], tokens[part]) for part in (slice(0, 1), slice(1, 4))]
    whole = summed((sizes, tokens))
    assert whole == summed(*parts) == Calibration.sum(summed(part) for part in parts)
    assert (whole.documents, whole.bytes, whole.tokens, whole.other_bytes) == (3, 70, 19, 30)
    assert whole.rate == 19 / 70


def test_the_error_is_that_of_a_ratio_estimate() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 500, 4000)
    tokens = np.rint(sizes / 4 * rng.normal(1, 0.2, 4000)).astype(np.int64)
    misses = []
    for _ in range(300):
        sums = summed((sizes, np.where(rng.random(4000) < 0.05, tokens, NOT_COUNTED)))
        estimate = sums.tokens + sums.rate * sums.other_bytes
        error = sums.error(sums.rate)
        assert error is not None
        misses.append((estimate - tokens.sum()) / (error * estimate))
    assert 0.85 < math.sqrt(np.mean(np.square(misses))) < 1.15


def test_a_source_without_a_counted_document_takes_the_rate_of_all() -> None:
    a, b = summed((np.array([10, 10]), np.array([2, 4]))), summed((np.array([100]), np.array([NOT_COUNTED])))
    assert calibrated({"a": a, "b": b}) == {"a": 0.3, "b": 0.3}
    assert b.error(0.3) is None
    with pytest.raises(ConfigError, match=r"\$.mix.count_share: none of 1 documents is counted"):
        calibrated({"b": b})


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"\$.mix.unit: is tokens, and nothing says how they are counted\n  give `tokenizer: FILE`"),
        ({"tokenizer": "none.json"}, r"no such file: none.json"),
        ({"token_count": "my.m"}, r"\$.mix.token_count: no attribute 'my.m'"),
        ({"token_count": "my.spans"}, r"\$.mix.token_count: 'my.spans' is spans, expected int\n  these are: my.n"),
        ({"token_count": "document.bytes"}, r"'document.bytes' is of the document itself, expected int"),
        ({"tokenizer": TOKENIZER, "unit": "bytes"}, r"`tokenizer` says how tokens are counted, and `unit` is bytes"),
        ({"tokenizer": TOKENIZER, "count_share": 0}, r"`count_share` is 0.*, expected above 0, at most 1"),
    ],
)
def test_tokens_that_cannot_be_counted_are_refused(two: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixed(two, encoding=None, sources=SHARES, **settings)
    assert not two.out.exists()
