"""How a stage is run: never what it computes, so nothing here changes a byte of output."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec

from dolma.errors import ConfigError
from dolma.keys import about
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
    """Workers, executor, and what to do about earlier outputs. The first four are keys of a recipe too."""

    workers: int | None = None
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    max_errors: int = 0
    max_memory: Annotated[
        int | None,
        about("Size of the buffers of one worker, such as 2GB.", absent="what each stage takes", metavar="SIZE"),
    ] = None
    work_dir: Annotated[
        str | None,
        about(
            "Folder for intermediate files, which all workers and shards see.",
            absent="beside the outputs",
            metavar="DIR",
        ),
    ] = None
    stall_after: Annotated[
        float,
        about(
            "Minutes after which a task that comes no further has its stack printed, once; 0: never.",
            metavar="MINUTES",
        ),
    ] = 30.0
    check_inputs: Annotated[
        bool, about("Read all inputs to see whether they changed, also those with the size and time of before.")
    ] = False
    shard: Annotated[
        tuple[int, int] | None,
        about("Run the I-th of N parts here, the others elsewhere (Slurm arrays).", absent="all", metavar="I/N"),
    ] = None
    wait: Annotated[bool, about("A shard waits for the others, or ends with status 5 and says for which.")] = True
    take_over: Annotated[tuple[int, ...], about("Do the tasks of the dead shard I here, too.", metavar="I")] = ()
    overwrite: Annotated[bool, about("Replace outputs of other settings.")] = False
    progress: Annotated[bool | None, about("Progress on standard error.", absent="on a terminal")] = None
    apart: Annotated[
        bool, about("One worker is a process, too, where it runs code of the user's, which may end its process.")
    ] = False

    @classmethod
    def of(cls, **given: Any) -> RunOptions:
        """The options of these values, of which `max_memory` and `shard` may be text: `2GB`, `1/8`."""
        read = {name: READ_AS[name](v) if name in READ_AS and isinstance(v, str) else v for name, v in given.items()}
        return cls(**read)

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
                f"stall_after is {self.stall_after:g} minutes; 0 or more, less than 1e9; 0: never\n  `--stall-after 30`"
            )
        if self.work_dir == "":
            raise ConfigError("work_dir is an empty path\n  a variable of the shell may have no value")
        if self.max_errors < 0:
            raise ConfigError(f"max_errors is {self.max_errors}; 0 or more\n  `--max-errors 0` allows none")
        if self.address is not None and self.executor != "ray":
            raise ConfigError("an address is for the Ray executor only\n  add `--executor ray`")

    @property
    def stall_seconds(self) -> float:
        """`stall_after` in seconds."""
        return 60 * self.stall_after

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


def shard_of(text: str) -> tuple[int, int]:
    """`I/N` as two numbers.

    >>> shard_of("2/8")
    (2, 8)

    Raises:
        ConfigError: it is no such text.
    """
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise ConfigError(f"--shard {printable(text)}: expected I/N with 1 <= I <= N, such as --shard 1/8")
    return int(i), int(n)


READ_AS: dict[str, Callable[[str], Any]] = {"max_memory": bytes_of, "shard": shard_of}
"""The options that may be given as text, and how that is read."""


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
