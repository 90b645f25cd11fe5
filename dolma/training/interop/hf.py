"""Hugging Face model folders, both ways: `config.json` and safetensors of the classes Olmo, Olmo2, Olmo3 and Olmoe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import DataError
from dolma.models.tokenizer_file import read_tokenizer_file
from dolma.printable import printable
from dolma.training.config import ModelConfig
from dolma.training.interop.hf_config import hf_config, model_of
from dolma.training.model.transformer import Transformer
from dolma.training.presets import padded_vocabulary

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BYTES_PER_FILE = 5_000_000_000

_OUTER = {
    "embeddings.weight": "model.embed_tokens.weight",
    "lm_head.norm.weight": "model.norm.weight",
    "lm_head.w_out.weight": "lm_head.weight",
}
_INNER = {
    "attention.w_q": "self_attn.q_proj",
    "attention.w_k": "self_attn.k_proj",
    "attention.w_v": "self_attn.v_proj",
    "attention.w_out": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward_moe.router": "mlp.gate",
}
_NORMS = {
    "post": {"attention_norm": "post_attention_layernorm", "feed_forward_norm": "post_feedforward_layernorm"},
    "pre": {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"},
}
_EXPERTS = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}

Weights = dict[str, torch.Tensor]


class _Index(msgspec.Struct):
    """Which file holds which weight."""

    weight_map: dict[str, str]


# --- names -----------------------------------------------------------------------------------------------------------


def to_hf(
    weights: Mapping[str, torch.Tensor], model: ModelConfig, *, rows: int | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """Each weight under its name in transformers, experts one by one; embedding and head cut to `rows` if given."""
    inner = _INNER | _NORMS[model.norm_position]
    for name, weight in weights.items():
        if name in _OUTER:
            is_vocabulary = name != "lm_head.norm.weight"
            yield _OUTER[name], weight[:rows] if rows is not None and is_vocabulary else weight
            continue
        _, layer, part = name.split(".", 2)
        prefix = f"model.layers.{layer}."
        if part.startswith("feed_forward_moe.experts.mlp."):
            assert model.experts is not None
            theirs = _EXPERTS[part.rpartition(".")[2]]
            for expert, matrix in enumerate(weight.unflatten(0, (model.experts.count, -1))):
                oriented = matrix.T.contiguous() if theirs == "down_proj" else matrix.contiguous()
                yield f"{prefix}mlp.experts.{expert}.{theirs}.weight", oriented
        elif part == "feed_forward_moe.router.weight":
            assert model.experts is not None
            yield f"{prefix}mlp.gate.weight", weight.view(model.experts.count, -1)
        else:
            yield f"{prefix}{inner[part.removesuffix('.weight')]}.weight", weight


def from_hf(weights: Mapping[str, torch.Tensor], model: ModelConfig) -> Weights:
    """The weights under our names.

    Raises:
        ValueError: a weight is missing, or there is one that the model does not have.
    """
    left = dict(weights)
    found: Weights = {}
    for name, theirs in _OUTER.items():
        is_there = (name != "lm_head.w_out.weight" or not model.tied_embeddings) and (
            name != "lm_head.norm.weight" or model.norm == "rms"
        )
        if is_there:
            found[name] = _taken(left, theirs)
    if model.tied_embeddings:
        left.pop("lm_head.weight", None)
    for layer in range(model.layers):
        found |= _layer_from_hf(left, model, layer)
    if left:
        raise ValueError(f"the model has no place for {min(left)} ({len(left)} such weights)")
    return found


def _layer_from_hf(left: Weights, model: ModelConfig, layer: int) -> Weights:
    theirs, ours = f"model.layers.{layer}.", f"blocks.{layer}."
    inner = dict(_INNER)
    if model.norm == "rms":
        inner |= _NORMS[model.norm_position]
    found: Weights = {}
    for part, name in inner.items():
        skipped = (
            (not model.qk_norm and part.endswith(("q_norm", "k_norm")))
            or (model.experts is None and part.startswith("feed_forward_moe"))
            or (model.experts is not None and part.startswith("feed_forward."))
        )
        if not skipped:
            weight = _taken(left, f"{theirs}{name}.weight")
            if model.experts is not None and part == "feed_forward_moe.router":
                if weight.shape != (model.experts.count, model.d_model):
                    raise ValueError(f"the weight {theirs}{name}.weight has the shape {list(weight.shape)}")
                weight = weight.flatten()
            found[f"{ours}{part}.weight"] = weight
    if model.experts is not None:
        for part, matrices in _experts_from_hf(left, f"{theirs}mlp.experts.", model.experts.count).items():
            found[f"{ours}feed_forward_moe.experts.mlp.{part}"] = matrices.flatten(0, 1).contiguous()
    return found


def _experts_from_hf(left: Weights, prefix: str, count: int) -> Weights:
    """`w1`, `w2`, `w3`, each `(experts, hidden, d_model)`; from a matrix per expert, or transformers 5's fused ones."""
    fused = left.pop(f"{prefix}gate_up_proj", None)
    if fused is not None:
        down = _taken(left, f"{prefix}down_proj")
        if any(weight.dim() != 3 or len(weight) != count for weight in (fused, down)):
            raise ValueError(
                f"the weights {prefix}* have the shapes {list(fused.shape)} and {list(down.shape)}, expected {count} "
                "matrices each"
            )
        gate, up = fused.chunk(2, dim=1)
        return {"w1": gate, "w3": up, "w2": down.transpose(1, 2)}
    stacked = {part: _stacked(left, prefix, name, count) for part, name in _EXPERTS.items()}
    return stacked | {"w2": stacked["w2"].transpose(1, 2)}


