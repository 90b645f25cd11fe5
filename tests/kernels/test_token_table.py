"""Ids from the table are the tokenizer's, whatever it held before. Run: `pytest tests/kernels/test_token_table.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels import token_table
from dolma.kernels.pretokens import CL100K, classes_of, pretoken_ends, with_room
from dolma.kernels.reference import token_table as reference
from dolma.kernels.token_table import Cutting, Segments, TokenTable, framed

CUTTING = Cutting(form=CL100K, digits=3, classes=classes_of(17))


def ids_of_one(pretoken: str) -> list[int]:
    """Some ids: none, one, two or many."""
    encoded = pretoken.encode()
    return [
        sum(encoded) * 31 + i for i in range((len(encoded) + encoded[0]) % (5 if len(encoded) < 9 else len(encoded)))
    ]


def answering(asked: list[str]) -> Callable[..., Any]:
    """An `answer` that remembers what it was asked for."""

    def answer(joined: Any, bounds: Any) -> tuple[Any, Any]:
        words = [joined[start:end].tobytes().decode() for start, end in itertools.pairwise(bounds)]
        asked.extend(words)
        each = [ids_of_one(word) for word in words]
        return np.array([id for ids in each for id in ids], np.uint32), np.array([len(ids) for ids in each])

    return answer


def ids_of(table: TokenTable, texts: Sequence[str]) -> list[list[int]]:
    batch = TextBatch.of(texts)
    segments = Segments(
        text=with_room(batch.utf8),
        starts=batch.offsets[:-1],
        ends=batch.offsets[1:],
        tokens=np.full(len(texts), -1),
    )
    ids, counts = table.ids_of(segments, CUTTING)
    assert counts.sum() == len(ids)
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])] if texts else []


def expected(texts: Sequence[str]) -> list[list[int]]:
    found = []
    for text in texts:
        batch = TextBatch.of([text])
        ends = pretoken_ends(batch.utf8, batch.offsets, form=CL100K, digits=3, classes=classes_of(17)).tolist()
        words = [batch.utf8[start:end].tobytes().decode() for start, end in itertools.pairwise([0, *ends])]
        found.append(reference.ids_of(words, ids_of_one))
    return found


texts = st.lists(
    st.lists(
        st.sampled_from(
            [" the", "a", " internationalization", "日本語" * 9, "x" * 239, "y" * 240, "z" * 241, " 1", "\n"]
        )
        | st.text("abc 'é", max_size=20)
        | st.characters(exclude_categories=["Cs"]),
        max_size=30,
    ).map("".join),
    max_size=5,
)


@pytest.mark.property
@pytest.mark.parametrize("slot_bits", [4, 8, 20])
def test_ids_are_those_of_each_pretoken_by_itself(slot_bits: int) -> None:
    table = TokenTable(answering([]), slot_bits=slot_bits)

    @settings(max_examples=150, deadline=None)
    @given(texts)
    def property_(documents: list[str]) -> None:
        assert ids_of(table, documents) == expected(documents)

    property_()


def test_each_pretoken_is_asked_for_once() -> None:
    asked: list[str] = []
    table = TokenTable(answering(asked))
    for _ in range(2):
        ids_of(table, ["to be or not to be", " to be" + " longer than fifteen bytes: incomprehensibilities" * 2])
    assert sorted(asked) == sorted(set(asked))


def test_long_pretokens_with_equal_hashes_are_told_apart() -> None:
    table = TokenTable(answering([]))
    one, other = " " + "a" * 30, " " + "b" * 30
    (first,) = ids_of(table, [one])
    # The other's hashes, in the slot of the one: as if they were equal.
    probe = TokenTable(answering([]))
    ids_of(probe, [other])
    at = int(np.flatnonzero(table._slots)[0]) // 4 * 4
    there = int(np.flatnonzero(probe._slots)[0]) // 4 * 4
    table._slots[there : there + 2] = probe._slots[there : there + 2]
    table._slots[there + 2 : there + 4] = table._slots[at + 2 : at + 4]
    assert ids_of(table, [one, other]) == [first, expected([other])[0]]


def test_a_full_table_is_emptied() -> None:
    table = TokenTable(answering([]), slot_bits=6)
    words = [f" {word:x}" for word in range(5000, 5400)]
    for _ in range(3):
        assert ids_of(table, words) == expected(words)
        assert np.count_nonzero(table._slots[1::4]) <= 64


def test_after_a_failure_ids_are_those_of_the_tokenizer() -> None:
    answer, failures = answering([]), ["no answer"]

    def fails_once(joined: Any, bounds: Any) -> tuple[Any, Any]:
        if failures:
            raise ValueError(failures.pop())
        return answer(joined, bounds)

    table = TokenTable(fails_once)
    with pytest.raises(ValueError, match="no answer"):
        ids_of(table, ["to be", " or not"])
    assert ids_of(table, [" not", "to be"]) == expected([" not", "to be"])


def test_pretokens_with_more_ids_than_bytes_come_out_whole() -> None:
    def answer(joined: Any, bounds: Any) -> tuple[Any, Any]:
        sizes = 3 * np.diff(bounds)
        return np.arange(sizes.sum(), dtype=np.uint32), sizes

    table, word = TokenTable(answer), " " + "x" * 199
    for text in (word, word * 5000):
        (ids,) = ids_of(table, [text])
        assert ids == list(range(600)) * (len(text) // 200)


def test_tokens_between_pieces_of_text_stand_in_order() -> None:
    batch = TextBatch.of(["a<x>b"])
    segments = Segments(
        text=with_room(batch.utf8),
        starts=np.array([0, 1, 4]),
        ends=np.array([1, 4, 5]),
        tokens=np.array([-1, 77, -1]),
    )
    ids, counts = TokenTable(answering([])).ids_of(segments, CUTTING)
    assert ids.tolist() == [*ids_of_one("a"), 77, *ids_of_one("b")]
    assert counts.tolist() == [len(ids_of_one("a")), 1, len(ids_of_one("b"))]


def test_more_ids_than_the_buffer_holds_come_out_whole() -> None:
    text = " the cat sat on the mat, 123 times;" * 40_000
    assert len(text) > token_table._IDS
    assert ids_of(TokenTable(answering([])), [text, "a", text]) == expected([text, "a", text])


@pytest.mark.property
@settings(deadline=None)
@given(st.lists(st.lists(st.integers(2, 60000), max_size=4), max_size=6), st.sampled_from([None, 0]))
def test_texts_with_ids_are_framed(each: list[list[int]], bos: int | None) -> None:
    ids, counts = (
        np.array([id for ids in each for id in ids], np.uint32),
        np.array([len(ids) for ids in each], np.int64),
    )
    found, sizes = framed(ids, counts, bos=bos, eos=1, dtype="<u2")
    assert found.dtype == np.dtype("<u2")
    assert found.tolist() == reference.framed(each, bos=bos, eos=1)
    assert sizes.tolist() == [len(reference.framed([ids], bos=bos, eos=1)) for ids in each]
