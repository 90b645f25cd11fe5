"""`pytest tests/runner/test_options.py`"""

from __future__ import annotations

import pytest

from dolma.errors import ConfigError
from dolma.runner import options
from dolma.runner.options import RunOptions, bytes_of, cpu_count, worker_count


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workers": 0}, "workers is 0; at least 1"),
        ({"shard": (0, 2)}, "shard is 0/2; i is from 1 to n"),
        ({"shard": (3, 2)}, "shard is 3/2"),
        ({"max_errors": -1}, "max_errors is -1"),
        ({"stall_after": float("nan")}, "stall_after is nan minutes"),
        ({"stall_after": float("inf")}, "stall_after is inf minutes"),
        ({"work_dir": ""}, "work_dir is an empty path"),
        ({"max_memory": 1_000_000}, "max_memory is 1,000,000 bytes; at least 67,108,864"),
        ({"address": "auto"}, "add `--executor ray`"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunOptions(**fields)


@pytest.mark.parametrize("text", ["", "2 pounds", "-1GB", "2GBB", "1e9", "٢GB"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size\n  write a number of bytes"):
        bytes_of(text)


@pytest.mark.parametrize(
    ("workers", "sizes", "expected"),
    [
        (None, [], 1),
        (None, [1_000] * 50, 1),
        (None, [8_000_000] * 3 + [1], 4),
        (None, [8_000_000] * 50, 6),
        (None, [8_000_000_000] * 2, 2),
        (5, [1] * 3, 3),
        (5, [1] * 9, 5),
        (5, [], 1),
    ],
)
def test_workers_suit_the_tasks(monkeypatch, workers: int | None, sizes: list[int], expected: int) -> None:
    monkeypatch.setattr(options, "cpu_count", lambda: 6)
    assert worker_count(RunOptions(workers=workers), sizes) == expected


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("", None)]
)
def test_container_quota(tmp_path, text: str, quota: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert options._cgroup_quota(str(tmp_path / "cpu.max")) == quota


def test_cpu_count_is_at_least_one() -> None:
    assert cpu_count() >= 1
