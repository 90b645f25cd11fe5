"""Which document of a cluster is kept."""

from __future__ import annotations

import datetime
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolma.data.batch import TextBatch
from dolma.data.fields import JsonField
from dolma.dedupers.config import DedupeConfig
from dolma.errors import DataError
from dolma.kernels.views import code_points
from dolma.names import KEEP_BY_FIELD
from dolma.printable import printable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Tiers = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Keep:
    """The rule of this name: the document with the highest rank is kept; of equal ones, the first in corpus order.

    Whatever the rule, a reference comes before all others, and then documents of sources of `priority`, in its order.
    """

    name: str
    priority: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: DedupeConfig) -> Keep:
        """The rule of these settings."""
        return cls(config.keep, tuple(config.priority or ()))

    def tiers(self, batch: TextBatch, *, reference: bool) -> Tiers:
        """Which of several come first, the lowest: 0 for a `reference`; uint32, shape `(n_docs,)`."""
        if reference or not self.priority:
            return np.full(len(batch), int(not reference), np.uint32)
        of_source = {source: 1 + i for i, source in enumerate(self.priority)}
        last = 1 + len(self.priority)
        return np.array([of_source.get(source, last) for source in batch.sources], np.uint32)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides which is kept."""
        return {"keep": self.name, "priority": list(self.priority)}

    @property
    def field(self) -> tuple[str, ...]:
        """The field that is compared; empty for rules without one. Where there is one, batches must hold records."""
        return tuple(self.name[4:].split(".")) if self.name.startswith(KEEP_BY_FIELD) else ()

    @property
    def described(self) -> str:
        """Which of several is kept."""
        if self.name == "none":
            return "none: each copy is a duplicate"
        rule = {"first": "the first in corpus order", "last": "the last in corpus order"}.get(self.name, "")
        if not rule:
            most = "greatest" if self.name.startswith("max:") else "least"
            which = f"one with the {most} `{self.name[4:]}`" if self.field else self.name
            rule = f"the {which}, of equal ones the first in corpus order"
        return f"{rule}; sources come in this order: {', '.join(self.priority)}" if self.priority else rule

    def ranks(self, batch: TextBatch) -> Floats:
        """The rank of each document; float64, shape `(n_docs,)`, -inf for a document without a value.

        Raises:
            DataError: a value of the field is neither a number nor a date.
        """
        if self.name in ("longest", "shortest"):
            characters = batch.view(code_points).astype(np.float64)
            return characters if self.name == "longest" else -characters
        if not self.field:
            return np.zeros(len(batch))
        if batch.records is None:
            raise ValueError("to keep by a field takes records: read_batches(..., records=True)")
        wanted, sign = JsonField(self.field), 1.0 if self.name.startswith("max:") else -1.0
        values = [self._number(wanted.of(record), batch, i) for i, record in enumerate(batch.records)]
        return np.array([-np.inf if value is None else sign * value for value in values], np.float64)

    def _number(self, value: Any, batch: TextBatch, i: int) -> float | None:
        if value is None or isinstance(value, bool | int | float):
            return None if value is None or value != value else _float(value)
        try:
            date = datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise DataError(
                f"`{'.'.join(self.field)}` is {printable(str(value)[:80])!r}, expected a number or a date such as "
                f"2024-05-31\n  `keep: {self.name}` compares documents by it: name another field",
                file=batch.path,
                line=int(batch.lines[i]),
            ) from None
        return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()

    def best(self, ranks: Floats, tiers: Tiers, starts: Ints) -> Ints:
        """The position of the document that is kept of each cluster; int64, shape `(n_clusters,)`, -1 where none is.

        The documents of a cluster are neighbours, in corpus order; `starts` says where each begins.

        >>> tiers = np.array([1, 1, 1, 1], np.uint32)
        >>> Keep("longest").best(np.array([3.0, 5.0, 5.0, 1.0]), tiers, np.array([0, 3])).tolist()
        [1, 3]
        """
        sizes = np.diff(np.append(starts, len(ranks)))
        lowest = np.minimum.reduceat(tiers, starts)
        first = tiers == np.repeat(lowest, sizes)
        if self.name == "last":
            found = np.flatnonzero(first)
            return found[np.searchsorted(found, starts + sizes) - 1]
        among = np.where(first, ranks, -np.inf)
        found = np.flatnonzero(first & (among == np.repeat(np.maximum.reduceat(among, starts), sizes)))
        best = found[np.searchsorted(found, starts)]
        return np.where(lowest > 0, -1, best) if self.name == "none" else best


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return sys.float_info.max if value > 0 else -sys.float_info.max
