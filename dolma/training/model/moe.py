"""A dropless mixture of experts (Muennighoff et al. 2024, OLMoE, arXiv:2409.02060, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dolma.training.config import ExpertsConfig, ModelConfig

grouped_mm: Any = getattr(F, "grouped_mm", None)
"""Products of groups of rows with a matrix each; None where torch has none."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What one layer's router did; the losses of its tokens follow from it.

    `logits`: float32, `(tokens, experts)`. `chosen`: int64, `(tokens, active)`, the experts of each token.
    """

    logits: torch.Tensor
    chosen: torch.Tensor


class Router(nn.Module):
    """Scores of all experts for each token. The weight is stored flat, as in OLMo-core: expert after expert."""

    def __init__(self, d_model: int, experts: int) -> None:
        super().__init__()
        self.experts = experts
        self.weight = nn.Parameter(torch.empty(experts * d_model))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32, `(tokens, experts)`."""
        return F.linear(x, self.weight.view(self.experts, -1)).float()


class Experts(nn.Module):
    """The gated MLPs of all experts: `w1` gates, `w3` goes up, `w2` comes down.

    Each is stored as `(experts * hidden, d_model)`, as in OLMo-core.
    """

    def __init__(self, config: ModelConfig, count: int) -> None:
        super().__init__()
        self.count = count
        shape = (count * config.mlp_hidden, config.d_model)
        self.w1 = nn.Parameter(torch.empty(shape))
        self.w2 = nn.Parameter(torch.empty(shape))
        self.w3 = nn.Parameter(torch.empty(shape))

    def forward(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """`x` holds the tokens of expert 0, then those of expert 1, …, which end before `ends`; int32, `(experts,)`.

        Without a number that has to leave the device, where torch has products of groups for these widths.
        """
        w1, w2, w3 = (weight.unflatten(0, (self.count, -1)) for weight in (self.w1, self.w2, self.w3))
        if has_grouped_products(x, w1):
            x, w1, w2, w3 = (_as_products_take(tensor) for tensor in (x, w1, w2, w3))
            up = partial(grouped_mm, offs=ends)
            return up(F.silu(up(x, w1.transpose(1, 2))) * up(x, w3.transpose(1, 2)), w2)
        places, most = _side_by_side(ends, len(x))
        padded = x.new_zeros(self.count * most, x.shape[1]).index_copy(0, places, x).view(self.count, most, -1)
        gated = F.silu(padded @ w1.transpose(1, 2)) * (padded @ w3.transpose(1, 2))
        return (gated @ w2).flatten(0, 1)[places]


def has_grouped_products(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether torch multiplies groups of rows by a matrix each, of this type and these widths, on this device.

    Rows must begin at multiples of 16 bytes. Off the CPU only 16-bit numbers are multiplied so without a loop.
    """
    low = _type_of_products(x)
    aligned = all(width * low.itemsize % 16 == 0 for width in weight.shape[1:])
    return grouped_mm is not None and aligned and (low.itemsize == 2 or (x.is_cpu and low == torch.float32))


def _type_of_products(x: torch.Tensor) -> torch.dtype:
    kind = x.device.type
    lowered = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if lowered else x.dtype


def _as_products_take(x: torch.Tensor) -> torch.Tensor:
    # Autocast knows nothing of products of groups.
    return x.to(_type_of_products(x))


def _side_by_side(ends: torch.Tensor, n: int) -> tuple[torch.Tensor, int]:
    """The places of `n` tokens where each expert has as many as the one with the most; and how many that are."""
    counts = ends.diff(prepend=ends.new_zeros(1))
    most = int(counts.max())
    numbers = torch.arange(n, device=ends.device)
    experts = torch.searchsorted(ends, numbers, right=True)
    return experts * most + numbers - (ends - counts)[experts], most


def tokens_by_expert(chosen: torch.Tensor, *, experts: int) -> torch.Tensor:
    """How many tokens each expert is given; int64, `(experts,)`."""
    chosen = chosen.flatten()
    return chosen.new_zeros(experts).scatter_add(0, chosen, torch.ones_like(chosen))


class MixtureOfExperts(nn.Module):
    """Each token through its `active` likeliest experts, weighted by their probabilities, not renormalised."""

    def __init__(self, config: ModelConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        self.active = experts.active
        self.router = Router(config.d_model, experts.count)
        self.experts = nn.ModuleDict({"mlp": Experts(config, experts.count)})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Routing]:
        tokens = x.flatten(0, 1)
        logits = self.router(tokens)
        weights, chosen = torch.softmax(logits, dim=-1).topk(self.active, dim=-1)
        order = chosen.flatten().argsort(stable=True)
        ends = tokens_by_expert(chosen, experts=logits.shape[-1]).cumsum(0, dtype=torch.int32)
        given = self.experts["mlp"](tokens[order // self.active], ends)
        weighted = given * weights.flatten()[order, None].to(given.dtype)
        mixed = torch.zeros_like(tokens).index_add(0, order // self.active, weighted.to(tokens.dtype))
        return mixed.view_as(x), Routing(logits, chosen)
