"""Configurations of small models of every kind, those among them that no class of transformers computes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from dolma.training.config import ExpertsConfig, ModelConfig, YarnConfig
from dolma.training.model.transformer import Transformer, unfilled
from tests.training.model.variants import given_weight

_KINDS: list[dict[str, Any]] = [
    {"norm": "layer", "norm_position": "pre", "qk_norm": False, "init": "mitchell"},
    {"norm": "rms", "norm_position": "post", "qk_norm": True},
    {"norm": "rms", "norm_position": "pre", "qk_norm": True, "experts": ExpertsConfig(count=4, active=2)},
]


@st.composite
def models(draw: st.DrawFn) -> ModelConfig:
    """Odd numbers of heads, grouped queries, other norms' eps, long and short theta, windows, YaRN, clipping, ties."""
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    kind = draw(st.sampled_from(_KINDS))
    windows = st.none() if kind["norm_position"] == "pre" else st.sampled_from([None, 1, 3, 64])
    clips = st.none() if kind["qk_norm"] else st.sampled_from([None, 0.25, 8.0])
    usual_eps = st.just(1e-5) if kind["norm"] == "layer" else st.sampled_from([1e-5, 1e-6, 1e-3])
    layers = draw(st.integers(1, 5))
    return ModelConfig(
        d_model=heads * draw(st.sampled_from([2, 4, 6, 16])),
        layers=layers,
        heads=heads,
        kv_heads=None if kv_heads == heads else kv_heads,
        mlp_hidden=draw(st.sampled_from([5, 16])),
        context_length=64,
        rope_theta=draw(st.sampled_from([2.0, 10_000.0, 500_000.0, 5e7])),
        rope_scaling=draw(st.none() | yarns()),
        norm_eps=draw(usual_eps | st.just(1e-4)),
        # Of one layer the only one is the last, which sees all: a window would be lost without a trace.
        sliding_window=None if layers == 1 else draw(windows | st.just(5)),
        clip_qkv=draw(clips | st.just(0.5)),
        tied_embeddings=draw(st.booleans()),
        vocabulary_multiple=draw(st.sampled_from([1, 128])),
        **kind,
    )


def yarns() -> st.SearchStrategy[YarnConfig]:
    """Those of tiny original contexts too, at which the ramp has its odd corners."""
    return st.builds(
        YarnConfig,
        factor=st.sampled_from([1.0, 2.5, 8.0]),
        original_length=st.sampled_from([1, 4, 8, 32, 4096]),
        beta_fast=st.sampled_from([2.0, 32.0]),
        beta_slow=st.sampled_from([1.0, 1.5]),
        attention_factor=st.sampled_from([None, 1.0, 1.37]),
    )


def filled(model: ModelConfig, *, vocab_size: int) -> Transformer:
    """The model with weights that depend on their names only."""
    found = unfilled(model, vocab_size=vocab_size)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            parameter.copy_(given_weight(name, parameter.shape))
    return found
