"""The trainer of byte-level BPEs. Run: pytest tests/tokens/test_bpe.py"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.kernels.reference import pair_merges as reference
from dolma.models.tokenizer_file import BYTE_SYMBOLS
from dolma.tokens.bpe import ALPHABET, Merges, Words, train_merges

COUNTS = st.dictionaries(st.text("abc", min_size=1, max_size=8).map(str.encode), st.integers(1, 9), max_size=12)


def trained(counts: Mapping[bytes, int], **given: object) -> Merges:
    words = Words(
        utf8=np.frombuffer(b"".join(counts), np.uint8),
        ends=np.cumsum([len(word) for word in counts], dtype=np.int64),
        counts=np.array([*counts.values()], np.int64),
    )
    return train_merges(words, **{"vocab_size": 300, **given})  # type: ignore[arg-type]


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(COUNTS)
def test_merges_equal_those_of_the_twin(counts: dict[bytes, int]) -> None:
    # The twin's first tokens are bytes by number, which for a, b and c is the order of symbols too.
    assert [(one.encode(), other.encode()) for one, other in trained(counts).pairs] == reference.train(
        counts, vocab_size=300
    )


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(COUNTS, st.randoms())
def test_the_order_of_words_changes_nothing(counts: dict[bytes, int], random: object) -> None:
    shuffled = sorted(counts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert trained({word: counts[word] for word in shuffled}) == trained(counts)


def test_of_equal_pairs_the_smaller_ids_are_first() -> None:
    assert trained({b"cd": 2, b"ab": 2, b"ac": 2}).pairs == [("a", "b"), ("a", "c"), ("c", "d")]


def test_special_tokens_come_first_then_bytes() -> None:
    found = trained({b"ab": 1}, special=["<s>"])
    assert found.tokens == ["<s>", *ALPHABET, "ab"]


def test_no_merge_spells_a_special_token() -> None:
    found = trained({b"abab": 3}, special=["ab"])
    assert found.pairs == [("b", "a"), ("a", "ba"), ("aba", "b")]


def test_rare_pairs_are_left_apart() -> None:
    assert trained({b"ab": 2, b"cd": 1}, min_count=2).pairs == [("a", "b")]


def test_as_many_tokens_as_asked_for() -> None:
    assert len(trained({b"abcdefgh": 1}, vocab_size=259).tokens) == 259


def test_any_bytes_are_spelled_by_their_symbols() -> None:
    assert trained({b"\xff\x00": 1}).pairs == [(BYTE_SYMBOLS[0xFF], BYTE_SYMBOLS[0x00])]
