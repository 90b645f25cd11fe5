"""`pytest tests/runner/test_seeds.py`"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.runner.seeds import derive_seed

parts = st.lists(st.text(max_size=4) | st.integers(), max_size=3)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0,), 4614706580535375355),
        ((0, "shuffle", "books/0000.jsonl", 3), 592103025514740476),
        ((-1, "a", ""), 18179671692061813512),
        ((2**70, "é"), 17740948916702505335),
    ],
)
def test_seeds_hold_for_ever(arguments: tuple, seed: int) -> None:
    assert derive_seed(*arguments) == seed


@pytest.mark.property
@settings(deadline=None, max_examples=100)
@given(parts, parts)
def test_other_parts_give_other_seeds(first: list, second: list) -> None:
    same = [(type(part), part) for part in first] == [(type(part), part) for part in second]
    assert (derive_seed(0, *first) == derive_seed(0, *second)) is same


@pytest.mark.property
@settings(deadline=None, max_examples=50)
@given(st.integers(), parts)
def test_range(seed: int, rest: list) -> None:
    assert 0 <= derive_seed(seed, *rest) < 2**64


@pytest.mark.parametrize("part", [True, 1.0, None, b"a"])
def test_other_types_are_refused(part: object) -> None:
    with pytest.raises(TypeError, match="a seed is made of integers and strings, not"):
        derive_seed(0, part)  # type: ignore[arg-type]
