from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.tokens.long_documents import CHARACTER, INSIDE, WORD, cut_long, token_starts


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([INSIDE, CHARACTER, WORD]), min_size=1, max_size=40), min_size=1, max_size=6),
    st.integers(1, 15),
)
def test_parts_follow_each_other_and_none_is_too_long(documents: list[list[int]], most: int) -> None:
    ids, counts = np.concatenate(documents), np.array(list(map(len, documents)))
    cuts = cut_long(ids, counts, most=most, starts=np.array([INSIDE, CHARACTER, WORD], np.uint8))
    assert int(cuts.counts.min()) >= 1 and int(cuts.counts.max()) <= most
    for i, size in enumerate(counts.tolist()):
        mine = cuts.document == i
        assert cuts.part[mine].tolist() == list(range(mine.sum())) and set(cuts.parts[mine]) == {mine.sum()}
        assert cuts.offsets[mine].tolist() == [0, *np.cumsum(cuts.counts[mine])[:-1].tolist()]
        assert int(cuts.counts[mine].sum()) == size
        assert size > most or mine.sum() == 1


@pytest.mark.parametrize(
    ("begun", "sizes"),
    [
        ([2, 1, 2, 1, 1, 1, 1, 1], [4, 4]),  # the word is in the first half
        ([2, 1, 1, 2, 1, 1, 1, 1], [3, 3, 2]),
        ([0, 0, 0, 1, 0, 0, 0, 0], [3, 4, 1]),
        ([0, 0, 0, 0, 0, 0, 0, 0], [4, 4]),
        ([1, 1, 1, 1, 2], [3, 2]),  # the end token is in no part by itself
    ],
)
def test_a_part_ends_before_the_last_word_of_its_second_half(begun: list[int], sizes: list[int]) -> None:
    cuts = cut_long(np.array(begun), np.array([len(begun)]), most=4, starts=np.array([0, 1, 2], np.uint8))
    assert cuts.counts.tolist() == sizes


def starts_of(path: str, *tokens: str, ids: dict[str, int]) -> list[int]:
    starts = token_starts(path, "")
    token_starts.cache_clear()
    return [int(starts[ids[token]]) for token in tokens]


def test_tokens_of_bytes_begin_words_and_characters(
    byte_tokenizer: Callable[..., dict[str, Any]], token: Callable[..., dict[str, Any]], tokenizer: Callable[..., str]
) -> None:
    content = byte_tokenizer(token(300, "<|endoftext|>"), vocabulary=["\u0120word", "word"])
    found = starts_of(
        tokenizer(content), "\u0120word", "word", "\u010a", "\u00e4", "\u0122", ids=content["model"]["vocab"]
    )
    assert found == [WORD, CHARACTER, WORD, CHARACTER, INSIDE]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({"type": "BPE", "merges": []}, [WORD, CHARACTER, CHARACTER, INSIDE, WORD]),
        ({"type": "WordPiece", "continuing_subword_prefix": "##"}, [WORD, WORD, CHARACTER, INSIDE, WORD]),
    ],
)
def test_tokens_of_characters_begin_words(
    model: dict[str, Any], found: list[int], tokenizer: Callable[..., str]
) -> None:
    tokens = ["\u2581word", "word", "##word", "<0x84>", "<0x0A>"]
    ids = {name: i for i, name in enumerate(tokens)}
    path = tokenizer({"version": "1.0", "model": model | {"vocab": ids, "unk_token": "word"}, "added_tokens": []})
    assert starts_of(path, *tokens, ids=ids) == found


def test_a_token_that_looks_like_a_byte_and_is_none_is_text(tokenizer: Callable[..., str]) -> None:
    model = {"type": "BPE", "merges": [], "vocab": {"<0xzz>": 0}, "unk_token": "<0xzz>"}
    path = tokenizer({"version": "1.0", "model": model, "added_tokens": []})
    assert starts_of(path, "<0xzz>", ids=model["vocab"]) == [CHARACTER]
