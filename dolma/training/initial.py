"""The weights that a run begins with: drawn, or those of another model."""

from __future__ import annotations

import os
from typing import Any

import torch

from dolma.data import streams
from dolma.errors import DataError
from dolma.printable import printable
from dolma.training import dcp
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.interop import hf
from dolma.training.local import assign_rows
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer, outline
from dolma.training.parallel import ALONE, Processes, spread
from dolma.training.presets import in_words
from dolma.training.state import WEIGHTS, checkpoints, is_ours, read_state
from dolma.training.torch_file import read_value


def fill(model: Transformer, config: TrainConfig) -> None:
    """Fill all weights in place: random ones, or those in `config.init_from`.

    That may be a checkpoint of ours or of OLMo-core (`stepN`), or a local folder of transformers.

    Raises:
        DataError: `init_from` is none of these, or of another model.
    """
    source = config.init_from
    if source is None:
        initialise(model, seed=config.seed)
    elif (runs := checkpoints(source)) and not _has_weights(source):
        raise DataError(
            f"is a training run, not one of its checkpoints\n  give one, such as {printable(runs[max(runs)])}",
            file=source,
        )
    elif _has_weights(source):
        if is_ours(source):
            _check_same(read_state(source, weights=False).model, model.config, source)
        dcp.read_into(streams.join(source, WEIGHTS), dict(dcp.model_entries(model)))
    elif streams.exists(streams.join(source, hf.CONFIG)):
        _fill_from_hf(model, source)
    else:
        raise DataError(
            f"is neither a checkpoint (no {WEIGHTS}/) nor a folder of transformers (no {hf.CONFIG})"
            "\n  give a `stepN` folder, or one that `save_pretrained` wrote",
            file=source,
        )


def load_initial_moments(model: Transformer, optimizer: torch.optim.AdamW, config: TrainConfig) -> None:
    """Put the moments and step counts in `config.init_from` into the optimiser.

    Raises:
        DataError: there are none, or they are of another model.
    """
    assert config.init_from is not None
    if not _has_weights(config.init_from):
        raise DataError("is no checkpoint, so it has no moments\n  leave out `init_optimizer`", file=config.init_from)
    dcp.load_optimizer(streams.join(config.init_from, WEIGHTS), model, optimizer)


def stored_rate(source: str) -> float:
    """The learning rate that the optimiser in a checkpoint has.

    Raises:
        DataError: it has none.
    """
    folder = streams.join(source, WEIGHTS)
    for key, kept in sorted(dcp.read_metadata(folder).items()) if _has_weights(source) else ():
        if key.startswith("optim.param_groups.") and key.endswith(".lr"):
            if isinstance(kept, dcp.StoredTensor):
                rate = torch.zeros(kept.shape)
                dcp.read_into(folder, {key: rate})
                return float(rate) if rate.numel() == 1 else 0.0
            value = read_value(kept)
            return value if isinstance(value, float) else 0.0
    raise DataError("has no optimiser to take a rate from\n  give a number as `learning_rate`", file=source)


def _has_weights(source: str) -> bool:
    """Whether this is a checkpoint, of ours or of OLMo-core, as far as can be seen without reading it."""
    folder = streams.join(source, WEIGHTS)
    return streams.exists(streams.join(folder, dcp.METADATA)) if streams.is_url(source) else os.path.isdir(folder)


def _check_same(found: ModelConfig, wanted: ModelConfig, source: str) -> None:
    """Refuse what computes something else with weights of the same shapes, as far as no stage changes it on purpose."""
    for name in (
        "d_model",
        "layers",
        "mlp_hidden",
        "heads",
        "kv_heads",
        "norm",
        "norm_eps",
        "norm_position",
        "qk_norm",
        "clip_qkv",
        "tied_embeddings",
    ):
        there, here = getattr(found, name), getattr(wanted, name)
        if there != here:
            raise DataError(
                f"is another model than the recipe's: `{name}` is {there} there and {here} in the recipe\n"
                f"  write `model: {in_words(found)}` in the recipe, under `train`",
                file=source,
            )


def _fill_from_hf(model: Transformer, source: str) -> None:
    """Of each weight a process reads the rows that it has."""
    with hf.open_folder(source) as folder:
        found, rows = folder.model, folder.rows
        _check_same(found, model.config, source)
        mine = len(model.embeddings.weight)
        if rows != mine and found.d_model == model.config.d_model:
            raise DataError(
                f"has {rows:,} rows of embedding, the recipe's model {mine:,} for a vocabulary of "
                f"{model.vocab_size:,}\n"
                "  set `vocabulary_multiple`: rows are a multiple of it, and with 1 the vocabulary is not padded",
                file=source,
            )
        parameters = dict(model.named_parameters())
        for name, parameter in parameters.items():
            given = folder.weights.get(name)
            if given is None or given.shape != parameter.shape:
                has = "no such weight" if given is None else f"shape {list(given.shape)}"
                raise DataError(
                    f"is another model than the recipe's: {name} has the shape {list(parameter.shape)} here, there "
                    f"{has} (d_model {found.d_model}, layers {found.layers}, vocabulary {rows})"
                    "\n  change the recipe's model, or `init_from`",
                    file=source,
                )
        for name, parameter in parameters.items():
            assign_rows(parameter, folder.weights[name].rows)


def load_from_hf(source: str, processes: Processes = ALONE) -> tuple[Transformer, dict[str, Any]]:
    """The model in a folder of transformers, spread over the processes, and what its `config.json` says.

    Raises:
        DataError: it is no such folder.
    """
    with hf.open_folder(source) as folder:
        model = outline(folder.model, vocab_size=folder.rows)
        spread(model, processes)
        model.to_empty(device=processes.device)
        for name, parameter in model.named_parameters():
            assign_rows(parameter, folder.weights[name].rows)
    return model, folder.fields
