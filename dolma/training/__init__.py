"""The training stage. Importing this package does not import torch; training does."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.stages import Checks, Node, Running, Stage
from dolma.training.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from dolma.data.columns import Output
    from dolma.data.manifest import Manifest
    from dolma.requirements import Finding
    from dolma.runner.ledger import Ledger
    from dolma.runner.report import StageReport
    from dolma.training.trainer import TrainResult

__all__ = ["STAGE", "ModelConfig", "TrainConfig", "generate_text", "train"]


def train(
    config: TrainConfig,
    *,
    tokens: str | Sequence[str] | None = None,
    output: str,
    overwrite: bool = False,
    progress: Callable[..., None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """`dolma.training.trainer.train`, once torch is known to be there.

    Raises:
        MissingExtraError: torch or safetensors is not installed.
        ConfigError: no preset has the model's name.
    """
    require_torch()
    from dolma.training.presets import resolve_model

    resolve_model(config.model)  # before torch is imported, which takes seconds
    from dolma.training.trainer import train as run

    return run(config, tokens=tokens, output=output, overwrite=overwrite, progress=progress, stop=stop)


def generate_text(checkpoint: str, tokenizer: str, prompt: str, **options: Any) -> str:
    """`dolma.training.generate.generate_text`, once torch is known to be there."""
    require_torch()
    from dolma.training.generate import generate_text as generate

    return generate(checkpoint, tokenizer, prompt, **options)


def require_torch() -> None:
    """Return when what training needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra="train", purpose="dolma train")


# --- the stage -------------------------------------------------------------------------------------------------------


def _run(node: Node, running: Running) -> Iterator[StageReport[TrainResult]]:
    from dolma.runner.report import StageReport

    result = train(
        node.config,
        tokens=node.tokens,
        output=node.folder,
        overwrite=running.options.overwrite,
        progress=running.on_step,
        stop=running.stop,
    )
    yield StageReport(
        stage="train",
        name="train",
        folder=node.folder,
        complete_before=result.already_complete,
        warnings=result.warnings,
        done=(
            f"{result.steps:,} steps, {result.tokens:,} tokens, "
            f"loss {result.first_loss:.3f} -> {result.last_loss:.3f}, {result.checkpoint}"
        ),
        stopped=f"stopped after step {result.steps:,}, saved in {result.checkpoint}" if result.stopped else "",
        details=result,
    )


def _plan(node: Node) -> Iterator[dict[str, Any]]:
    yield {"input": ", ".join(node.tokens), "output": node.folder, **msgspec.to_builtins(node.config)}


def _check(node: Node, declared: Mapping[str, Mapping[str, Output]]) -> None:
    from dolma.training.presets import resolve_model

    resolve_model(node.config.model)
    _check_token_folders(node.config, node.home)
    require_torch()


def _check_token_folders(train: TrainConfig, home: str | None) -> None:
    """Return when every folder of token shards that a mixture or an evaluation names is there, or is yet to be made."""
    stages = [("$.train", train.sources), *((f"$.train.stages[{i}]", s.sources) for i, s in enumerate(train.stages))]
    named = [
        (f"{path}.sources.{name}.tokens", source.tokens)
        for path, sources in stages
        for name, source in (sources or {}).items()
    ]
    if train.evaluate is not None:
        named += [(f"$.train.evaluate.sources.{name}", tokens) for name, tokens in train.evaluate.sources.items()]
    for path, tokens in named:
        for folder in [tokens] if isinstance(tokens, str) else tokens:
            made_here = home is not None and f"{folder}/".startswith(f"{home.rstrip('/')}/")
            if "://" in folder or made_here or os.path.exists(folder):
                continue
            parent, name = os.path.split(folder.rstrip("/"))
            beside = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
            near = f"\n  {did_you_mean(name, beside)}" if beside else ""
            raise ConfigError(f"no such folder of token shards: {folder}{near}", path=path)


def _needs(node: Node) -> Iterator[Finding]:
    from dolma.requirements import extra_finding

    yield extra_finding("train", purpose="train")


def _ending(node: Node, report: StageReport[TrainResult]) -> Iterator[str]:
    from dolma.data import streams
    from dolma.data.tokens import read_token_manifest

    result = report.details
    yield f"loss: {result.first_loss:.3f} at the start, {result.last_loss:.3f} after {result.steps:,} steps"
    if node.reads:
        tokenizer = streams.join(node.tokens[0], read_token_manifest(node.tokens[0]).tokenizer)
        config: TrainConfig = node.config
        text = generate_text(
            result.checkpoint, tokenizer, config.prompt, max_tokens=config.sample_tokens, seed=config.seed
        )
        yield f"sample: {text!r}"


def _gone(folder: str, manifest: Manifest) -> Iterator[str]:
    from dolma.training.verify import gone

    return gone(folder, manifest)


def _of_run(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.training.verify import of_run

    return of_run(folder, manifest, ledger)


def _of_checkpoint(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    from dolma.training.verify import of_checkpoint

    return of_checkpoint(folder, manifest, ledger)


STAGE = Stage(
    name="train",
    folder="train",
    reads=("tokens",),
    writes="checkpoints",
    beginning="loading torch, looking at the token shards",
    kept=True,
    stops=True,
    run=_run,
    plan=_plan,
    check=_check,
    needs=_needs,
    ending=_ending,
    checks={
        "train": Checks(problems=_gone, contradictions=_of_run, strangers=True),
        "checkpoint": Checks(contradictions=_of_checkpoint),
    },
)
