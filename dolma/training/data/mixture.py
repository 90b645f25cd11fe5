"""How many windows of each source a stage takes, and which.

`target_ratio`, `max_repetition_ratio` and `max_source_fraction` mean what they mean in OLMo-core, whose rounding is
kept too: whole windows by the largest remainder, so that the total is exact. Which windows are taken is not its first
ones but a seeded permutation of all of them, another for each repetition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.errors import ConfigError
from dolma.training.config import SourceConfig

Indices = npt.NDArray[np.uint32]


class MixedSource(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage takes of one source, in windows; `repetitions` is `taken` to those that may be used."""

    source: str
    available: int
    usable: int  # of them, by `max_source_fraction`
    taken: int
    repetitions: float


def plan_mixture(
    available: Mapping[str, int], sources: Mapping[str, SourceConfig], *, n_windows: int, path: str = "$.train.sources"
) -> list[MixedSource]:
    """The share of each source in `n_windows`, in the order of `sources`.

    >>> book = SourceConfig(tokens="b", target_ratio=0.7, max_repetition_ratio=2.0)
    >>> web = SourceConfig(tokens="w", target_ratio=0.3)
    >>> [share.taken for share in plan_mixture({"b": 5, "w": 9}, {"b": book, "w": web}, n_windows=11)]
    [8, 3]

    Raises:
        ConfigError: a source has too few windows; says how many it has and how many are needed.
    """
    taken = _by_largest_remainder([source.target_ratio for source in sources.values()], n_windows)
    shares, short = [], []
    for (name, source), n in zip(sources.items(), taken, strict=True):
        usable = math.floor(available[name] * source.max_source_fraction + 1e-9)
        if n > usable * source.max_repetition_ratio + 1e-9:
            short.append(
                f"{name!r} has {available[name]:,} windows, of which {usable:,} may be used "
                f"{source.max_repetition_ratio:g} times; {n:,} are needed"
            )
        repetitions = n / usable if usable else math.inf
        shares.append(
            MixedSource(source=name, available=available[name], usable=usable, taken=n, repetitions=repetitions)
        )
    if short:
        raise ConfigError(
            "the mixture asks for more than there is:\n  "
            + "\n  ".join(short)
            + "\n  raise `max_repetition_ratio`, lower `target_ratio`, or train on fewer tokens",
            path=path,
        )
    return shares


def _by_largest_remainder(ratios: list[float], total: int) -> list[int]:
    exact = [ratio * total for ratio in ratios]
    taken = [math.floor(value + 1e-9) for value in exact]
    remainders = sorted(range(len(ratios)), key=lambda i: (taken[i] - exact[i], i))
    for i in remainders[: total - sum(taken)]:
        taken[i] += 1
    return taken


def taken_windows(share: MixedSource, *, seed: int) -> Indices:
    """Which windows of a source are taken: uint32, shape `(share.taken,)`.

    Those that may be used are the first `usable` of a permutation of all, so a longer run uses the same ones and more;
    each repetition takes them in an order of its own.
    """
    usable = _permutation(share.available, seed, share.source, "usable")[: share.usable]
    passes = -(-share.taken // share.usable) if share.usable else 0
    orders = [usable[_permutation(share.usable, seed, share.source, f"pass {n}")] for n in range(passes)]
    return np.concatenate([*orders, np.zeros(0, dtype=np.uint32)])[: share.taken].astype(np.uint32)


def _permutation(n: int, seed: int, source: str, purpose: str) -> Indices:
    derived = xxhash.xxh3_64_intdigest(f"{seed}/{source}/{purpose}".encode())
    return np.random.Generator(np.random.PCG64(derived)).permutation(n).astype(np.uint32)
