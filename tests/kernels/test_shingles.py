"""Shingles of words and characters. Run: `pytest tests/kernels/test_shingles.py`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import shingles
from dolma.kernels.reference import hashing
from dolma.kernels.reference import shingles as reference

MIXED = st.text(alphabet="aZé_1 \n.,İΣ漢字かカกำ\u0301\U0001d400-", max_size=40)
LONG = st.lists(st.text(alphabet="abcXYZ_09", min_size=1, max_size=40), max_size=40).map(" ".join)
TEXTS = st.lists(st.one_of(st.text(max_size=40), MIXED, LONG), max_size=4)


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_they_are_those_of_the_twin(texts: list[str], n: int) -> None:
    batch = TextBatch.of(texts)
    for kernel, twin in (
        (shingles.word_shingles, reference.word_shingles),
        (shingles.character_shingles, reference.character_shingles),
    ):
        found = kernel(batch.utf8, batch.offsets, n=n)
        bounds = list(zip(found.index[:-1].tolist(), found.index[1:].tolist(), strict=True))
        assert [found.hashes[start:end].tolist() for start, end in bounds] == [twin(text, n) for text in batch.texts()]


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_characters_as_they_are_are_those_of_the_twin(texts: list[str], n: int) -> None:
    batch = TextBatch.of(texts)
    found = shingles.character_shingles(batch.utf8, batch.offsets, n=n, folded=False)
    bounds = list(zip(found.index[:-1].tolist(), found.index[1:].tolist(), strict=True))
    expected = [reference.character_shingles(text, n, folded=False) for text in batch.texts()]
    assert [found.hashes[start:end].tolist() for start, end in bounds] == expected


@pytest.mark.property
@settings(deadline=None)
@given(TEXTS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_those_of_spans_are_those_of_the_twin(texts: list[str], n: int, least: int, stride: int) -> None:
    batch = TextBatch.of(texts)
    starts, ends = batch.offsets[:-1][::2], batch.offsets[1:][::2]
    found = shingles.span_shingles(batch.utf8, starts, ends, n=n, least=least, stride=stride)
    bounds = list(zip(found.index[:-1].tolist(), found.index[1:].tolist(), strict=True))
    assert [found.hashes[start:end].tolist() for start, end in bounds] == [
        reference.word_shingles(text, n, least=least, stride=stride) for text in batch.texts()[::2]
    ]


def test_every_code_point_is_folded_as_the_twin_folds_it() -> None:
    table, lower = shingles.folded(), shingles.lower_case()
    characters = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    folded = {character: reference.words(character) for character in characters}
    wrong = [
        character
        for character, words in folded.items()
        if [chr(table[ord(character)] & 0xFFFFFF)] != (words or ["\0"])
        or chr(lower[ord(character)]) != reference.lower(character)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, now!", ["don", "t", "stop", "now"]),
        ("東京へ行く", ["東", "京", "へ", "行", "く"]),
        ("iPhone用の", ["iphone", "用", "の"]),
        ("कार्य में", ["कार्य", "में"]),
        ("กำลัง", ["ก", "ำ", "ลั", "ง"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("_x 2nd", ["_x", "2nd"]),
        (" .\n", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    batch = TextBatch.of([text])
    found = shingles.word_shingles(batch.utf8, batch.offsets, n=1)
    assert reference.words(text) == words
    expected = [reference.word_shingles(word, 1)[0] for word in words]
    assert found.hashes.tolist() == expected


def test_a_word_is_hashed_by_its_utf8() -> None:
    (shingle,) = reference.word_shingles("Café", 1)
    assert shingle == reference._hash([hashing.hash64("café".encode())])


def test_sets_are_sorted_and_without_repeats() -> None:
    batch = TextBatch.of(["b a b", "", "a"])
    sets = shingles.word_shingles(batch.utf8, batch.offsets, n=1).sets()
    assert sets.index.tolist() == [0, 2, 2, 3]
    assert (np.diff(sets.hashes[:2]) > 0).all()


def test_a_shingle_of_nothing_is_refused() -> None:
    batch = TextBatch.of(["a"])
    with pytest.raises(ValueError, match="shingles of 0 parts; expected 1 or more"):
        shingles.word_shingles(batch.utf8, batch.offsets, n=0)


@pytest.mark.property
@settings(deadline=None)
@given(st.one_of(st.text(max_size=40), MIXED, LONG))
def test_the_bounds_of_words_are_in_code_points(text: str) -> None:
    (text,) = TextBatch.of([text]).texts()
    utf8 = np.frombuffer(text.encode(), np.uint8)
    expected = reference.words(text)
    hashes = shingles.word_hashes(utf8, np.array([0, len(utf8)])).hashes
    bounds = shingles.word_bounds(utf8, len(hashes)).tolist()
    assert ["".join(map(reference.lower, text[start:end])) for start, end in bounds] == expected
    assert hashes.tolist() == [hashing.hash64(word.encode()) for word in expected]


def test_what_two_documents_have_stays_in_both() -> None:
    found = shingles.Shingles(hashes=np.array([2, 1, 2, 2, 3, 3], np.uint64), index=np.array([0, 0, 3, 5, 6, 6]))
    sets = found.sets()
    assert (sets.hashes.tolist(), sets.index.tolist()) == ([1, 2, 2, 3, 3], [0, 0, 2, 4, 5, 5])


def test_those_of_some_documents_are_taken() -> None:
    found = shingles.Shingles(hashes=np.array([1, 2, 3, 4, 5], np.uint64), index=np.array([0, 2, 2, 3, 5]))
    taken = found.taken(np.array([0, 1, 3]))
    assert (taken.hashes.tolist(), taken.index.tolist()) == ([1, 2, 4, 5], [0, 2, 2, 4])
