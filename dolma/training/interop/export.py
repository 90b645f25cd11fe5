"""A checkpoint of ours as a folder of transformers."""

from __future__ import annotations

import torch

from dolma.errors import ConfigError
from dolma.printable import printable
from dolma.training import checkpoint as checkpointing
from dolma.training.interop import hf


def export_checkpoint(
    checkpoint: str,
    output: str,
    *,
    tokenizer: str | None = None,
    dtype: str = "float32",
    trim_vocabulary: bool = False,
) -> str | None:
    """Write the checkpoint's model, with the tokenizer of its shards unless another is given.

    Returns the tokenizer that was written; None where there is none beside the shards.

    Raises:
        ConfigError: no class of transformers computes this model; nothing can be written there.
        OutputExistsError: there is something at `output`.
        DataError: the checkpoint is damaged.
    """
    checkpointing.check_new_folder(output)
    model, state = checkpointing.load_model(checkpoint)
    tokenizer = tokenizer or state.tokenizer()
    try:
        hf.write_folder(
            output,
            dict(model.named_parameters()),
            state.model,
            vocab_size=state.vocab_size,
            eos_id=state.eos_id,
            dtype=getattr(torch, dtype),
            trim_vocabulary=trim_vocabulary,
            tokenizer=tokenizer,
        )
    except ValueError as error:
        raise ConfigError(
            f"{printable(checkpoint)} cannot be exported: {error}"
            "\n  use the checkpoint with `dolma eval`, or train a model that transformers has"
        ) from error
    return tokenizer
