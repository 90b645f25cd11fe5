"""`pytest tests/data/storage/test_remote_file.py`: ranges instead of files, counted."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.storage.remote_file import FIRST_BYTES, MOST_BYTES, RemoteFile

DATA = bytes(range(251)) * 200_000  # 50 MB


class Server:
    """Gives ranges of `DATA` and remembers which."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        return DATA[start : start + length]


def test_the_end_of_a_file_is_one_request() -> None:
    server = Server()
    with RemoteFile(server, len(DATA)) as file:
        file.seek(-FIRST_BYTES, 2)
        assert file.read() == DATA[-FIRST_BYTES:]
    assert server.asked == [(len(DATA) - FIRST_BYTES, FIRST_BYTES)]


def test_a_reader_that_goes_straight_on_reads_each_byte_once_in_few_requests() -> None:
    server = Server()
    with RemoteFile(server, len(DATA)) as file:
        parts = []
        while part := file.read(100_000):
            parts.append(part)
    assert b"".join(parts) == DATA
    assert sum(length for _, length in server.asked) == len(DATA)
    assert len(server.asked) <= 4 + len(DATA) // MOST_BYTES


def test_no_more_than_one_range_is_fetched_ahead() -> None:
    server, position, most = Server(), 0, 0
    with RemoteFile(server, len(DATA)) as file:
        while part := file.read(100_000):
            position += len(part)
            most = max(most, max(start + length for start, length in list(server.asked)) - position)
    assert most <= 2 * MOST_BYTES


def test_the_next_range_is_fetched_while_this_one_is_used() -> None:
    ahead, reader = threading.Event(), threading.get_ident()

    def read_range(start: int, length: int) -> bytes:
        if threading.get_ident() != reader:
            ahead.set()
        return DATA[start : start + length]

    with RemoteFile(read_range, len(DATA)) as file:
        file.read(20_000_000)
        assert ahead.wait(timeout=30)


def test_an_error_of_what_was_fetched_ahead_is_raised_where_it_is_read() -> None:
    def read_range(start: int, length: int) -> bytes:
        if start + length == len(DATA):
            raise ValueError("the end is broken")
        return DATA[start : start + length]

    with RemoteFile(read_range, len(DATA)) as file:
        got = 0
        try:
            while part := file.read(1_000_000):
                got += len(part)
        except ValueError as error:
            assert str(error) == "the end is broken"
    assert len(DATA) - MOST_BYTES - 1_000_000 <= got < len(DATA)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(-1, 1 << 20)), max_size=12))
def test_as_a_file_in_memory(steps: list[tuple[int, int]]) -> None:
    data = DATA[: 1 << 20]
    with RemoteFile(lambda start, length: data[start : start + length], len(data)) as file:
        for at, n in steps:
            assert file.seek(at) == at
            assert file.read(n) == (data[at:] if n < 0 else data[at : at + n])
            assert file.tell() <= max(at, len(data))
