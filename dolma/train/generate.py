"""Continue a prompt with a checkpoint's model."""

from __future__ import annotations

import hashlib
import os

import torch

from dolma.data import streams
from dolma.data.encoding import encode_texts, load_tokenizer
from dolma.errors import DataError
from dolma.train import checkpoint as checkpointing
from dolma.train.model.transformer import Transformer


@torch.no_grad()
def generate(
    model: Transformer, ids: list[int], *, max_tokens: int, eos_id: int | None, temperature: float, seed: int
) -> list[int]:
    """The ids and their continuation, which ends before the end-of-text token or after `max_tokens`.

    Temperature 0 takes the likeliest token each time.
    """
    generator = torch.Generator().manual_seed(seed)
    out, cache, new = list(ids), model.new_cache(), list(ids)
    for _ in range(max_tokens):
        logits = model(torch.tensor([new]), cache=cache)[0, -1, : model.vocab_size].float()
        if temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator))
        if token == eos_id:
            break
        out.append(token)
        new = [token]
    return out


def generate_text(
    checkpoint: str, tokenizer: str, prompt: str, *, max_tokens: int, temperature: float = 0.8, seed: int = 0
) -> str:
    """The prompt and its continuation as text.

    Raises:
        DataError: the checkpoint is none or damaged, or was trained with another tokenizer.
    """
    model, state = checkpointing.load_model(checkpoint)
    if not os.path.isfile(tokenizer):
        raise DataError("there is no tokenizer\n  give the tokenizer.json beside the token shards", file=tokenizer)
    if hashlib.sha256(streams.read_bytes(tokenizer)).hexdigest() != state.tokenizer_sha256:
        raise DataError(
            f"is not the tokenizer that {checkpoint} was trained with (sha256 {state.tokenizer_sha256})\n"
            "  use the tokenizer.json beside the token shards",
            file=tokenizer,
        )
    encoder = load_tokenizer(tokenizer)
    (encoded,) = encode_texts(encoder, allow_special_tokens=True)([prompt])
    ids = encoded.tolist() or [state.eos_id or 0]
    found = generate(model, ids, max_tokens=max_tokens, eos_id=state.eos_id, temperature=temperature, seed=seed)
    return encoder.decode(found)
