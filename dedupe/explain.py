"""What the bands and rows of near-duplicates find, for `dolma dedupe --explain`."""

from __future__ import annotations

from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.minhash import MinHash
from dolma.errors import ConfigError
from dolma.runner.report import Table


def explain(config: DedupeConfig) -> list[Table]:
    """The share of pairs of each similarity that the bands and rows find.

    Raises:
        ConfigError: the method has no bands.
    """
    if config.method != "minhash":
        raise ConfigError("there are no bands to explain\n  give `--method minhash`, or a recipe that has it")
    method = MinHash.of(config)
    bands = method.likeness.bands
    title = (
        f"{config.name}: {bands.n} bands of {bands.rows} rows find {bands.found(method.threshold):.1%} of pairs at "
        f"the threshold {method.threshold}; {method.described}"
    )
    rows = [(f"{similarity:.2f}", f"{found:.2%}") for similarity, found in bands.curve()]
    return [Table(title=title, headers=["similarity", "found"], rows=rows)]
