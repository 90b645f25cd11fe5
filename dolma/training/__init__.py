"""The training stage. Importing this package does not import torch; training does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dolma.errors import MissingExtraError
from dolma.stages import Checks, Manual, Stage
from dolma.training.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from dolma.runner.options import RunOptions
    from dolma.runner.progress import Reporter
    from dolma.runner.report import StageReport
    from dolma.training.trainer import TrainResult

__all__ = ["STAGE", "ModelConfig", "TrainConfig", "generate_text", "train"]


def train(
    config: TrainConfig,
    *,
    tokens: str | Sequence[str] | None = None,
    output: str,
    options: RunOptions | None = None,
    on_step: Callable[..., None] | None = None,
    stop: Callable[[], bool] | None = None,
    reporter: Reporter | None = None,
) -> StageReport[TrainResult]:
    """`dolma.training.trainer.train`, once torch is known to be there.

    Raises:
        MissingExtraError: torch or safetensors is not installed.
        ConfigError: no preset has the model's name.
    """
    require_torch()
    from dolma.runner.options import RunOptions
    from dolma.runner.report import StageReport
    from dolma.training.presets import resolve_model

    resolve_model(config.model)  # before torch is imported, which takes seconds
    from dolma.training.trainer import train as run

    asked = options or RunOptions()
    result = run(
        config,
        tokens=tokens,
        output=output,
        overwrite=asked.overwrite,
        progress=on_step,
        stop=stop,
        note=reporter.note if reporter is not None else None,
        check_inputs=asked.check_inputs,
    )
    return StageReport(
        stage="train",
        name="train",
        folder=output,
        complete_before=result.already_complete,
        warnings=result.warnings,
        done=(
            f"{result.steps:,} steps, {result.tokens:,} tokens, "
            f"loss {result.first_loss:.3f} -> {result.last_loss:.3f}, {result.checkpoint}"
        ),
        stopped=f"stopped after step {result.steps:,}, saved in {result.checkpoint}" if result.stopped else "",
        details=result,
    )


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


STAGE = Stage(
    name="train",
    folder="train",
    reads=("tokens",),
    writes="checkpoints",
    beginning="loading torch, looking at the token shards",
    kept=True,
    stops=True,
    run="dolma.training:train",
    plan="dolma.training.recipe:plan",
    check="dolma.training.recipe:check",
    again="dolma.training.recipe:again",
    unlike="dolma.training.verify:unlike",
    recomputed="dolma.training.verify:recomputed",
    needs="dolma.training.recipe:needs",
    ending="dolma.training.recipe:ending",
    manual=Manual(
        help="""Train an OLMo model on token shards; stops and goes on exactly where it was.

        Needs the extra: pip install 'dolma[train]'. On several devices: torchrun --nproc-per-node N -m dolma train ...
        """,
        example="""
        dolma train --tokens runs/quickstart/tokens --model olmo2_quickstart --steps 200 --output runs/model
        """,
        options={
            "Model": ("model",),
            "Optimisation": ("steps", "batch_size", "sequence_length", "learning_rate", "seed"),
            "Running": ("threads",),
        },
        needed=("--model", "--tokens", "--output"),
        output="Folder of checkpoints and step log.",
        below=("plan", "presets", "export", "soup"),
    ),
    checks={
        "train": Checks(
            problems="dolma.training.verify:problems", contradictions="dolma.training.verify:of_run", strangers=True
        ),
        "checkpoint": Checks(contradictions="dolma.training.verify:of_checkpoint"),
    },
)
