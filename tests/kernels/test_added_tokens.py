"""Added tokens are found as by the twin. Run: `pytest tests/kernels/test_added_tokens.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.kernels.added_tokens import MOST_PAIRS, PASSED_OVER, TEXT, segments, trie_of
from dolma.kernels.pretokens import with_room
from dolma.kernels.reference import added_tokens as reference

TOKENS = {"<|a|>": None, "|||E|||": 1, "a|": 2, "  ": 3, "    ": 4, "é": 5, "x": 6, "xxy": 7}


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([*TOKENS, *"<|aE>x y", " " * 70, "word"]), max_size=30).map("".join), max_size=4)
)
def test_segments_are_those_of_the_twin(texts: list[str]) -> None:
    trie = trie_of({token: PASSED_OVER if id is None else id for token, id in TOKENS.items()})
    assert trie is not None
    batch = TextBatch.of(texts)
    found, counts = segments(with_room(batch.utf8), batch.offsets[:-1], batch.offsets[1:], trie)
    parts = [
        (batch.utf8[start:end].tobytes().decode(), None if id == TEXT else id) for start, end, id in found.T.tolist()
    ]
    each = [reference.segments(text, TOKENS) for text in texts]
    assert parts == [part for one in each for part in one]
    assert counts.tolist() == [len(one) for one in each]


def test_a_token_of_the_next_text_is_not_seen() -> None:
    batch = TextBatch.of(["<|", "a|>"])
    trie = trie_of({"<|a|>": 9})
    assert trie is not None
    found, _ = segments(with_room(batch.utf8), batch.offsets[:-1], batch.offsets[1:], trie)
    assert found[2].tolist() == [TEXT, TEXT]


def test_tokens_that_begin_in_too_many_ways_have_no_trie() -> None:
    assert trie_of({chr(ord("a") + i) * 2: i for i in range(MOST_PAIRS + 1)}) is None
    assert trie_of({f"<{i:010}>": i for i in range(20_000)}) is None
    assert np.array_equal(trie_of({"ab": 0, "ac": 1}).pairs, [[97, 98], [97, 99]])  # type: ignore[union-attr]
