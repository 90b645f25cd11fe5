"""Initial weights: normal, cut at three deviations; norms are 1.

`normal`: deviation 0.02 for all (OLMo 2, arXiv:2501.00656, section 3.2). `mitchell`, of OLMo 1: one over the square
root of what a matrix takes in; for what it writes to the residual stream in layer `n` (from 0), of that times
`2 * (n + 1)`.

Each parameter draws from a generator of its own, seeded by the run's seed and the parameter's name, so that weights
depend neither on the order of construction nor on how a model is spread over devices.
"""

from __future__ import annotations

import re

import torch
import xxhash

from dolma.training.config import ModelConfig
from dolma.training.local import assign
from dolma.training.model.transformer import Transformer

DEVIATION = 0.02


@torch.no_grad()
def initialise(model: Transformer, *, seed: int) -> None:
    """Fill all weights in place, a process its part of those that are spread; one is in memory whole at a time."""
    for name, parameter in model.named_parameters():
        assign(parameter, initial(name, parameter.shape, model.config, seed=seed))


def initial(name: str, shape: torch.Size, config: ModelConfig, *, seed: int) -> torch.Tensor:
    """The initial value of the parameter of this name; float32."""
    if name.endswith("norm.weight"):
        return torch.ones(shape)
    generator = torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(f"{seed}/{name}".encode()) >> 1)
    deviation = _deviation(name, config)
    drawn = torch.empty(shape)
    torch.nn.init.trunc_normal_(drawn, std=deviation, a=-3 * deviation, b=3 * deviation, generator=generator)
    return drawn


def _deviation(name: str, config: ModelConfig) -> float:
    if config.init == "normal":
        return DEVIATION
    layer = re.match(r"blocks\.(\d+)\.", name)
    takes_in = config.mlp_hidden if re.search(r"\bw2\b", name) else config.d_model
    if layer and re.search(r"\b(w_out|w2)\b", name):
        return (2 * takes_in * (int(layer[1]) + 1)) ** -0.5
    return takes_in**-0.5
