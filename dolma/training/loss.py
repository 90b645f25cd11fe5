"""Losses as sums over valid labels: the caller divides once, by the count of the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from dolma.training.data.loader import IGNORED
from dolma.training.model.moe import Routing, tokens_by_expert

_CHUNK = 4096  # labels whose logits are in memory at a time


def loss_sums(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over labels that are not `IGNORED` of cross-entropy and of the squared log-normaliser, in float32 or wider.

    `logits` has shape `(..., vocabulary)`, `labels` the leading one. With `w` the z-loss weight, the loss of `n` valid
    labels is `(ce + w * z) / n` (Chowdhery et al. 2022, arXiv:2204.02311, section 5).
    """
    ce, z = _each(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
    return ce.sum(), z.sum()


def head_losses(vectors: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy and squared log-normaliser of each label, from the vectors before the head; 0 where ignored.

    `vectors` has shape `(windows, length, d_model)`, `head` `(vocabulary, d_model)`; both results are float32 and have
    the shape of `labels`, `(windows, length)`. Logits are made for 4,096 labels at a time, and again in the backward
    pass, so that those of a whole batch are never in memory.
    """
    flat_vectors, flat_labels = vectors.flatten(0, 1), labels.flatten()
    if len(flat_labels) <= _CHUNK:
        return _shaped(labels.shape, *_each(F.linear(flat_vectors, head), flat_labels))
    parts = [
        checkpoint(_chunk, some_vectors, head, some_labels, use_reentrant=False)
        for some_vectors, some_labels in zip(flat_vectors.split(_CHUNK), flat_labels.split(_CHUNK), strict=True)
    ]
    ces, zs = zip(*parts, strict=True)
    return _shaped(labels.shape, torch.cat(ces), torch.cat(zs))


def _shaped(shape: torch.Size, ce: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Copies: FSDP2 warns of views, which a later in-place operation would cut off from it.
    return ce.view(shape).clone(), z.view(shape).clone()


def _chunk(vectors: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _each(F.linear(vectors, head), labels)


def _each(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _CrossEntropyAndZ.apply(logits, labels)  # type: ignore[no-untyped-call]


class _CrossEntropyAndZ(torch.autograd.Function):
    """Both losses of each label from one pass over the logits.

    The gradient of `a * ce + b * z` is `(a + 2 b lse) softmax - a onehot`, where `z = lse^2`: one exponential, where
    the two losses apart would take two.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        valid = labels != IGNORED
        chosen = labels.clamp(min=0)[:, None]
        log_probabilities = torch.log_softmax(wide, dim=-1)
        picked = log_probabilities.gather(1, chosen)[:, 0]
        normaliser = torch.where(valid, wide.gather(1, chosen)[:, 0] - picked, 0.0)
        ctx.save_for_backward(log_probabilities, chosen, valid, normaliser)
        ctx.dtype = logits.dtype
        return torch.where(valid, -picked, 0.0), normaliser.pow(2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        log_probabilities, chosen, valid, normaliser = ctx.saved_tensors
        of_ce, of_z = gradients
        gradient = log_probabilities.exp()
        gradient.mul_((of_ce + 2 * normaliser * of_z)[:, None])
        gradient.scatter_add_(1, chosen, -of_ce[:, None])
        if not bool(valid.all()):
            gradient.masked_fill_(~valid[:, None], 0.0)  # a product with 0 would keep NaN and infinity
        return gradient.to(ctx.dtype), None


def router_losses(
    routings: Sequence[Routing], *, over_processes: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Load-balance and z-loss of the routers, means over layers and tokens (OLMoE, arXiv:2409.02060, section 2).

    Load balance: `E / k * sum(f_e * P_e)` over the `E` experts, where `f_e` is the share of tokens that go to expert
    `e`, and `P_e` its mean probability; 1 when all are used alike. z: the mean squared log-normaliser.

    `over_processes` sums counts over several processes, so that `f_e` is of all their tokens: then the mean of their
    losses is the loss of one process with all tokens.
    """
    balance, z = [], []
    for routing in routings:
        experts, active = routing.logits.shape[-1], routing.chosen.shape[-1]
        counts = tokens_by_expert(routing.chosen, experts=experts)
        if over_processes is not None:
            counts = over_processes(counts)
        share = counts / (counts.sum() / active)
        likely = torch.softmax(routing.logits, dim=-1).mean(dim=0)
        balance.append(experts / active * (share * likely).sum())
        z.append(torch.logsumexp(routing.logits, dim=-1).pow(2).mean())
    return torch.stack(balance).mean(), torch.stack(z).mean()
