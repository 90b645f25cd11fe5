"""What a user of another trainer pastes into its config: paths, type, vocabulary, end-of-text and weights, as YAML.

Paths are relative to the folder of the shards, so that the folder can be moved and holds no path of a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import yaml

from dolma.amounts import share_out
from dolma.data import streams
from dolma.data.tokens import TokenManifest, TokenShardInfo

_PARTS = 10**9


def paste(folder: str, name: str, content: Mapping[str, Any], *, about: Sequence[str]) -> list[str]:
    """Write the YAML file with these lines of comment; its path below the folder."""
    text = "".join(f"# {line}\n" for line in about) + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    streams.write_bytes(streams.join(folder, name), text.encode())
    return [name]


def by_source(manifest: TokenManifest) -> dict[str, list[TokenShardInfo]]:
    """The shards of each source, in order; one of no name where sources are mixed."""
    found: dict[str, list[TokenShardInfo]] = {}
    for info in manifest.shards:
        found.setdefault(info.source or "", []).append(info)
    return found


def shares(manifest: TokenManifest) -> dict[str, float]:
    """The share of each source in all tokens, in billionths that add up to 1."""
    sizes = {source: sum(info.tokens for info in some) for source, some in by_source(manifest).items()}
    parts = share_out(_PARTS, list(map(Fraction, sizes.values())))
    return {source: part / _PARTS for source, part in zip(sizes, parts, strict=True)}
