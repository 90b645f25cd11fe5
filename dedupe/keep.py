"""Which document of a cluster is kept."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
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
            return None if value is None or value != value else float(value)
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

    def best(self, ranks: Sequence[float] | Floats) -> int | None:
        """The position of the document that is kept of a cluster in corpus order; None where none is.

        >>> Keep("longest").best([3.0, 5.0, 5.0])
        1
        """
        if self.name == "none":
            return None
        return len(ranks) - 1 if self.name == "last" else int(np.argmax(ranks))
