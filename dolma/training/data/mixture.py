"""How many windows of each source a stage takes, and which.

`share` and `max_repeat` are what OLMo-core calls `target_ratio` and `max_repetition_ratio`, and `max_source_fraction`
is so there too; its rounding is kept: whole windows by the largest remainder, so that the total is exact. Which windows
are taken is not its first ones but a seeded permutation of all of them, another for each repetition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from dolma.amounts import share_out
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

    >>> book = SourceConfig(tokens="b", share=0.7, max_repeat=2.0)
    >>> web = SourceConfig(tokens="w", share=0.3)
    >>> [share.taken for share in plan_mixture({"b": 5, "w": 9}, {"b": book, "w": web}, n_windows=11)]
    [8, 3]

    Raises:
        ConfigError: a source has too few windows; says how many it has and how many are needed.
    """
    taken = share_out(n_windows, [source.share for source in sources.values()])
    shares, short = [], []
    for (name, source), n in zip(sources.items(), taken, strict=True):
        usable = math.floor(available[name] * source.max_source_fraction + 1e-9)
        if n > usable * source.max_repeat + 1e-9:
            short.append(
                f"{name!r} has {available[name]:,} windows, of which {usable:,} may be used "
                f"{source.max_repeat:g} times; {n:,} are needed"
            )
        repetitions = n / usable if usable else math.inf
        shares.append(
            MixedSource(source=name, available=available[name], usable=usable, taken=n, repetitions=repetitions)
        )
    if short:
        raise ConfigError(
            "the mixture asks for more than there is:\n  "
            + "\n  ".join(short)
            + "\n  raise `max_repeat`, lower `share`, or train on fewer tokens",
            path=path,
        )
    return shares


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
