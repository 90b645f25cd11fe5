"""What the settings of a method come to, for `dolma dedupe --explain`; no document is read."""

from __future__ import annotations

from dataclasses import replace

from dolma.dedupers.config import DedupeConfig
from dolma.dedupers.dedupe import method_of
from dolma.runner.report import Table


def explain(config: DedupeConfig) -> list[Table]:
    """What is compared and what counts; of near-duplicates, the share of pairs of each similarity that is found.

    Raises:
        ConfigError: the config cannot be run like this.
    """
    table = method_of(config).explained
    return [replace(table, title=f"{config.name}: {table.title}")]
