"""What `dolma dedupe --explain` says of each method.

Run: `pytest tests/dedupe/test_explain.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dolma.cli.main import dolma
from dolma.config import DedupeConfig
from dolma.dedupers.bloom_filter import NAME, shape_for
from dolma.dedupers.dedupe import METHODS
from dolma.dedupers.explain import explain

ITEMS = Path(__file__).parents[2] / "data/sample/tasks/fables.jsonl"


def explained(**config: Any) -> tuple[str, dict[str, str]]:
    """The title, and what is said of each setting."""
    (table,) = explain(DedupeConfig(**config))
    return table.title, {row[0]: row[1] for row in table.rows}


def test_the_curve_is_printed() -> None:
    ran = CliRunner().invoke(dolma, ["dedupe", "--method", "minhash", "--bands", "14", "--rows", "8", "--explain"])
    assert ran.output.startswith(
        "dedupe: 14 bands of 8 rows find 92.4% of pairs at the threshold 0.8; shingles are of 5"
    )
    assert "0.80   92.35%" in ran.output


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_explained(method: str) -> None:
    own = {
        "windows": {"by": "sentences"},
        "decontaminate": {"items": [str(ITEMS)]},
        "semantic": {"by": "embedding.vector"},
    }
    title, rows = explained(method=method, name="copies", **own.get(method, {}))
    assert title.startswith("copies: ")
    assert rows


def test_exact() -> None:
    title, rows = explained(by="$.metadata.url", normalize=["url"], keep="max:date", priority=["wiki"], min_words=3)
    assert title == "dedupe: documents whose field `metadata.url` is equal"
    assert (rows["normalized by"], rows["left out"]) == ("url", "blank ones, those of fewer than 3 words")
    assert rows["kept"] == (
        "the one with the greatest `date`, of equal ones the first in corpus order; sources come in this order: wiki"
    )


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("first", "the first in corpus order"),
        ("last", "the last in corpus order"),
        ("shortest", "the shortest, of equal ones the first in corpus order"),
        ("min:a.b", "the one with the least `a.b`, of equal ones the first in corpus order"),
        ("none", "none: each copy is a duplicate"),
    ],
)
def test_which_is_kept(keep: str, said: str) -> None:
    assert explained(keep=keep)[1]["kept"] == said


def test_windows() -> None:
    title, rows = explained(method="windows", by="sentences", min_documents=5, keep="none", skip_empty=False)
    assert title == "dedupe: runs of 3 sentences that are repeated"
    assert rows["counts"] == "what occurs twice and is in documents: 5 or more"
    assert (rows["marked"], rows["left out"]) == ("each occurrence", "none")
    assert explained(method="windows", by="paragraphs", separator="--")[0] == (
        "dedupe: paragraphs, each up to '--', that are repeated"
    )


def test_repeated_text() -> None:
    title, rows = explained(method="substring", min_bytes=500, snap="lines", within_documents=True)
    assert title == "dedupe: text of at least 500 bytes that is repeated"
    assert rows["spans"] == "hold whole lines"
    assert rows["marked"] == "each occurrence but the first; it has an equal one"


def test_a_filter_of_each_size() -> None:
    (table,) = explain(DedupeConfig(method="bloom"))
    sizes = {row[0]: row[1] for row in table.rows}
    assert sizes["1,000,000"] == f"{shape_for(1_000_000, error=1e-5).n_bytes:,}"
    assert sizes["100,000,000,000"].endswith("(too large)")


def test_a_filter_of_the_size_that_is_asked_for() -> None:
    config = DedupeConfig(
        method="bloom", by="both", word_ngrams=13, overlap_threshold=0.8, filter_items=5000, false_positive_rate=0.01
    )
    (table,) = explain(config)
    assert table.title == (
        "dedupe: paragraphs with 80% or more of their runs of 13 words known and texts that came before; "
        "left out: blank ones"
    )
    assert [row[0] for row in table.rows] == ["5,000", "10,000", "50,000"]
    assert len({row[1] for row in table.rows}) == 1
    assert float(next(iter(table.rows))[3]) <= 0.01


def test_a_filter_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1", "source": "s", "text": "a b"}\n')
    given = ["dedupe", "--method", "bloom", "--documents", str(tmp_path / "a.jsonl"), "--attributes", str(tmp_path)]
    assert CliRunner().invoke(dolma, [*given, "--workers", "1"]).exit_code == 0
    (table,) = explain(DedupeConfig(method="bloom", reuse=str(tmp_path / "dedupe" / NAME)))
    assert [row[0] for row in table.rows] == ["1", "2", "10"]
