"""Copies in a corpus, and the stage that marks them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dolma.stages import Checks, Node, Running, Stage

if TYPE_CHECKING:
    from dolma.config import DedupeConfig
    from dolma.data.columns import Output
    from dolma.data.manifest import Manifest, OutputFile
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport


def _configs(node: Node) -> list[DedupeConfig]:
    return node.config if isinstance(node.config, list) else [node.config]


def _run(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    from dolma.dedupers.exact import dedupe

    for config in _configs(node):
        yield dedupe(node.dataset, config, reading=node.reading, options=running.options, reporter=running.reporter)


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    from dolma.dedupers.exact import plan

    for config in _configs(node):
        yield from plan(node.dataset, config, reading=node.reading)


def _declares(node: Node) -> Mapping[str, Mapping[str, Output]]:
    from dolma.dedupers.exact import outputs_of

    return {config.name: outputs_of(config) for config in _configs(node)}


def _sets(node: Node) -> list[str]:
    return [config.name for config in _configs(node)]


def _again(node: Node) -> Mapping[str, str]:
    from dolma.dedupers.exact import made_again

    found = {config.name: made_again(node.dataset, config, reading=node.reading) for config in _configs(node)}
    return {name: why for name, why in found.items() if why}


def _rows(out: OutputFile, path: str) -> int:
    from dolma.runner.attribute_sets import count_rows

    return count_rows(out, path)


def _contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.runner.attribute_sets import contradictions

    config = manifest.config
    return contradictions(folder, manifest, ledger, options=lambda given: {key: config.get(key) for key in given})


STAGE = Stage(
    name="dedupe",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="looking at the documents",
    bare=True,
    run=_run,
    plan=_plan,
    declares=_declares,
    sets=_sets,
    again=_again,
    checks={"dedupe": Checks(rows=_rows, contradictions=_contradictions)},
)
