"""Sorted runs and what is read of them. Run: pytest tests/data/test_exchange.py"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data import exchange, streams
from dolma.data.exchange import (
    END_OF_KEYS,
    Cursor,
    RunFile,
    RunWriter,
    Table,
    in_groups,
    partitions,
    prefix_bounds,
    read_in_order,
    read_sorted,
    sort_order,
    whole_runs,
)
from dolma.errors import DataError

SORTED = Table(
    name="sorted",
    schema=pa.schema([("high", pa.uint64()), ("low", pa.uint64()), ("n", pa.int64()), ("text", pa.string())]),
    key=("high", "low"),
    parameters={"version": 1},
)
PLAIN = Table(name="plain", schema=pa.schema([("n", pa.int64())]))
Record = tuple[int, int, int, str]


def batch_of(records: Sequence[Record]) -> pa.RecordBatch:
    columns = zip(*records, strict=True) if records else ([], [], [], [])
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, SORTED.schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SORTED.schema)


def rows(batches: Iterator[pa.RecordBatch]) -> list[Record]:
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def write(work: Path, producers: Sequence[Sequence[Record]], *, memory: int = exchange.MEMORY) -> list[RunFile]:
    """A file per producer; each record is added by itself, so that memory decides the runs."""
    files = []
    for number, records in enumerate(producers):
        with RunWriter(SORTED, str(work), f"{number:06d}", memory=memory) as out:
            for record in records:
                out.add(batch_of([record]))
        files.append(out.file)
    return files


words = st.sampled_from([0, 1, 2, 1 << 63, END_OF_KEYS - 1]) | st.integers(0, END_OF_KEYS - 1)
producers = st.lists(st.lists(st.tuples(words, words, st.text(max_size=5)), max_size=12), max_size=5)


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(
    producers,
    st.sampled_from([1, 100, 400, exchange.MEMORY]),
    st.sampled_from([1, 100, exchange.BLOCK_BYTES]),
    st.lists(words, max_size=3),
)
def test_partitions_hold_every_record_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    given_records: list[list[tuple[int, int, str]]],
    memory: int,
    block_bytes: int,
    inner: list[int],
) -> None:
    work = tmp_path_factory.mktemp("work")
    numbers = itertools.count()
    records = [[(high, low, next(numbers), text) for high, low, text in some] for some in given_records]
    bounds = [0, *sorted({*inner} - {0}), END_OF_KEYS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "BLOCK_BYTES", block_bytes)
        files = write(work, records, memory=memory)
        parts = partitions(SORTED, str(work), files, bounds)
        found = [rows(read_sorted(SORTED, str(work), part, memory=memory)) for part in parts]
        whole = rows(read_sorted(SORTED, str(work), whole_runs(files), memory=memory))
    expected = sorted(itertools.chain(*records), key=lambda record: record[:3])
    assert whole == expected
    assert list(itertools.chain(*found)) == expected
    for part, (start, end) in zip(found, itertools.pairwise(bounds), strict=True):
        assert all(start <= high < end for high, *_ in part)
    assert sum(file.rows for file in files) == len(expected)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(words, words), max_size=20))
def test_the_order_is_that_of_a_stable_sort(pairs: list[tuple[int, int]]) -> None:
    columns = np.array(pairs, np.uint64).reshape(-1, 2)
    expected = sorted(range(len(pairs)), key=lambda i: pairs[i])
    assert sort_order([columns[:, 0], columns[:, 1]]).tolist() == expected


def test_a_table_without_a_key_keeps_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 40)
    with RunWriter(PLAIN, str(tmp_path), "a") as out:
        for n in [3, 1, 2, 9, 8, 7]:
            out.add(pa.RecordBatch.from_arrays([pa.array([n])], schema=PLAIN.schema))
    found = list(read_in_order(PLAIN, str(tmp_path), out.file))
    assert [batch["n"].to_pylist() for batch in found] == [[3, 1, 2, 9, 8], [7]]


def test_parts_without_a_key_come_back_as_they_were_given(tmp_path: Path) -> None:
    parts = [pa.RecordBatch.from_arrays([pa.array(range(n))], schema=PLAIN.schema) for n in (2, 1)]
    with RunWriter(PLAIN, str(tmp_path), "a") as out:
        for part in parts:
            out.write_run([part])
    assert [len(batch) for batch in read_in_order(PLAIN, str(tmp_path), out.file)] == [2, 1]


@pytest.mark.parametrize("table", [SORTED, PLAIN])
def test_a_producer_without_records_leaves_a_file(tmp_path: Path, table: Table) -> None:
    with RunWriter(table, str(tmp_path), "a") as out:
        pass
    assert out.file.rows == 0
    assert list(read_in_order(table, str(tmp_path), out.file)) == []
    if table.key:
        (part,) = partitions(table, str(tmp_path), [out.file], [0, END_OF_KEYS])
        assert list(read_sorted(table, str(tmp_path), part)) == []


def test_what_is_written_is_an_output_of_the_work_folder(tmp_path: Path) -> None:
    with RunWriter(SORTED, str(tmp_path), "a") as out:
        out.add(batch_of([(1, 1, 1, "x")]))
    (output,) = out.outputs
    assert (output.set, output.path, output.bytes) == (str(tmp_path), "sorted/a", out.file.end)
    assert output.checksum == streams.checksum(str(tmp_path / "sorted" / "a"))


def test_nothing_is_left_of_a_producer_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunWriter(SORTED, str(tmp_path), "a") as out:
        out.add(batch_of([(1, 1, 1, "x")]))
        raise ZeroDivisionError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_groups_are_not_cut(tmp_path: Path) -> None:
    batches = [batch_of([(high, 0, i, "") for high in highs]) for i, highs in enumerate(([1, 1, 2], [2], [2, 3], [3]))]
    found = [[record[0] for record in rows(iter([batch]))] for batch in in_groups(SORTED, batches)]
    assert found == [[1, 1], [2, 2, 2], [3, 3]]


def test_a_cursor_gives_each_record_once() -> None:
    cursor = Cursor(SORTED, [batch_of([(n, 0, n, "") for n in some]) for some in ([1, 2, 3], [4], [8, 9])])
    assert [cursor.before(end)["n"].to_pylist() for end in (3, 3, 8, 20, 30)] == [[1, 2], [], [3, 4], [8, 9], []]


def test_prefixes_are_ranges_of_equal_width() -> None:
    assert prefix_bounds(3)[0] == 0 and prefix_bounds(3)[-1] == END_OF_KEYS
    assert len({end - start for start, end in itertools.pairwise(prefix_bounds(4))}) == 1


# --- what readers look at --------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> RunFile:
    (file,) = write(tmp_path, [[(n, n, n, "text") for n in range(5)]])
    return file


def read(table: Table, work: Path, file: RunFile, *, by: str) -> list[Record]:
    if by == "partition":
        (part,) = partitions(table, str(work), [file], [0, END_OF_KEYS])
        return rows(read_sorted(table, str(work), part))
    return rows(read_sorted(table, str(work), whole_runs([file])))


@pytest.mark.parametrize("by", ["partition", "run"])
@pytest.mark.parametrize(
    "other",
    [
        replace(SORTED, parameters={"version": 2}),
        replace(SORTED, key=("high",)),
        replace(SORTED, schema=SORTED.schema.set(3, pa.field("text", pa.binary()))),
    ],
)
def test_a_file_of_another_table_is_refused(tmp_path: Path, written: RunFile, other: Table, by: str) -> None:
    expected = r"sorted/000000: its header is \{.*, expected \{.*\n  .* wrote the file: remove .* again"
    with pytest.raises(DataError, match=expected):
        read(other, tmp_path, written, by=by)


def test_a_file_of_another_version_is_refused(
    tmp_path: Path, written: RunFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FORMAT_VERSION", 2)
    with pytest.raises(DataError, match=r'"format_version":1.*"format_version":2'):
        read(SORTED, tmp_path, written, by="partition")


@pytest.mark.parametrize("by", ["partition", "run"])
def test_every_flipped_byte_is_found(tmp_path: Path, written: RunFile, by: str) -> None:
    path = tmp_path / "sorted" / "000000"
    whole = path.read_bytes()
    assert len(whole) == written.end
    for at in range(written.end if by == "partition" else written.index):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"sorted/000000: "):
            read(SORTED, tmp_path, written, by=by)


@pytest.mark.parametrize("by", ["partition", "run"])
def test_a_file_that_was_cut_is_an_error_that_says_what_to_do(tmp_path: Path, written: RunFile, by: str) -> None:
    path = tmp_path / "sorted" / "000000"
    path.write_bytes(path.read_bytes()[: written.index - 9])
    with pytest.raises(DataError, match=r"sorted/000000: .*\n  .* wrote the file: remove .* again"):
        read(SORTED, tmp_path, written, by=by)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_partition_is_read_from_front_to_end_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, END_OF_KEYS, (4, 2000), dtype=np.uint64)
    files = write(tmp_path, [[(int(key), 0, i, "") for i, key in enumerate(some)] for some in keys])
    opened: list[tuple[str, int, int]] = []
    n_read = 0
    read_chunks = streams.read_chunks

    def counting(path: str, *, start: int = 0, end: int | None = None, **more: int) -> Iterator[bytes]:
        nonlocal n_read
        assert end is not None
        opened.append((path, start, end))
        for chunk in read_chunks(path, start=start, end=end, **more):
            n_read += 1
            yield chunk

    monkeypatch.setattr(streams, "read_chunks", counting)
    parts = partitions(SORTED, str(tmp_path), files, prefix_bounds(4))
    assert len(opened) == 2 * len(files)  # header and index
    opened.clear()
    n_read = 0
    assert sum(len(batch) for part in parts for batch in read_sorted(SORTED, str(tmp_path), part)) == 8000
    n_bytes = sum(end - start for _, start, end in opened)
    assert len(opened) == len(files) * len(parts)
    assert n_bytes < 1.2 * sum(file.index for file in files)
    assert n_read <= n_bytes / 1000 + len(opened)


def test_a_merge_holds_little_however_long_the_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 1000)
    for n in (500, 5000):
        # The keys of the second producer come after all of the first, equal ones within each.
        records = [[(p, 0, i, "") for i in range(n)] for p in range(2)]
        files = write(tmp_path, records, memory=exchange.MEMORY)
        sizes = [batch.nbytes for batch in read_sorted(SORTED, str(tmp_path), whole_runs(files), memory=10_000)]
        assert max(sizes) < 4_000 and sum(sizes) > 40 * n


def test_a_merge_holds_no_more_than_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FAN_IN", 8)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 16 << 10)
    table = Table(name="t", schema=pa.schema([("key", pa.uint64()), ("value", pa.binary())]), key=("key",))
    files, n_rows, memory = [], 40_000, 4 << 20
    for number in range(8):
        keys = np.arange(number, 8 * n_rows, 8, dtype=np.uint64)
        records = pa.RecordBatch.from_arrays([pa.array(keys), pa.array([b"x" * 100] * n_rows)], schema=table.schema)
        with RunWriter(table, str(tmp_path), f"{number}") as out:
            out.write_run([records])
        files.append(out.file)
    pool, before = pa.proxy_memory_pool(pa.system_memory_pool()), pa.default_memory_pool()
    joined, sort_order, held = exchange.joined, exchange.sort_order, []

    def look(more: int) -> None:
        held.append(pool.bytes_allocated() + tracemalloc.get_traced_memory()[0] + more)

    def joining(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        whole = joined(parts)
        look(0)
        return whole

    def sorting(keys: exchange.Keys) -> exchange.Places:
        look(exchange._share(memory))  # of the copy that is made next
        return sort_order(keys)

    monkeypatch.setattr(exchange, "joined", joining)
    monkeypatch.setattr(exchange, "sort_order", sorting)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        with RunWriter(table, str(tmp_path), "all") as out:
            out.write_run(read_sorted(table, str(tmp_path), whole_runs(files), memory=memory))
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert out.file.index > 8 * memory
    assert memory // 2 < max(held) < memory + (1 << 20)  # what the output stream collects
