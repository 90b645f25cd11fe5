"""Batches in OLMo-core's global order: a pure function of seed and step, so a resumed run needs no saved state.

In epoch `e` (from 1) the windows are shuffled by `Generator(PCG64(seed + e))` as uint32 numbers, and each run of
`batch_size` of them is a batch; what is left at the end of an epoch is dropped. Where batches grow, what is left is
less than the smallest one, and a batch may end an epoch and begin the next. Of `W` processes, process `r` takes every
`W`-th window of a batch, from `r` on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from dolma.data import streams
from dolma.errors import DataError
from dolma.training.config import Growth
from dolma.training.data.sizes import BatchSizes
from dolma.training.data.windows import Window, Windows, repeats_itself

_CONNECTIONS = 16
IGNORED = -100
"""The label of a token that is not learnt."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one step, or one process's part of them.

    `ids`, `labels`: int64, `(windows, length)`; a label is the id of the token after, or `IGNORED`. `documents`: int32,
    the same shape. `sources`: int64, `(windows,)`, the number of each window's source.
    """

    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The windows that a stage is about: number `i` is window `windows[i]` of source `sources[i]`."""

    populations: Sequence[Windows]
    names: Sequence[str]
    sources: npt.NDArray[np.uint16]
    windows: npt.NDArray[np.uint32]

    @classmethod
    def all_of(cls, population: Windows, name: str) -> Instances:
        """Each window of one source once."""
        n = len(population)
        return cls(
            populations=[population],
            names=[name],
            sources=np.zeros(n, dtype=np.uint16),
            windows=np.arange(n, dtype=np.uint32),
        )

    def __len__(self) -> int:
        return len(self.windows)

    def same(self, other: Instances) -> bool:
        """Whether others are the same windows in the same order."""
        return np.array_equal(self.sources, other.sources) and np.array_equal(self.windows, other.windows)


class Loader:
    """Batches by the 1-based step of a stage; `together` windows in a row, such as a pair of answers, stay so."""

    def __init__(
        self,
        instances: Instances,
        *,
        batch_size: int,
        seed: int,
        growth: Growth = None,
        together: int = 1,
        repetition_filter: bool = False,
    ) -> None:
        self.instances, self.sizes, self.seed = instances, BatchSizes(batch_size, growth), seed
        self.together, self.repetition_filter = together, repetition_filter
        self.steps_per_epoch = len(instances) // batch_size
        self.per_epoch = len(instances) - len(instances) % self.sizes.least  # windows
        if self.steps_per_epoch == 0:
            length = instances.populations[0].length
            raise DataError(
                f"{len(instances):,} windows of {length:,} tokens do not fill one batch of {batch_size}\n"
                "  make `sequence_length` or `batch_size` smaller, or tokenize more text"
            )
        # Behind a network, to wait for one window after the other would take longer than a step.
        remote = any(streams.is_url(shard.path) for population in instances.populations for shard in population.shards)
        self._each: Callable[..., Iterable[Window]] = (
            ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="dolma-windows").map if remote else map
        )
        self._last = (0, np.zeros(0, dtype=np.uint32))  # replaced as a whole: batches are read in another thread

    def indices(self, step: int) -> npt.NDArray[np.uint32]:
        """The instances of a step's batch; shape `(windows,)`."""
        at, end = self.sizes.until(step - 1), self.sizes.until(step)
        parts = []
        while at < end:
            before, place = divmod(at, self.per_epoch)
            some = min(end - at, self.per_epoch - place)
            parts.append(self.order(before + 1)[place : place + some])
            at += some
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def order(self, epoch: int) -> npt.NDArray[np.uint32]:
        """All instances in the order of an epoch, counted from 1."""
        last, order = self._last
        if last != epoch:
            groups = global_order(len(self.instances) // self.together, seed=self.seed, epoch=epoch)
            row = np.arange(self.together, dtype=np.uint32)
            order = (groups[:, None] * np.uint32(self.together) + row).ravel() if self.together > 1 else groups
            self._last = (epoch, order)
        return order

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step, or a process's part of it."""
        chosen = self.indices(step).reshape(-1, self.together)[rank::world_size].flatten()
        sources = self.instances.sources[chosen].astype(np.int64)
        places = list(zip(sources.tolist(), self.instances.windows[chosen].tolist(), strict=True))
        windows = list(self._each(lambda place: self.instances.populations[place[0]][place[1]], places))
        ids = np.stack([window.ids for window in windows])
        labels = np.full_like(ids, IGNORED)
        for row, window in enumerate(windows):
            if not (self.repetition_filter and repeats_itself(window.ids)):
                labels[row, :-1] = np.where(window.valid[1:], window.ids[1:], IGNORED)
        return Batch(ids, labels, np.stack([window.documents for window in windows]), sources)


def global_order(n_windows: int, *, seed: int, epoch: int) -> npt.NDArray[np.uint32]:
    """All windows in the order of an epoch.

    >>> global_order(5, seed=0, epoch=1).tolist()
    [4, 0, 1, 2, 3]
    """
    order = np.arange(n_windows, dtype=np.uint32)
    np.random.Generator(np.random.PCG64(seed + epoch)).shuffle(order)
    return order


def batch_hash(ids: npt.NDArray[np.int64]) -> str:
    """xxh3-64 of a batch's ids, in hex."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(ids).tobytes())
