"""What becomes of clusters of documents that are alike: one is kept, the others are told how near they are to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dolma.dedupers.clusters import MARKS
from dolma.dedupers.keep import Keep

Ints = npt.NDArray[np.int64]
Similarity = Callable[[Ints, Ints], npt.NDArray[np.float64]]
T = TypeVar("T", bound=np.generic)

COUNTS = ("clusters", "compared", "alike", "by_chain")
"""What is counted, as in `NearNotes`."""


class Documents(Protocol):
    """Some documents in memory, in corpus order within each cluster: a column for each thing that is known of them."""

    places: npt.NDArray[np.uint64]
    ranks: npt.NDArray[np.float64]
    tiers: npt.NDArray[np.uint32]
    ids: pa.Array
    sources: pa.Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How documents of a cluster are judged.

    `link` "kept": only what is like the kept document, by the `threshold`, is its duplicate; `across_sources`: only
    what is of another source. From the place `first_new` on, documents are new.
    """

    threshold: float
    link: str
    keep: Keep
    across_sources: bool
    first_new: int = 0

    def marks(
        self, leaders: Ints, of: Documents, similarity: Similarity, count: MutableMapping[str, int]
    ) -> pa.RecordBatch:
        """The `MARKS` of all clusters of several documents; `leaders` says the first document of each one's cluster.

        `similarity` is asked for pairs of documents, by number. `count` is added to.
        """
        members = np.argsort(leaders, kind="stable")
        sizes = np.bincount(leaders, minlength=len(leaders))
        members = members[sizes[leaders[members]] > 1]
        starts = np.flatnonzero(np.diff(leaders[members], prepend=-1))
        best = self.keep.best(of.ranks[members], of.tiers[members], starts) if len(starts) else starts
        size = np.diff(np.append(starts, len(members)))
        last = np.maximum.reduceat(of.places[members], starts) if len(starts) else of.places[:0]
        kept = np.repeat(np.where(best < 0, -1, members[best]), size)
        is_other = (kept >= 0) & (kept != members)
        similar = np.zeros(len(members))
        similar[is_other] = similarity(members[is_other], kept[is_other])
        duplicate = kept != members
        if self.link == "kept":
            duplicate &= (similar >= self.threshold) | ~is_other
        if self.across_sources:
            of_members, of_kept = (of.sources.take(pa.array(one)) for one in (members, kept))
            duplicate &= pc.not_equal(of_members, of_kept).to_numpy(zero_copy_only=False)
        count["clusters"] += len(starts)
        count["by_chain"] += int(np.count_nonzero(similar[is_other] < self.threshold))
        named = pa.array(kept, mask=~(is_other & duplicate))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(of.places[members]),
                pa.array(duplicate),
                pa.array(np.repeat(of.places[members[starts]], size)),
                pa.array(np.repeat(size, size)),
                of.ids.take(named),
                of.sources.take(named),
                pa.array(similar, mask=~is_other),
                pa.array(np.repeat(last >= self.first_new, size)),
            ],
            schema=MARKS.schema,
        )


class Spill(Generic[T]):
    """Numbers that are held one after the other; in a temporary file where they take more than `limit` bytes."""

    def __init__(self, dtype: type[T], limit: int) -> None:
        self._dtype, self._limit = dtype, limit
        self._held: list[npt.NDArray[T]] = []
        self._n_bytes = 0
        self._file: Any = None

    def add(self, numbers: npt.NDArray[T]) -> None:
        """Append a copy of these."""
        self._n_bytes += numbers.nbytes
        if self._n_bytes > self._limit and self._file is None:
            self._file = tempfile.TemporaryFile()
            for held in self._held:
                self._file.write(held)
            self._held = []
        if self._file is not None:
            self._file.write(np.ascontiguousarray(numbers))
        else:
            self._held.append(numbers.copy())

    def array(self) -> npt.NDArray[T]:
        """All of them."""
        if self._file is None:
            return np.concatenate([np.zeros(0, self._dtype), *self._held])
        self._file.flush()
        return np.memmap(self._file, self._dtype, mode="r")

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
