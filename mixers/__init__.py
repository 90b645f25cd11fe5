"""Rules, span edits and samples of documents, and the stage that applies them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dolma.stages import Checks, Node, Running, Stage

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.manifest import Manifest, OutputFile
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport, Table


def _run(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    from dolma.mixers.mix import mix

    yield mix(
        node.dataset,
        node.config,
        output=node.folder,
        reading=node.reading,
        options=running.options,
        seed=node.seed,
        reporter=running.reporter,
    )


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    from dolma.mixers.mix import plan

    return plan(node.dataset, node.config, output=node.folder, reading=node.reading, seed=node.seed)


def _preview(node: Node, running: Running) -> StageReport[Any]:
    from dolma.mixers.mix import preview

    return preview(
        node.dataset,
        node.config,
        reading=node.reading,
        options=running.options,
        seed=node.seed,
        reporter=running.reporter,
    )


def _check(node: Node, declared: Mapping[str, Mapping[str, Output]]) -> None:
    from dolma.mixers.mix import check

    check(node.dataset, node.config, declared=declared)


def _doubts(node: Node) -> list[str]:
    from dolma.mixers.subject import doubtful_sources

    return doubtful_sources(node.dataset, node.config, node.reading)


def _check_corpus(node: Node, ledger: Ledger) -> None:
    from dolma.mixers.sampling import check_corpus

    check_corpus(node.config, ledger)


def _again(node: Node) -> Mapping[str, str]:
    from dolma.mixers.mix import made_again

    why = made_again(node.dataset, node.config, output=node.folder, reading=node.reading, seed=node.seed)
    return {"": why} if why else {}


def _show(report: StageReport[Any]) -> Iterator[Table]:
    from dolma.mixers.notes import tables

    return tables(report.ledger, report.details)


def _rows(out: OutputFile, path: str) -> int:
    from dolma.mixers.verify import count_rows

    return count_rows(out, path)


def _contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.mixers.verify import contradictions

    return contradictions(folder, manifest, ledger)


STAGE = Stage(
    name="mix",
    folder="mixed",
    reads=("documents", "attributes"),
    writes="documents",
    beginning="checking rules, looking at documents and attributes",
    kept=True,
    run=_run,
    plan=_plan,
    preview=_preview,
    check=_check,
    doubts=_doubts,
    check_corpus=_check_corpus,
    again=_again,
    show=_show,
    checks={"mix": Checks(rows=_rows, contradictions=_contradictions)},
)
