"""How a stage is run: never what it computes, so nothing here changes a byte of output."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from dolma.errors import ConfigError
from dolma.printable import printable

BYTES_PER_WORKER = 8_000_000
"""Input worth a worker of its own: starting one costs about a second, as long as reading this much."""


LEAST_MEMORY = 64 << 20
"""Bytes that a worker needs beside its libraries: a few batches, and blocks of what it reads and writes."""

_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 1 << 10,
    "MI": 1 << 20,
    "GI": 1 << 30,
    "TI": 1 << 40,
}


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Workers, executor, and what to do about earlier outputs."""

    workers: int | None = None
    """Processes; None: as many as there are CPUs, tasks, or 8 MB of input, whichever is least."""
    executor: Literal["local", "ray"] = "local"
    """Processes on this machine, or a Ray cluster."""
    address: str | None = None
    """The Ray cluster to join (`host:port` or "auto"); None starts one on this machine."""
    shard: tuple[int, int] | None = None
    """`(i, n)`: run only the `i`-th (from 1) of `n` parts here; the others run elsewhere on the same folders."""
    wait: bool = True
    """Whether a shard waits at the end of a phase for the others; if not, `Unfinished` says what is missing."""
    take_over: tuple[int, ...] = ()
    """Shards that have died: their tasks are done here too."""
    overwrite: bool = False
    """Remove outputs of another configuration first."""
    check_inputs: bool = False
    """Read all inputs to see whether they have changed, those with the size and time of before too."""
    max_errors: int = 0
    """Records that may be skipped before the run counts as failed."""
    work_dir: str | None = None
    """Folder for intermediate files, which all workers and shards see; None: beside the outputs."""
    stall_after: float = 1800.0
    """Seconds without progress of a task after which its stack is printed, once; 0: never."""
    progress: bool | None = None
    """Show progress; None: when standard error is a terminal."""
    apart: bool = False
    """Whether one worker is a process, too, where it runs code of the user's, which may end its process."""
    max_memory: int | None = None
    """Bytes that the buffers of one worker may hold; None: what each stage takes by itself."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; at least 1\n  leave it out to use every CPU")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            i, n = self.shard
            raise ConfigError(f"shard is {i}/{n}; i is from 1 to n\n  write `--shard 1/{max(n, 1)}` for the first part")
        n_shards = self.shard[1] if self.shard is not None else 0
        if any(not 1 <= dead <= n_shards for dead in self.take_over):
            raise ConfigError(
                f"take_over is {', '.join(map(str, self.take_over))}, of {n_shards} shards\n"
                "  write `--shard 1/8 --take-over 3` to do the tasks of shard 3 too; "
                "without `--shard` everything is done here"
            )
        if self.max_memory is not None and self.max_memory < LEAST_MEMORY:
            raise ConfigError(
                f"max_memory is {self.max_memory:,} bytes; at least {LEAST_MEMORY:,}\n  write `--max-memory 2GB`"
            )
        if not 0 <= self.stall_after < 1e9:
            raise ConfigError(
                f"stall_after is {self.stall_after:g} seconds; 0 or more, less than 1e9; 0: never"
                "\n  `--stall-after 1800`"
            )
        if self.work_dir == "":
            raise ConfigError("work_dir is an empty path\n  a variable of the shell may have no value")
        if self.max_errors < 0:
            raise ConfigError(f"max_errors is {self.max_errors}; 0 or more\n  `--max-errors 0` allows none")
        if self.address is not None and self.executor != "ray":
            raise ConfigError("an address is for the Ray executor only\n  add `--executor ray`")

    def whole(self) -> RunOptions:
        """The same without shards: everything is done here."""
        return msgspec.structs.replace(self, shard=None, take_over=())


def bytes_of(text: str) -> int:
    """A size such as `2GB`, `1.5GiB` or `800000000` in bytes.

    >>> bytes_of("2GB"), bytes_of("0.5 GiB"), bytes_of("64M")
    (2000000000, 536870912, 64000000)

    Raises:
        ConfigError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?|)B?\s*", text.upper(), re.ASCII)
    if found is None:
        raise ConfigError(f"{printable(text)} is no size\n  write a number of bytes, or with a unit: `2GB`, `512MiB`")
    return int(float(found[1]) * _UNITS[found[2]])


def worker_count(options: RunOptions, sizes: Iterable[int]) -> int:
    """How many worker processes suit tasks of these sizes (bytes); at least 1, never more than there are tasks."""
    sizes = list(sizes)
    if options.workers is not None:
        return max(1, min(options.workers, len(sizes)))
    return max(1, min(cpu_count(), len(sizes), math.ceil(sum(sizes) / BYTES_PER_WORKER)))


def cpu_count() -> int:
    """The CPUs this process may use: its affinity, cut to the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    n_cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(n_cpus, _cgroup_quota() or n_cpus))


def _cgroup_quota(path: str = "/sys/fs/cgroup/cpu.max") -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else math.ceil(int(quota) / int(period))
