"""Counts, quantiles and histograms of documents and attributes, and the stage that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from dolma.errors import ConfigError
from dolma.stages import Checks, Node, Running, Stage

if TYPE_CHECKING:
    from dolma.config import StatConfig
    from dolma.data.manifest import Manifest
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport, Table


def _config(node: Node) -> StatConfig:
    config: StatConfig = node.config
    if config.tokens is not None or not node.tokens:
        return config
    if len(node.tokens) > 1:
        raise ConfigError(f"{len(node.tokens)} folders, expected one", path=f"{node.path}.tokens")
    return msgspec.structs.replace(config, tokens=node.tokens[0])


def _run(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    from dolma.stats.stat import stat

    yield stat(
        node.dataset,
        _config(node),
        output=node.output,
        reading=node.reading,
        options=running.options,
        reporter=running.reporter,
    )


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    from dolma.stats.stat import plan

    return plan(node.dataset, node.config, output=node.output, reading=node.reading)


def _show(report: StageReport[Any]) -> Iterator[Table]:
    from dolma.stats.statistics import tables

    return tables(report.details)


def _contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.stats.verify import contradictions

    return contradictions(folder, manifest, ledger)


STAGE = Stage(
    name="stat",
    folder="stat",
    reads=("documents", "attributes", "tokens"),
    writes="statistics",
    beginning="looking at documents and attributes",
    bare=True,
    run=_run,
    plan=_plan,
    show=_show,
    checks={"stat": Checks(contradictions=_contradictions)},
)
