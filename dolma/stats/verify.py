"""Check finished statistics."""

from __future__ import annotations

from collections.abc import Iterator

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import Manifest, differences
from dolma.runner.ledger import Ledger


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and `stat.json` does not fit."""
    found = decode_json(streams.read_bytes(streams.join(folder, "stat.json")), dict)
    pair = sorted(manifest.config["attributes"]), sorted(found["attributes"])
    yield from differences("stat.json", attributes=pair)
