"""Check finished attributes against a recipe, without code of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from dolma.config import TagConfig
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.manifest import Manifest, fingerprint, unlike_recipe
from dolma.taggers.registry import is_built_in, normal

SAMPLE_BYTES = 64 << 20
"""Of document files that are measured again; one at least."""


def unlike(config: TagConfig, reading: Reading, manifest: Manifest) -> Iterator[str]:
    """Where a set was made by another tagger, or by other options or limits, than those of the recipe's stage."""
    spec = next((spec for spec in map(normal, config.taggers) if manifest.name in (spec.name, spec.use)), None)
    if spec is None:
        return  # a tagger of somebody's file says itself what it is called
    limits = msgspec.to_builtins(config)
    del limits["taggers"]
    wanted = {"options": spec.options, **limits, **reading.identity}
    if is_built_in(spec):
        wanted["tagger"] = spec.use
    yield from unlike_recipe(manifest.config, wanted)


def sample(config: TagConfig, dataset: Dataset) -> tuple[TagConfig, Dataset] | None:
    """The built-in taggers, and some document files, the same ones every time; None without such a tagger."""
    taggers = [spec for spec in config.taggers if is_built_in(normal(spec))]
    if not taggers:
        return None
    chosen: list[str] = []
    n_bytes = 0
    for shard in sorted(dataset.shards(), key=lambda shard: fingerprint(shard.name)):
        n_bytes += shard.size
        if chosen and n_bytes > SAMPLE_BYTES:
            break
        chosen.append(shard.path)
    return msgspec.structs.replace(config, taggers=taggers), replace(
        dataset, documents=tuple(sorted(chosen)), exclude=()
    )
