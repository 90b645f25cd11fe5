"""Measurements of documents: a module per family of taggers, their registry, and the stage that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dolma.stages import Checks, Node, Running, Stage

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.manifest import Manifest, OutputFile
    from dolma.requirements import Finding
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport


def _run(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    from dolma.taggers.tag import tag

    yield tag(node.dataset, node.config, reading=node.reading, options=running.options, reporter=running.reporter)


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    from dolma.taggers.tag import plan

    return plan(node.dataset, node.config, reading=node.reading)


def _declares(node: Node) -> Mapping[str, Mapping[str, Output]]:
    from dolma.taggers.limits import outputs_of
    from dolma.taggers.registry import make_taggers

    return {tagger.name: outputs_of(tagger) for tagger in make_taggers(node.config.taggers)}


def _sets(node: Node) -> list[str]:
    given = node.config.taggers
    specs = [(spec, spec) if isinstance(spec, str) else (spec.name or spec.use, spec.use) for spec in given]
    # The tagger of a file says itself what it is called.
    return [name for name, use in specs if name != use or use.isidentifier()]


def _again(node: Node) -> Mapping[str, str]:
    from dolma.taggers.tag import made_again

    return made_again(node.dataset, node.config, reading=node.reading)


def _needs(node: Node) -> Iterator[Finding]:
    from dolma.taggers.needs import findings

    return findings(node.config.taggers, node.dataset, node.reading)


def _accept(report: StageReport[Any], max_errors: int) -> None:
    from dolma.taggers.tag import check_measured

    check_measured(report, max_errors)


def _rows(out: OutputFile, path: str) -> int:
    from dolma.runner.attribute_sets import count_rows

    return count_rows(out, path)


def _contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.data.manifest import differences
    from dolma.runner.attribute_sets import contradictions

    pair = len(manifest.outputs), len(manifest.inputs)
    yield from differences("its list of inputs", **{"number of files": pair})
    yield from contradictions(folder, manifest, ledger, options=lambda _: manifest.config["options"])


STAGE = Stage(
    name="tag",
    folder="attributes",
    reads=("documents",),
    writes="attributes",
    beginning="loading taggers, looking at the documents",
    imports=True,
    run=_run,
    plan=_plan,
    declares=_declares,
    sets=_sets,
    again=_again,
    needs=_needs,
    accept=_accept,
    checks={"tag": Checks(rows=_rows, contradictions=_contradictions)},
)
