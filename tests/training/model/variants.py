"""Tiny models of every family, their weights and ids: what the golden values of `reference.py` were computed for."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from dolma.training.config import ExpertsConfig, ModelConfig, YarnConfig
from dolma.training.model.transformer import Transformer, unfilled

VOCABULARY = 128
_OLMO1 = {
    "rope_theta": 10_000.0,
    "norm": "layer",
    "norm_eps": 1e-5,
    "norm_position": "pre",
    "qk_norm": False,
    "context_length": 64,
}
_SIZES = {"d_model": 64, "heads": 4, "mlp_hidden": 48, "context_length": 64}
VARIANTS: dict[str, ModelConfig] = {
    "olmo1": ModelConfig(**_SIZES | {"layers": 2} | _OLMO1),
    "olmo1_clip": ModelConfig(**_SIZES | {"layers": 2} | _OLMO1, clip_qkv=0.5),
    "olmo1_tied": ModelConfig(**_SIZES | {"layers": 2} | _OLMO1, tied_embeddings=True),
    "olmo2": ModelConfig(**_SIZES, layers=2, kv_heads=2),
    "olmo3": ModelConfig(**_SIZES, layers=4, kv_heads=2, sliding_window=7),
    "olmo3_yarn": ModelConfig(
        **_SIZES, layers=4, sliding_window=7, rope_scaling=YarnConfig(factor=8.0, original_length=8)
    ),
    "olmoe": ModelConfig(
        **_SIZES,
        layers=2,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        norm_position="pre",
        experts=ExpertsConfig(count=8, active=2),
    ),
}


def given_weight(name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that depend on the parameter's name only; norms are about 1, all else about 0."""
    drawn = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(tuple(shape))
    return torch.from_numpy(1 + 0.3 * drawn if name.endswith("norm.weight") else 0.1 * drawn).float()


def given_ids() -> torch.Tensor:
    """Ids of shape `(2, 24)`."""
    return torch.arange(48).reshape(2, 24) * 37 % VOCABULARY


def given_documents() -> torch.Tensor:
    """A document number per id, `(2, 24)`: three documents in the first row, one in the second."""
    return torch.tensor([[0] * 5 + [1] * 11 + [2] * 8, [0] * 24])


def given_model(variant: str) -> Transformer:
    """The model of this name with the given weights."""
    found = unfilled(VARIANTS[variant], vocab_size=VOCABULARY)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.copy_(given_weight(name, parameter.shape))
    return found
