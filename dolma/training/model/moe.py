"""A dropless mixture of experts (Muennighoff et al. 2024, OLMoE, arXiv:2409.02060, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dolma.training.config import ExpertsConfig, ModelConfig


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

    def forward(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """`x` holds the tokens of expert 0, then those of expert 1, …: `counts` of each; int64, `(experts,)`."""
        w1, w2, w3 = (weight.unflatten(0, (self.count, -1)) for weight in (self.w1, self.w2, self.w3))
        parts = []
        for expert, tokens in enumerate(x.split(counts.tolist())):
            gated = F.silu(F.linear(tokens, w1[expert])) * F.linear(tokens, w3[expert])
            parts.append(F.linear(gated, w2[expert].T))
        return torch.cat(parts)


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
        counts = torch.bincount(chosen.flatten(), minlength=logits.shape[-1])
        given = self.experts["mlp"](tokens[order // self.active], counts)
        weighted = given * weights.flatten()[order, None].to(given.dtype)
        mixed = torch.zeros_like(tokens).index_add(0, order // self.active, weighted.to(tokens.dtype))
        return mixed.view_as(x), Routing(logits, chosen)