def _stacked(left: Weights, prefix: str, name: str, count: int) -> torch.Tensor:
    matrices = [_taken(left, f"{prefix}{expert}.{name}.weight") for expert in range(count)]
    if matrices[0].dim() != 2 or len({matrix.shape for matrix in matrices}) > 1:
        raise ValueError(f"the weights {prefix}*.{name}.weight are no matrices of one shape")
    return torch.stack(matrices)


def _taken(left: Weights, name: str) -> torch.Tensor:
    if name not in left:
        raise ValueError(f"the weight {name} is missing")
    return left.pop(name)


def _check_shapes(weights: Weights, model: ModelConfig, rows: int) -> None:
    with torch.device("meta"):
        expected = {name: p.shape for name, p in Transformer(model, vocab_size=rows).named_parameters()}
    for name, shape in expected.items():
        if not weights[name].is_floating_point():
            raise ValueError(f"the weight {name} is of type {weights[name].dtype}, expected floating-point numbers")
        if weights[name].shape != shape:
            raise ValueError(f"the weight {name} has the shape {list(weights[name].shape)}, expected {list(shape)}")


# --- folders ---------------------------------------------------------------------------------------------------------


def write_folder(
    folder: str,
    weights: Mapping[str, torch.Tensor],
    model: ModelConfig,
    *,
    vocab_size: int,
    eos_id: int | None,
    pad_id: int | None = None,
    dtype: torch.dtype = torch.float32,
    trim_vocabulary: bool = False,
    tokenizer: str | None = None,
) -> None:
    """A folder that `AutoModelForCausalLM.from_pretrained` reads, with the tokenizer where one is given.

    `trim_vocabulary` cuts the rows of embedding and head that pad the vocabulary: the logits of tokens stay, and their
    probabilities are then over tokens alone.

    Raises:
        ValueError: no class of transformers computes this model.
    """
    rows = vocab_size if trim_vocabulary else padded_vocabulary(vocab_size, multiple=model.vocabulary_multiple)
    type_name = str(dtype).removeprefix("torch.")
    fields = hf_config(model, vocab_size=rows, eos_id=eos_id, pad_id=pad_id, dtype=type_name)
    os.makedirs(folder, exist_ok=True)
    files: list[Weights] = [{}]
    size = 0
    for name, weight in to_hf(weights, model, rows=rows):
        converted = weight.detach().to(dtype).contiguous()
        if size and size + converted.nbytes > _BYTES_PER_FILE:
            files.append({})
            size = 0
        files[-1][name] = converted
        size += converted.nbytes
    _write_weights(folder, files)
    _write_json(streams.join(folder, CONFIG), fields)
    generation = {"_from_model_config": True, "eos_token_id": eos_id, "pad_token_id": pad_id}
    _write_json(streams.join(folder, "generation_config.json"), generation)
    if tokenizer is not None:
        _write_tokenizer(folder, tokenizer, model, eos_id=eos_id, pad_id=pad_id)


