"""Norms over the last dimension, computed in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dolma.training.config import ModelConfig


class RMSNorm(nn.Module):
    """`weight * x / sqrt(mean(x^2) + eps)`, in the type of `x` (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, size: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """`(x - mean(x)) / sqrt(var(x) + eps)`: without weights, as in OLMo 1 (arXiv:2402.00838, section 2.1)."""

    def __init__(self, size: int, *, eps: float) -> None:
        super().__init__()
        self.size, self.eps = size, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x.float(), (self.size,), eps=self.eps).to(x.dtype)


def norm_of(config: ModelConfig, size: int) -> RMSNorm | LayerNorm:
    """The norm that a model uses, for vectors of this size."""
    return (RMSNorm if config.norm == "rms" else LayerNorm)(size, eps=config.norm_eps)
