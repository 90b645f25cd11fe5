"""Continue prompts with a model, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from dolma.data import streams
from dolma.errors import DataError
from dolma.models.tokenizers_library import encode_texts, load_tokenizer
from dolma.training import checkpoint as checkpointing
from dolma.training.model.transformer import Transformer

_PADDING = -1  # the document of what stands before a prompt that is shorter than others


@torch.no_grad()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    eos_id: int | None,
    temperature: float,
    seeds: Sequence[int],
    going: Callable[[bool], bool] = bool,
) -> list[list[int]]:
    """The continuation of each prompt, which ends before the end-of-text token, after `max_tokens`, or where the
    model's context is full. Of a prompt as long as the context, all but its first tokens are continued.

    Temperature 0 takes the likeliest token each time; else each prompt draws by a seed of its own. What a prompt is
    continued with does not depend on the others: they only change by rounding what it is computed from.

    Where a model is spread over processes, `going` says whether any of them still goes on, and all call this together.

    Raises:
        ValueError: a prompt has no tokens.
    """
    if not all(prompts):
        raise ValueError("a prompt has no tokens")
    context, device = model.config.context_length, model.embeddings.weight.device
    kept = [list(prompt[-max(context - 1, 1) :]) for prompt in prompts]
    rooms = [min(max_tokens, context - len(prompt)) for prompt in kept]
    ids, documents, positions = (given.to(device) for given in _side_by_side(kept))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    found: list[list[int]] = [[] for _ in kept]
    left = {row for row, room in enumerate(rooms) if room > 0}
    # Without padding nothing has to be masked, and the fast kernels of plain causal attention do.
    padded = len(set(map(len, kept))) > 1
    cache = model.new_cache()
    while going(bool(left)):
        if not left:
            idle(model)
            continue
        seen = documents if padded else None
        logits = model(ids, documents=seen, positions=positions, cache=cache, last=1)[:, 0]
        logits = logits[:, : model.vocab_size].float()
        chosen = _chosen(logits, temperature, generators, left)
        for row in sorted(left):
            if chosen[row] == eos_id:
                left.remove(row)
                continue
            found[row].append(chosen[row])
            if len(found[row]) == rooms[row]:
                left.remove(row)
        ids = torch.tensor(chosen, device=device)[:, None]
        documents = torch.cat([documents, torch.zeros_like(ids)], dim=1)
        positions = positions[:, -1:] + 1
    return found


def idle(model: Transformer) -> None:
    """Take part in a pass of other processes."""
    with torch.no_grad():
        model(torch.zeros((1, 1), dtype=torch.int64, device=model.embeddings.weight.device))


def _side_by_side(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, documents and positions, int64, `(prompts, longest)`: prompts end together, padding stands before them."""
    longest = max(map(len, prompts), default=0)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    documents = torch.full_like(ids, _PADDING)
    positions = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        start = longest - len(prompt)
        ids[row, start:] = torch.tensor(prompt)
        documents[row, start:] = 0
        positions[row, start:] = torch.arange(len(prompt))
    return ids, documents, positions


def _chosen(logits: torch.Tensor, temperature: float, generators: list[torch.Generator], left: set[int]) -> list[int]:
    """The next token of each row; 0 of those that have ended. Draws are made on the CPU: the same on all devices."""
    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    likely = torch.softmax(logits / temperature, dim=-1).cpu()
    return [
        int(torch.multinomial(likely[row], 1, generator=generators[row])) if row in left else 0
        for row in range(len(likely))
    ]


def generate_text(
    checkpoint: str, tokenizer: str, prompt: str, *, max_tokens: int, temperature: float = 0.8, seed: int = 0
) -> str:
    """The prompt and its continuation as text.

    Raises:
        DataError: the checkpoint is none or damaged, or was trained with another tokenizer.
    """
    model, state = checkpointing.load_model(checkpoint)
    if not streams.exists(tokenizer):
        raise DataError("there is no tokenizer\n  give the tokenizer.json beside the token shards", file=tokenizer)
    state.check_tokenizer(tokenizer, of=checkpoint)
    encoder = load_tokenizer(tokenizer)
    (encoded,) = encode_texts(encoder, allow_special_tokens=True)([prompt])
    ids = encoded.tolist() or [state.eos_id or 0]
    (found,) = generate(model, [ids], max_tokens=max_tokens, eos_id=state.eos_id, temperature=temperature, seeds=[seed])
    return encoder.decode([*ids, *found])
