"""The OLMo transformers, in one class: OLMo 1 (arXiv:2402.00838), OLMo 2 (arXiv:2501.00656), OLMo 3, OLMoE
(arXiv:2409.02060). What tells them apart is in `ModelConfig`.

Parameter names are OLMo-core's, so that checkpoints need no renaming to be read there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dolma.training.config import ModelConfig
from dolma.training.loss import head_losses, router_losses
from dolma.training.model.attention import (
    Attention,
    KeyValueCache,
    Sequences,
    has_sequences,
    sequence_bounds,
    visible,
)
from dolma.training.model.mlp import FeedForward
from dolma.training.model.moe import MixtureOfExperts, Routing
from dolma.training.model.norms import norm_of
from dolma.training.model.recompute import Recomputed, recomputed
from dolma.training.model.rope import Rotation, rotations
from dolma.training.presets import padded_vocabulary


class Block(nn.Module):
    """`h = x + norm(attention(x))`, then `h + norm(mlp(h))`; `norm_position: pre` norms before instead.

    `again` is `attention` or `feed_forward`, where that is computed again in the backward pass.
    """

    again: Recomputed | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_position = config.norm_position
        self.attention = Attention(config)
        self.attention_norm = norm_of(config, config.d_model)
        if config.experts is None:
            self.feed_forward = FeedForward(config.d_model, config.mlp_hidden)
        else:
            self.feed_forward_moe = MixtureOfExperts(config, config.experts)
        self.feed_forward_norm = norm_of(config, config.d_model)

    def forward(
        self,
        x: torch.Tensor,
        turn: Rotation,
        seen: torch.Tensor | Sequences | None = None,
        cache: KeyValueCache | None = None,
    ) -> tuple[torch.Tensor, Routing | None]:
        if self.norm_position == "pre":
            h = x + self._attended(self.attention_norm(x), turn, seen, cache)
            found, routing = self._mlp(self.feed_forward_norm(h))
            return h + found, routing
        h = x + self.attention_norm(self._attended(x, turn, seen, cache))
        found, routing = self._mlp(h)
        return h + self.feed_forward_norm(found), routing

    def _attended(
        self, x: torch.Tensor, turn: Rotation, seen: torch.Tensor | Sequences | None, cache: KeyValueCache | None
    ) -> torch.Tensor:
        if self.again == "attention":
            return recomputed(self.attention, x, turn, seen, cache)
        return self.attention(x, turn, seen, cache)

    def _mlp(self, x: torch.Tensor) -> tuple[torch.Tensor, Routing | None]:
        mlp = self.feed_forward_moe if hasattr(self, "feed_forward_moe") else self.feed_forward
        found = recomputed(mlp, x) if self.again == "feed_forward" else mlp(x)
        return found if isinstance(found, tuple) else (found, None)


class Head(nn.Module):
    """The final norm and the projection onto the vocabulary; of a tied model, by the embedding's weights."""

    def __init__(self, config: ModelConfig, rows: int) -> None:
        super().__init__()
        self.norm = norm_of(config, config.d_model)
        if not config.tied_embeddings:
            self.w_out = nn.Linear(config.d_model, rows, bias=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the blocks give: normed vectors, `(batch, length, d_model)`, and what each layer's router did, if any."""

    vectors: torch.Tensor
    routings: tuple[Routing, ...]


@dataclass(frozen=True, slots=True)
class Losses:
    """Cross-entropy and squared log-normaliser of each label, `(batch, length)`, 0 where ignored; of routers, means."""

    ce: torch.Tensor
    z: torch.Tensor
    load_balance: torch.Tensor | None
    router_z: torch.Tensor | None


class Transformer(nn.Module):
    """Token ids of shape `(batch, length)` to logits of shape `(batch, length, padded vocabulary)`.

    `over_processes` sums counts of tokens over the processes that train together.
    """

    over_processes: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __init__(self, config: ModelConfig, *, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        rows = padded_vocabulary(vocab_size, multiple=config.vocabulary_multiple)
        self.embeddings = nn.Embedding(rows, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.lm_head = Head(config, rows)
        self.recompute(False)

    def forward(
        self,
        ids: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: list[KeyValueCache] | None = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """Logits, of the `last` tokens only if asked; all else as for `hidden`."""
        vectors = self.hidden(ids, documents=documents, positions=positions, cache=cache).vectors
        return self.logits(vectors if last is None else vectors[:, -last:])

    def hidden(
        self,
        ids: torch.Tensor,
        *,
        documents: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        cache: list[KeyValueCache] | None = None,
    ) -> Hidden:
        """The vectors that `logits` takes.

        With a `cache` (`new_cache`), `ids` follow those given with it before. `documents`: a number per token, of those
        in the cache too, `(batch, length)`; no token sees one of another document. `positions`: of `ids`, `(batch,
        length)`; default: from 0 on, or from the end of the cache.
        """
        before = 0 if cache is None or cache[0].keys is None else cache[0].keys.shape[2]
        length = ids.shape[1]
        if positions is None:
            positions = torch.arange(before, before + length, device=ids.device)
        else:
            positions = positions[:, None]  # the same for all heads
        full, windowed = rotations(self.config, positions)
        x, routings = self.embeddings(ids), []
        seen = self._seen(x, documents, before=before)
        for layer, block in enumerate(self.blocks):
            window = self.config.window_of(layer)
            turn = full if window is None else windowed
            given = (x, turn, seen[window], None if cache is None else cache[layer])
            again = self.recomputed[layer]
            whole = again in (True, "cheap")
            x, routing = recomputed(block, *given, cheap=again == "cheap") if whole else block(*given)
            if routing is not None:
                routings.append(routing)
        return Hidden(self.lm_head.norm(x), tuple(routings))

    def _seen(
        self, x: torch.Tensor, documents: torch.Tensor | None, *, before: int
    ) -> dict[int | None, torch.Tensor | Sequences | None]:
        """Which tokens each token sees, by the window of the layer; `before` tokens are in the cache."""
        windows = {self.config.window_of(layer) for layer in range(self.config.layers)}
        batch, length = x.shape[:2]
        if before == 0 and _in_sequences(x, documents, windows):
            numbers = x.new_zeros((batch, length), dtype=torch.int32) if documents is None else documents
            bounds = sequence_bounds(numbers)
            return {window: Sequences(bounds, length, window) for window in windows}
        return {
            window: visible(queries=length, keys=before + length, window=window, documents=documents, device=x.device)
            for window in windows
        }

    def losses(self, ids: torch.Tensor, labels: torch.Tensor, *, documents: torch.Tensor | None = None) -> Losses:
        """What each label costs, without logits of the whole batch in memory."""
        hidden = self.hidden(ids, documents=documents)
        ce, z = head_losses(hidden.vectors, self.head_weight, labels)
        balance, router_z = None, None
        if hidden.routings:
            # Passes without a backward one are each process's own.
            over_processes = self.over_processes if torch.is_grad_enabled() else None
            balance, router_z = router_losses(hidden.routings, over_processes=over_processes)
        return Losses(ce, z, balance, router_z)

    def log_probabilities(self, ids: torch.Tensor, *, at: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Of each label, how likely it is after the token at that place of the flattened `ids`; float32, in nats."""
        vectors = self.hidden(ids).vectors.flatten(0, 1)[at]
        return -head_losses(vectors[None], self.head_weight, labels[None])[0][0]

    def logits(self, vectors: torch.Tensor) -> torch.Tensor:
        """The projection of `hidden` vectors onto the padded vocabulary."""
        return torch.nn.functional.linear(vectors, self.head_weight)

    @property
    def head_weight(self) -> torch.Tensor:
        """Shape `(padded vocabulary, d_model)`."""
        return self.embeddings.weight if self.config.tied_embeddings else self.lm_head.w_out.weight

    def recompute(self, what: Recomputed, *, every: int = 1) -> None:
        """Choose what is computed again in the backward pass, of one block out of every so many."""
        self.recomputed = [False if number % every else what for number in range(len(self.blocks))]
        for again, block in zip(self.recomputed, self.blocks, strict=True):
            assert isinstance(block, Block)
            block.again = again if again in ("attention", "feed_forward") else None

    def new_cache(self) -> list[KeyValueCache]:
        """An empty cache for each layer."""
        return [KeyValueCache() for _ in self.blocks]


def _in_sequences(x: torch.Tensor, documents: torch.Tensor | None, windows: set[int | None]) -> bool:
    """Whether attention goes by sequences rather than by masks: on a GPU, in 16 bits, where there is more to it than
    plain causal attention."""
    if not x.is_cuda or not has_sequences() or (documents is None and windows == {None}):
        return False
    low = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    return low in (torch.bfloat16, torch.float16)


def outline(config: ModelConfig, *, vocab_size: int) -> Transformer:
    """A transformer without memory for its weights; torch's own random state is not touched."""
    with torch.device("meta"):
        return Transformer(config, vocab_size=vocab_size)


def unfilled(config: ModelConfig, *, vocab_size: int) -> Transformer:
    """A transformer whose weights are yet to be set."""
    return outline(config, vocab_size=vocab_size).to_empty(device="cpu")
