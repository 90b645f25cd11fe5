"""`pytest tests/runner/test_progress.py`"""

from __future__ import annotations

import pytest

from dolma.runner import progress
from dolma.runner.progress import Meter, advance, begin, listening


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_nobody_listens() -> None:
    advance(documents=1, bytes=10)


def test_at_most_four_messages_a_second(clock: Clock) -> None:
    heard: list[tuple[int, int]] = []
    with listening(lambda documents, n_bytes: heard.append((documents, n_bytes))):
        for _ in range(1000):
            advance(documents=1, bytes=10)
            clock.now += 0.001
    assert len(heard) <= 5
    assert (sum(documents for documents, _ in heard), sum(n_bytes for _, n_bytes in heard)) == (1000, 10_000)


def test_what_was_done_before_a_file_is_told_before_the_file_is(clock: Clock) -> None:
    heard: list[tuple[object, ...]] = []
    with listening(lambda *done: heard.append(done), lambda *at: heard.append(at)):
        begin("a.jsonl")
        advance(documents=3, bytes=30)
        begin("b.jsonl", "part 1 of 2")
        advance(documents=1, bytes=10)
    assert heard == [("a.jsonl", ""), (3, 30), ("b.jsonl", "part 1 of 2"), (1, 10)]


def test_the_rest_is_passed_on_when_the_work_raises(clock: Clock) -> None:
    heard: list[tuple[int, int]] = []
    with pytest.raises(KeyError), listening(lambda *done: heard.append(done)):
        advance(documents=1)
        raise KeyError
    assert heard == [(1, 0)]


def test_an_outer_listener_is_heard_again_afterwards(clock: Clock) -> None:
    outer: list[tuple[int, int]] = []
    with listening(lambda *done: outer.append(done)):
        with listening(lambda *done: None):
            advance(documents=5)
        advance(documents=1)
    assert outer == [(1, 0)]


def test_meter_rates() -> None:
    times = iter([0.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    meter = Meter(total_tasks=4, total_size=400, now=lambda: next(times))
    meter.advance(10, 1000)
    meter.advance(tasks=1, size=100)
    assert (meter.documents_per_second, meter.bytes_per_second, meter.seconds_left) == (5.0, 500.0, 6.0)


def test_meter_knows_no_time_left_before_the_first_task() -> None:
    assert Meter(total_size=400).seconds_left is None
