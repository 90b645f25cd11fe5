"""`pytest tests/runner/test_turns.py`"""

from __future__ import annotations

from dolma.runner.task import Task
from dolma.runner.turns import Turns


def turns() -> Turns:
    return Turns([Task(key=str(size), size=size, spec=None) for size in (1, 3, 2)])


def test_the_biggest_comes_first_whatever_is_running() -> None:
    one = turns()
    assert [one.next(5) for _ in range(4)] == [1, 2, 0, None]
    assert not one


def test_a_lost_task_comes_at_the_end_and_alone() -> None:
    one = turns()
    assert one.next(0) == 1
    assert one.lost(1)
    assert [one.next(1), one.next(1), one.next(1)] == [2, 0, None]
    assert one and one.next(0) == 1
    assert not one


def test_of_several_lost_tasks_each_is_alone() -> None:
    one = turns()
    for index in [one.next(0), one.next(1), one.next(2)]:
        assert index is not None and one.lost(index)
    assert [one.next(0), one.next(1), one.next(0), one.next(0)] == [1, None, 2, 0]


def test_a_task_is_lost_once_only() -> None:
    one = turns()
    assert (one.lost(1), one.lost(1)) == (True, False)
