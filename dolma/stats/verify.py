"""Check finished statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dolma.config import StatConfig
from dolma.data import streams
from dolma.data.documents import Reading
from dolma.data.json_text import decode_json
from dolma.data.manifest import Manifest, differences, unlike_recipe
from dolma.runner.ledger import Ledger


def contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a manifest and `stat.json` does not fit."""
    found = decode_json(streams.read_bytes(streams.join(folder, "stat.json")), dict)
    pair = sorted(manifest.config["attributes"]), sorted(found["attributes"])
    yield from differences("stat.json", attributes=pair)


def unlike(config: StatConfig, reading: Reading, manifest: Manifest, tokens: Sequence[str] = ()) -> Iterator[str]:
    """Where statistics were made by other settings than those of the recipe's stage."""
    wanted = {
        "bins": config.bins,
        "quantiles": config.quantiles,
        "borders": config.borders,
        "borders_by": config.borders_by,
        "tokens": bool(config.tokens or tokens),
        **reading.identity,
    }
    if config.attributes is not None:
        wanted["attributes"] = config.attributes
    return unlike_recipe(manifest.config, wanted)