def _write_tokenizer(
    folder: str, tokenizer: str, model: ModelConfig, *, eos_id: int | None, pad_id: int | None
) -> None:
    file = read_tokenizer_file(tokenizer)
    streams.write_bytes(streams.join(folder, "tokenizer.json"), file.raw)
    named = {id: token for token, id in file.ids.items()}
    fields: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.context_length,
        "clean_up_tokenization_spaces": False,
    }
    for key, id in (("eos_token", eos_id), ("pad_token", pad_id)):
        if id in named:
            fields[key] = named[id]
    _write_json(streams.join(folder, "tokenizer_config.json"), fields)


def _write_weights(folder: str, files: list[Weights]) -> None:
    if len(files) == 1:
        save_file(files[0], streams.join(folder, WEIGHTS), metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, weights in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file(weights, streams.join(folder, name), metadata={"format": "pt"})
        weight_map |= dict.fromkeys(weights, name)
    total = sum(weight.nbytes for weights in files for weight in weights.values())
    _write_json(streams.join(folder, INDEX), {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_json(path: str, value: Any) -> None:
    streams.write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_folder(folder: str) -> tuple[ModelConfig, int, Weights, dict[str, Any]]:
    """The model of a folder of transformers: its configuration, rows of the vocabulary, weights, and `config.json`.

    Weights keep the type they are stored in. Only safetensors are read: pickles can run code.

    Raises:
        DataError: a file is missing or is not such a model.
    """
    path = streams.join(folder, CONFIG)
    if not os.path.isfile(path):
        raise DataError("no config.json there: expected a folder that `save_pretrained` wrote", file=folder)
    try:
        fields = decode_json(streams.read_bytes(path), dict)
        model = model_of(fields)
        weights = from_hf(_read_weights(folder), model)
        rows = int(fields["vocab_size"])
        _check_shapes(weights, model, rows)
    except (ValueError, KeyError, msgspec.DecodeError) as error:
        said = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"is no model that can be read here: {said}"
            "\n  give a folder of an Olmo, Olmo2, Olmo3 or Olmoe model, as it was downloaded",
            file=path,
        ) from error
    return model, rows, weights, fields


def _read_weights(folder: str) -> Weights:
    index = streams.join(folder, INDEX)
    names = [WEIGHTS]
    if os.path.isfile(index):
        names = sorted(set(decode_json(streams.read_bytes(index), _Index).weight_map.values()))
        if any(not re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
            raise ValueError("the index names files outside the folder")
    weights: Weights = {}
    for name in names:
        path = streams.join(folder, name)
        if not os.path.isfile(path):
            raise DataError(
                "is missing: only safetensors are read\n  save the model with safe_serialization", file=path
            )
        try:
            with safe_open(path, framework="pt") as stored:
                keys = stored.keys()
                if twice := weights.keys() & set(keys):
                    raise ValueError(f"two files hold the weight {min(twice)}")
                weights |= {key: stored.get_tensor(key) for key in keys}
        except SafetensorError as error:
            raise DataError(
                f"is damaged, or no safetensors: {printable(error)}\n  download it again", file=path
            ) from error
    return weights
