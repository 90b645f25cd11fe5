"""What torchrun, or whatever starts several processes, tells each of them in its environment. Needs no torch."""

from __future__ import annotations

import os
from typing import NamedTuple

from dolma.errors import ConfigError

_START = "start them with `torchrun --nproc-per-node N -m dolma ...`, or unset the variable"


class Launched(NamedTuple):
    """This process among those that were started together; one by itself has rank 0 of 1."""

    rank: int
    local_rank: int
    world_size: int


def launched() -> Launched:
    """What the environment says.

    Raises:
        ConfigError: a variable is no number, or out of its range, or one that several processes need is missing.
    """
    world_size = _number("WORLD_SIZE", "1", least=1)
    rank, local_rank = (_number(name, "0", most=world_size - 1) for name in ("RANK", "LOCAL_RANK"))
    if world_size > 1:
        _number("MASTER_PORT", os.environ.get("MASTER_PORT", ""), most=65_535)
        if not os.environ.get("MASTER_ADDR"):
            raise ConfigError(
                f"`MASTER_ADDR` is not set in the environment, and `WORLD_SIZE` is {world_size}\n  {_START}"
            )
    return Launched(rank, local_rank, world_size)


def _number(name: str, default: str, *, least: int = 0, most: int = 1 << 31) -> int:
    given = os.environ.get(name, default)
    if not (given.isdecimal() and given.isascii() and least <= int(given) <= most):
        raise ConfigError(
            f"`{name}` in the environment is {given!r}, expected a whole number from {least} to {most}\n  {_START}"
        )
    return int(given)
