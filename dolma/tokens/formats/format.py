"""What a format of token shards is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dolma.data.tokens import Dtype, IdsFile, TokenManifest, open_tokens

Counts = npt.NDArray[np.int64]


class OpenFile(Protocol):
    """Makes what ids are written to; `counts` are the tokens of each row of the shard, if the format needs them."""

    def __call__(self, path: str, dtype: Dtype, *, counts: Counts | None) -> IdsFile: ...


def no_counts(path: str, dtype: Dtype) -> Counts | None:
    """Of a format that does not say where documents end."""
    return None


def nothing_beside(folder: str, manifest: TokenManifest) -> list[str]:
    """Of a format without files that are of several shards."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFormat:
    """A format: `suffix` of a shard, and how it is written and read.

    `ids` reads all ids of a shard; `counts` the tokens of each row by the format's own index, None where it has none.
    `describe` writes files about all shards below the folder and gives their paths there. `csv` and `parquet`: whether
    rows lie beside a shard in these forms. `needs_counts`: whether the sizes of all documents are needed before the
    first of them is written.
    """

    name: str
    suffix: str
    open: OpenFile
    ids: Callable[[str, Dtype], npt.NDArray[Any]] = open_tokens
    counts: Callable[[str, Dtype], Counts | None] = no_counts
    describe: Callable[[str, TokenManifest], Sequence[str]] = nothing_beside
    csv: bool = False
    parquet: bool = True
    needs_counts: bool = False
