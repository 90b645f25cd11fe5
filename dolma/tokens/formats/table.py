"""All formats of token shards."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from dolma.data.tokens import TokenManifest
from dolma.errors import DataError, did_you_mean
from dolma.tokens.formats import datatrove, dolma, mds, megatron, parquet
from dolma.tokens.formats.format import TokenFormat

FORMATS = {one.name: one for one in (dolma.FORMAT, datatrove.FORMAT, megatron.FORMAT, mds.FORMAT, parquet.FORMAT)}


def format_of(manifest: TokenManifest) -> TokenFormat:
    """The format of these shards.

    Raises:
        DataError: there is none of this name.
    """
    if manifest.format not in FORMATS:
        raise DataError(
            f"tokens.json says that the shards have the format {manifest.format!r}\n  "
            + did_you_mean(manifest.format, FORMATS)
        )
    return FORMATS[manifest.format]


def read_ids(path: str, manifest: TokenManifest) -> npt.NDArray[Any]:
    """All ids of a shard, mapped where the format is raw.

    Raises:
        DataError: the shard cannot be read.
    """
    return format_of(manifest).ids(path, manifest.dtype)
