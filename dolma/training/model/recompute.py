"""Activation checkpointing: what is computed again in the backward pass rather than kept (arXiv:1604.06174)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

Recomputed = bool | Literal["attention", "feed_forward", "cheap"]
"""All of a block, one half of it, or all of it but what takes long: matrix products and attention."""

T = TypeVar("T")

_KEPT = {
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "_grouped_mm",
    "_varlen_attn",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
}


def recomputed(call: Callable[..., T], *args: Any, cheap: bool = False) -> T:
    """What the call gives; in the backward pass it is made again, without what takes long if `cheap`."""
    if not torch.is_grad_enabled():
        return call(*args)
    if not cheap:
        return checkpoint(call, *args, use_reentrant=False)
    contexts = functools.partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(call, *args, use_reentrant=False, context_fn=contexts)


def _policy(_context: Any, operation: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    name = operation.name().rpartition("::")[2].partition(".")[0]
    return CheckpointPolicy.MUST_SAVE if name in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
