"""The settings of other tools. Run: `pytest tests/dedupe/test_dialects.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from dolma.config import DedupeConfig
from dolma.data.batch import TextBatch
from dolma.dedupers.dedupe import METHODS
from dolma.dedupers.dialects import DIALECTS
from dolma.dedupers.lsh import Bands
from dolma.dedupers.minhash import MinHash
from dolma.kernels.reference.normalize import normalized
from dolma.kernels.reference.shingles import character_shingles, word_shingles
from dolma.keys import keys_of

if TYPE_CHECKING:
    from .conftest import Corpus

WORDS = "one two three four five six seven eight nine ten"


def method(**given: Any) -> MinHash:
    found = METHODS["minhash"](DedupeConfig(method="minhash", **given))
    assert isinstance(found, MinHash)
    return found


def test_each_is_a_word_of_the_settings() -> None:
    key = next(one for one in keys_of(DedupeConfig) if one.name == "dialect")
    assert get_args(key.types[0]) == tuple(DIALECTS)


@pytest.mark.parametrize(
    ("dialect", "unit", "n", "bands", "rows", "threshold", "found"),
    [
        ("datatrove", "word", 5, 14, 8, 0.75, 0.772),
        ("text-dedup", "word", 5, 25, 10, 0.7, 0.511),
        ("nemo", "character", 24, 20, 13, 0.8, 0.677),
        ("dolma3", "word", 5, 26, 11, 0.8, 0.903),
    ],
)
def test_their_numbers(dialect: str, unit: str, n: int, bands: int, rows: int, threshold: float, found: float) -> None:
    made = method(dialect=dialect)
    likeness = made.likeness
    assert (likeness.unit, likeness.n, likeness.bands, made.threshold) == (
        unit,
        n,
        Bands(n=bands, rows=rows),
        threshold,
    )
    assert not made.verify
    assert round(likeness.bands.found(threshold), 3) == found


def test_what_is_given_is_not_replaced() -> None:
    made = method(dialect="nemo", word_ngrams=3, bands=4, rows=2, threshold=0.5, verify=True, min_words=7)
    assert (made.likeness.unit, made.likeness.n, made.likeness.bands) == ("word", 3, Bands(n=4, rows=2))
    assert (made.threshold, made.verify, made.likeness.min_words) == (0.5, True, 7)
    assert method(dialect="datatrove", recall=0.99).likeness.bands != DIALECTS["datatrove"].bands


def test_shingles_are_of_the_text_as_each_evens_it_out() -> None:
    text = "Caf\u00e9, 12.5 % OFF\u2014the  First\nDAY of all"
    batch = TextBatch.of([text])
    even = normalized(text, DIALECTS["datatrove"].normalize)
    assert even == "cafe 0 offthe first day of all"
    found = {name: method(dialect=name).likeness.shingles(batch).hashes.tolist() for name in DIALECTS}
    assert found == {
        "datatrove": word_shingles(even, 5),
        "text-dedup": word_shingles(text, 5),
        "nemo": character_shingles(text, 24, folded=False),
        "dolma3": word_shingles(text, 5),
    }


@pytest.mark.parametrize(
    ("dialect", "duplicates"),
    [
        ("datatrove", [False, True, False, False]),
        ("text-dedup", [False, True, False, False]),
        ("nemo", [False, False, False, True]),
        ("dolma3", [False, True, False, True]),
    ],
)
def test_case_counts_for_characters_as_they_are_and_short_texts_have_no_shingle(
    corpus: Corpus, dialect: str, duplicates: list[bool]
) -> None:
    corpus.write_texts("a.jsonl", [WORDS, WORDS.upper(), "one two", "one two"])
    corpus.dedupe(method="minhash", dialect=dialect)
    assert [row["duplicate"] for row in corpus.rows()] == duplicates
