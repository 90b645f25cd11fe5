"""The mean of several checkpoints' weights (Wortsman et al. 2022, arXiv:2203.05482), as OLMo 2 and 3 end."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec
import torch

from dolma.errors import ConfigError
from dolma.printable import printable
from dolma.training import checkpoint as checkpointing
from dolma.training.config import TrainConfig
from dolma.training.optim import make_optimizer
from dolma.training.parallel import ALONE


@torch.no_grad()
def soup(checkpoints: Sequence[str], output: str) -> str:
    """Write the mean of the checkpoints' weights, without moments, and return its folder, `<output>/step0`.

    Raises:
        ConfigError: fewer than two checkpoints, or they are of different models; nothing can be written there.
        OutputExistsError: there is something at `output`.
        DataError: one is no checkpoint, or damaged.
    """
    if len(checkpoints) < 2:
        raise ConfigError("give at least two checkpoints\n  `dolma train soup runs/a/step4 runs/b/step4 -o soup`")
    if os.path.isdir(output):
        checkpointing.remove_unfinished(output)
    checkpointing.check_new_folder(output)
    model, first = checkpointing.load_model(checkpoints[0])
    sums = {name: parameter.double() for name, parameter in model.named_parameters()}
    for folder in checkpoints[1:]:
        other, state = checkpointing.load_model(folder)
        if (state.model, state.vocab_size, state.tokenizer_sha256) != (
            first.model,
            first.vocab_size,
            first.tokenizer_sha256,
        ):
            raise ConfigError(
                f"{printable(folder)} is of another model or tokenizer than {checkpoints[0]}"
                "\n  give checkpoints of one model, trained on shards of one tokenizer"
            )
        for name, parameter in other.named_parameters():
            sums[name] += parameter.double()
    for name, parameter in model.named_parameters():
        parameter.copy_(sums[name] / len(checkpoints))
    os.makedirs(output, exist_ok=True)
    state = msgspec.structs.replace(first, step=0, losses=[], norms=[], parent=", ".join(checkpoints))
    return checkpointing.write(
        output, checkpointing.entries_of(model, make_optimizer(model, TrainConfig())), state, ALONE
    )
