"""Other places that steps are logged to, as they happen: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from dolma.data import streams
from dolma.errors import MissingExtraError
from dolma.printable import printable
from dolma.training.config import TrainConfig
from dolma.training.evaluate import Evaluation
from dolma.training.metrics import StepRecord


class Observer(Protocol):
    """Is told numbers by name after a step."""

    def log(self, values: dict[str, float], *, step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files that `tensorboard --logdir` shows."""

    def __init__(self, folder: str) -> None:
        _require("tensorboard", purpose="`tensorboard: true`")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder)

    def log(self, values: dict[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of a project; offline where WANDB_MODE says so."""

    def __init__(self, project: str, *, name: str, settings: dict[str, Any]) -> None:
        _require("wandb", purpose="`wandb`")
        import wandb

        self._run = wandb.init(project=project, name=name, config=settings, resume="allow")

    def log(self, values: dict[str, float], *, step: int) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


@contextmanager
def observing(config: TrainConfig, output: str, settings: dict[str, Any]) -> Iterator[list[Observer]]:
    """The observers that a recipe asks for, closed at the end of the block.

    Raises:
        MissingExtraError: the library of one is not installed.
    """
    observers: list[Observer] = []
    try:
        if config.tensorboard:
            observers.append(TensorBoard(streams.join(output, "tensorboard")))
        if config.wandb:
            observers.append(WeightsAndBiases(config.wandb, name=output, settings=settings))
        yield observers
    finally:
        for observer in observers:
            observer.close()


def values_of_step(record: StepRecord) -> dict[str, float]:
    """The numbers of a step by the names they are shown under."""
    values = {
        "train/loss": record.loss,
        "train/z_loss": record.z_loss,
        "train/grad_norm": record.grad_norm,
        "train/lr": record.lr,
        "train/skipped": float(record.skipped),
        "train/tokens": float(record.tokens),
        "speed/tokens_per_second": record.tokens_per_second,
        "speed/data_wait": record.data_wait,
    }
    return values | {f"train/loss/{printable(source)}": loss for source, loss in record.loss_by_source.items()}


def values_of_evaluation(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation by the names they are shown under."""
    values = {
        f"eval/{printable(name)}/bits_per_byte": found.bits_per_byte for name, found in evaluation.held_out.items()
    }
    for name, accuracy in evaluation.tasks.items():
        for kind in ("raw", "per_token", "per_byte", "exact_match"):
            value = getattr(accuracy, kind)
            if value is not None:
                values[f"eval/{printable(name)}/{kind}"] = value
    return values


def _require(package: str, *, purpose: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, extra=package, purpose=purpose)
