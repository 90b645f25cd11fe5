"""Causal self-attention: over all earlier tokens or a window of them, within documents or across, cached or not."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dolma.training.config import ModelConfig
from dolma.training.model.norms import norm_of
from dolma.training.model.rope import Rotation, rotate


class KeyValueCache:
    """Keys and values of the tokens seen so far, of one layer; each of shape `(batch, kv heads, length, width)`."""

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def extend(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, those given at the end."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


@dataclass(frozen=True, slots=True)
class Sequences:
    """Windows as sequences that do not see each other, for kernels that need no mask.

    `bounds`: int32, `(sequences + 1,)`, where each begins in the flattened batch, and where the last ends; none is
    longer than `longest`. Each token sees itself and those before it, at most `window` in all.
    """

    bounds: torch.Tensor
    longest: int
    window: int | None


class Attention(nn.Module):
    """Multi-head attention over `(batch, length, d_model)`; key and value heads may be fewer than query heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads or config.heads
        self.head_width, self.clip = config.head_width, config.clip_qkv
        self.w_q = nn.Linear(config.d_model, config.d_model, bias=False)
        self.w_k = nn.Linear(config.d_model, config.kv_width, bias=False)
        self.w_v = nn.Linear(config.d_model, config.kv_width, bias=False)
        self.w_out = nn.Linear(config.d_model, config.d_model, bias=False)
        self.q_norm = norm_of(config, config.d_model) if config.qk_norm else None
        self.k_norm = norm_of(config, config.kv_width) if config.qk_norm else None

    def forward(
        self,
        x: torch.Tensor,
        turn: Rotation,
        seen: torch.Tensor | Sequences | None = None,
        cache: KeyValueCache | None = None,
    ) -> torch.Tensor:
        """`seen` says which keys each query sees, `(batch or 1, 1, queries, keys)`; None: itself and all before."""
        q, k, v = (self._clipped(projected) for projected in (self.w_q(x), self.w_k(x), self.w_v(x)))
        q = q if self.q_norm is None else self.q_norm(q)
        k = k if self.k_norm is None else self.k_norm(k)
        q, k = rotate(self._split(q, self.heads), *turn), rotate(self._split(k, self.kv_heads), *turn)
        v = self._split(v, self.kv_heads)
        if cache is not None:
            k, v = cache.extend(k, v)
        grouped = self.heads != self.kv_heads
        if isinstance(seen, Sequences):
            return self.w_out(_within_sequences(q, k, v, seen, grouped=grouped))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None, enable_gqa=grouped)
        return self.w_out(mixed.transpose(1, 2).flatten(2))

    def _clipped(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _split(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.unflatten(-1, (heads, self.head_width)).transpose(1, 2)


def _within_sequences(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, sequences: Sequences, *, grouped: bool
) -> torch.Tensor:
    """What `scaled_dot_product_attention` gives with the mask of these sequences, `(batch, length, heads * width)`."""
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, width = q.shape
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    bounds, longest = sequences.bounds, sequences.longest
    before = -1 if sequences.window is None else sequences.window - 1
    mixed = varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=(before, 0), enable_gqa=grouped)
    assert isinstance(mixed, torch.Tensor)
    return mixed.reshape(batch, length, heads * width)


@functools.cache
def has_sequences() -> bool:
    """Whether this torch has attention within sequences, with windows and grouped heads: from 2.13 on."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def sequence_bounds(documents: torch.Tensor) -> torch.Tensor:
    """Where a window begins, or a document within one, in the flattened batch, and the end; int32.

    >>> sequence_bounds(torch.tensor([[0, 0, 1], [1, 1, 1]])).tolist()
    [0, 2, 3, 6]
    """
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = begins.flatten().nonzero()[:, 0]
    return torch.cat([starts, starts.new_tensor([documents.numel()])]).to(torch.int32)


def visible(
    *,
    queries: int,
    keys: int,
    window: int | None,
    documents: torch.Tensor | None,
    device: torch.device,
) -> torch.Tensor | None:
    """Which of the `keys` first positions the `queries` last of them see; bool, `(batch or 1, 1, queries, keys)`.

    Each sees itself and those before it, at most `window` in all, in its own document: `documents` holds a number per
    position, `(batch, keys)`. None where that is plain causal attention over all of them.
    """
    window = None if window is None or window >= keys else window
    if queries == keys and window is None and documents is None:
        return None
    seen = _band(queries, keys, window, device)[None]
    if documents is not None:
        seen = seen & (documents[:, -queries:, None] == documents[:, None, :])
    return seen[:, None]


@functools.lru_cache(maxsize=8)
def _band(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)[None]
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)
