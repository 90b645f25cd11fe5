"""Tasks of several small things."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from dolma.runner.task import GROUP_BYTES, grouped


@given(st.lists(st.integers(0, 2 * GROUP_BYTES), max_size=200))
def test_groups_have_all_in_order_and_are_small(sizes: list[int]) -> None:
    groups = grouped(sizes)
    assert list(itertools.chain.from_iterable(groups)) == list(range(len(sizes)))
    assert all(len(group) == 1 or sum(sizes[i] for i in group) <= GROUP_BYTES for group in groups)


def test_few_have_a_task_each() -> None:
    assert grouped([1] * 32) == [[i] for i in range(32)]


def test_many_small_ones_are_32_tasks() -> None:
    assert [len(group) for group in grouped([100] * 3200)] == [100] * 32
