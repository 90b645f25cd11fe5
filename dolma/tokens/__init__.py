"""Tokenizers and token shards, and the stage that writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dolma.stages import Checks, Node, Running, Stage

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.manifest import Manifest
    from dolma.requirements import Finding
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport, Table


def _run(node: Node, running: Running) -> Iterator[StageReport[Any]]:
    from dolma.tokens.tokenize import tokenize

    yield tokenize(
        node.dataset,
        node.config,
        output=node.folder,
        reading=node.reading,
        options=running.options,
        seed=node.seed,
        reporter=running.reporter,
    )


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    from dolma.tokens.tokenize import plan

    return plan(node.dataset, node.config, output=node.folder, reading=node.reading, seed=node.seed)


def _check(node: Node, declared: Mapping[str, Mapping[str, Output]]) -> None:
    from dolma.tokens.encoder import encoder_of
    from dolma.tokens.tokenizer import read_facts

    encoder_of(read_facts(node.config), allow_special_tokens=node.config.allow_special_tokens)


def _again(node: Node) -> Mapping[str, str]:
    from dolma.tokens.tokenize import made_again

    why = made_again(node.dataset, node.config, output=node.folder, reading=node.reading, seed=node.seed)
    return {"": why} if why else {}


def _needs(node: Node) -> Iterator[Finding]:
    from dolma.errors import ConfigError
    from dolma.requirements import Finding

    what = f"tokenizer {node.config.tokenizer}"
    try:
        _check(node, {})
    except ConfigError as error:
        yield Finding(what=what, ok=False, get=error.message)
    else:
        yield Finding(what=what, ok=True)


def _show(report: StageReport[Any]) -> Iterator[Table]:
    from dolma.runner.report import ledger_table

    yield ledger_table(report.ledger)


def _problems(folder: str, manifest: Manifest) -> list[str]:
    from dolma.tokens.verify import verify_tokens

    return verify_tokens(folder)


def _contradictions(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.tokens.verify import contradictions

    return contradictions(folder, manifest, ledger)


STAGE = Stage(
    name="tokenize",
    folder="tokens",
    reads=("documents",),
    writes="tokens",
    beginning="loading the tokenizer, looking at the documents",
    after_mix=True,
    kept=True,
    run=_run,
    plan=_plan,
    check=_check,
    again=_again,
    needs=_needs,
    show=_show,
    checks={"tokenize": Checks(problems=_problems, contradictions=_contradictions)},
)
