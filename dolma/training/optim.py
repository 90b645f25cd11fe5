"""AdamW with OLMo's parameter groups, and steps that leave no trace where a loss or gradient is out of bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from dolma.training.config import SkipStepConfig, TrainConfig


def is_decayed(name: str, config: TrainConfig) -> bool:
    """Whether weight decay is for the parameter of this name; by default all but embeddings (arXiv:2501.00656, 3.4)."""
    if name.startswith("embeddings."):
        return config.decay_embeddings
    return config.decay_norms or not name.endswith("norm.weight")


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over two groups: parameters that are decayed, and those that are not."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if is_decayed(name, config)], "weight_decay": config.weight_decay},
        {"params": [p for name, p in named if not is_decayed(name, config)], "weight_decay": 0.0},
    ]
    rate = 0.0 if config.learning_rate == "inherit" else config.learning_rate  # set before every step
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=rate, betas=config.betas, eps=config.eps, fused=True
    )


def clip(model: nn.Module, *, clip_norm: float) -> float:
    """The norm of the whole gradient before it is scaled down to `clip_norm`, if that is above 0."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if hasattr(norm, "full_tensor"):  # of parameters that are spread over processes
        norm = norm.full_tensor()
    if clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return float(norm)


def update(optimizer: torch.optim.AdamW, *, rate: float, skip: bool) -> None:
    """Step, unless it is to be skipped, and clear the gradients. A skipped step changes neither weights nor moments."""
    if not skip:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class SpikeGuard:
    """Which steps to skip: those with a loss or gradient norm that is not finite, or far above the recent ones.

    The rule is that of OLMo-core's SkipStepOptimizer: above the mean of the last `interval` values by more than
    `sigmas` of their standard deviations, once there are half as many. Values that are not finite are not remembered.
    """

    def __init__(
        self, config: SkipStepConfig | None, losses: Sequence[float] = (), norms: Sequence[float] = ()
    ) -> None:
        self.config, self.losses, self.norms = config, list(losses), list(norms)

    def skips(self, loss: float, norm: float) -> bool:
        """Whether to skip the step of this loss and norm, which are remembered."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return True
        if self.config is None:
            return False
        spike = self._is_spike(loss, self.losses) or self._is_spike(norm, self.norms)
        for values, value in ((self.losses, loss), (self.norms, norm)):
            values.append(value)
            del values[: -self.config.interval]
        return spike

    def _is_spike(self, value: float, recent: list[float]) -> bool:
        assert self.config is not None
        if len(recent) + 1 < max(3, self.config.interval // 2):
            return False
        mean = math.fsum(recent) / len(recent)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in recent) / (len(recent) - 1))
        return value - mean > self.config.sigmas * deviation
