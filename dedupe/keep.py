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
from dolma.errors import DataError
from dolma.kernels.views import code_points
from dolma.names import KEEP_BY_FIELD
from dolma.printable import printable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Keep:
    """The rule of this name: the document with the highest rank is kept; of equal ones, the first in corpus order."""

    name: str

    @property
    def field(self) -> tuple[str, ...]:
        """The field that is compared; empty for rules without one. Where there is one, batches must hold records."""
        return tuple(self.name[4:].split(".")) if self.name.startswith(KEEP_BY_FIELD) else ()

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

    def best(self, ranks: Floats, starts: Ints) -> Ints:
        """The position of the document that is kept of each cluster; int64, shape `(n_clusters,)`, -1 where none is.

        The documents of a cluster are neighbours, in corpus order; `starts` says where each begins.

        >>> Keep("longest").best(np.array([3.0, 5.0, 5.0, 1.0]), np.array([0, 3])).tolist()
        [1, 3]
        """
        ends = np.append(starts[1:], len(ranks))
        if self.name == "none":
            return np.full(len(starts), -1)
        if self.name == "last":
            return ends - 1
        highest = np.flatnonzero(ranks == np.repeat(np.maximum.reduceat(ranks, starts), ends - starts))
        return highest[np.searchsorted(highest, starts)]


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return sys.float_info.max if value > 0 else -sys.float_info.max
