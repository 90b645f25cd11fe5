"""The training stage. Importing this package does not import torch; training does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dolma.errors import MissingExtraError
from dolma.training.config import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from dolma.training.trainer import TrainResult

__all__ = ["ModelConfig", "TrainConfig", "generate_text", "train"]


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
    """
    require_torch()
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
