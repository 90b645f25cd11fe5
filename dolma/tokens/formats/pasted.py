"""What a user of another trainer pastes into its config: paths, type, vocabulary, end-of-text and weights, as YAML.

Paths are relative to the folder of the shards, so that the folder can be moved and holds no path of a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dolma.data import streams
from dolma.data.tokens import TokenManifest, TokenShardInfo


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
    """The share of each source in all tokens; the last digits make up exactly 1."""
    sizes = {source: sum(info.tokens for info in some) for source, some in by_source(manifest).items()}
    found = {source: round(n / manifest.tokens, 6) for source, n in sizes.items()}
    last = list(found)[-1]
    found[last] = round(1 - sum(share for source, share in found.items() if source != last), 6)
    return found
