"""Hugging Face model folders, both ways: `config.json` and safetensors of the classes Olmo, Olmo2, Olmo3 and Olmoe."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from dolma.training.state import SUMS, sha256_of

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
_FLOATS = {"F64", "F32", "F16", "BF16"}

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


@dataclass(frozen=True, slots=True)
class Stored:
    """One of our weights as it is stored under other names: its shape, and its rows from one to another, `(n, ...)`."""

    shape: tuple[int, ...]
    rows: Callable[[int, int], torch.Tensor]


def from_hf(theirs: Mapping[str, Any], model: ModelConfig, *, rows: int) -> dict[str, Stored]:
    """Our weights by our names. `theirs` are tensors, or slices of safetensors, which are read when they are asked for.

    Raises:
        ValueError: a weight is missing, of another shape or type, or there is one that the model does not have.
    """
    left = _Left(theirs)
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in Transformer(model, vocab_size=rows).named_parameters()}
    inner = _INNER | _NORMS[model.norm_position]
    found = {}
    for name, shape in shapes.items():
        if name in _OUTER:
            found[name] = Stored(shape, _plain(left.take(_OUTER[name], shape)))
            continue
        _, layer, part = name.split(".", 2)
        prefix, experts = f"model.layers.{layer}.", model.experts
        if experts is not None and part.startswith("feed_forward_moe.experts.mlp."):
            read = _experts(left, f"{prefix}mlp.experts.", part[-2:], model, experts.count)
        elif experts is not None and part == "feed_forward_moe.router.weight":
            read = _flat(left.take(f"{prefix}mlp.gate.weight", (experts.count, model.d_model)), model.d_model)
        else:
            read = _plain(left.take(f"{prefix}{inner[part.removesuffix('.weight')]}.weight", shape))
        found[name] = Stored(shape, read)
    if model.tied_embeddings:
        left.names.discard("lm_head.weight")
    if left.names:
        raise ValueError(f"the model has no place for {min(left.names)} ({len(left.names)} such weights)")
    return found


class _Left:
    """Weights of which none is taken twice, unless asked to."""

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._weights, self.names = weights, set(weights)

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def take(self, name: str, shape: tuple[int, ...]) -> Any:
        if name not in self._weights:
            raise ValueError(f"the weight {name} is missing")
        self.names.discard(name)
        weight = self._weights[name]
        is_slice = hasattr(weight, "get_shape")
        found, dtype = (
            (tuple(weight.get_shape()), weight.get_dtype()) if is_slice else (tuple(weight.shape), weight.dtype)
        )
        if not (dtype in _FLOATS if is_slice else dtype.is_floating_point):
            raise ValueError(f"the weight {name} is of type {dtype}, expected floating-point numbers")
        if found != shape:
            raise ValueError(f"the weight {name} has the shape {list(found)}, expected {list(shape)}")
        return weight


def _plain(weight: Any) -> Callable[[int, int], torch.Tensor]:
    return lambda begin, end: weight[begin:end]


def _flat(weight: Any, width: int) -> Callable[[int, int], torch.Tensor]:
    def read(begin: int, end: int) -> torch.Tensor:
        first = begin // width
        return weight[first : -(-end // width)].flatten()[begin - first * width : end - first * width]

    return read


def _experts(left: _Left, prefix: str, part: str, model: ModelConfig, count: int) -> Callable[[int, int], torch.Tensor]:
    """Rows of all experts' matrices, one below the other; from a matrix each, or transformers 5's fused ones."""
    hidden, width = model.mlp_hidden, model.d_model
    if f"{prefix}gate_up_proj" in left:
        fused = left.take(f"{prefix}gate_up_proj", (count, 2 * hidden, width))
        down = left.take(f"{prefix}down_proj", (count, width, hidden))
        below = hidden if part == "w3" else 0

        def of(expert: int, begin: int, end: int) -> torch.Tensor:
            if part == "w2":
                return down[expert : expert + 1, :, begin:end][0].T
            return fused[expert : expert + 1, below + begin : below + end][0]

    else:
        shape = (width, hidden) if part == "w2" else (hidden, width)
        matrices = [left.take(f"{prefix}{expert}.{_EXPERTS[part]}.weight", shape) for expert in range(count)]

        def of(expert: int, begin: int, end: int) -> torch.Tensor:
            return matrices[expert][:, begin:end].T if part == "w2" else matrices[expert][begin:end]

    def read(begin: int, end: int) -> torch.Tensor:
        experts = range(begin // hidden, -(-end // hidden))
        return torch.cat([of(e, max(begin - e * hidden, 0), min(end - e * hidden, hidden)) for e in experts])

    return read


# --- folders ---------------------------------------------------------------------------------------------------------


def eos_of(fields: Mapping[str, Any], model: Transformer, folder: str) -> int | None:
    """The end-of-text token of a model; the first, if its `config.json` has several.

    Raises:
        DataError: it is no token of the model.
    """
    given = fields.get("eos_token_id")
    first = next(iter(given), None) if isinstance(given, list) else given
    if first is None or (type(first) is int and 0 <= first < model.vocab_size):
        return first
    raise DataError(
        f"`eos_token_id` is {printable(str(given))}, expected a token below {model.vocab_size:,}\n  put it right",
        file=streams.join(folder, CONFIG),
    )


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
    files: list[Weights] = [{}]
    size = 0
    for name, weight in to_hf(weights, model, rows=rows):
        converted = weight.detach().to(dtype).contiguous()
        if size and size + converted.nbytes > _BYTES_PER_FILE:
            files.append({})
            size = 0
        files[-1][name] = converted
        size += converted.nbytes
    with _whole(folder) as unfinished:
        _write_weights(unfinished, files)
        _write_json(streams.join(unfinished, CONFIG), fields)
        generation = {"_from_model_config": True, "eos_token_id": eos_id, "pad_token_id": pad_id}
        _write_json(streams.join(unfinished, "generation_config.json"), generation)
        if tokenizer is not None:
            _write_tokenizer(unfinished, tokenizer, model, eos_id=eos_id, pad_id=pad_id)
        names = sorted(os.listdir(unfinished))
        sums = "".join(f"{sha256_of(streams.join(unfinished, name))}  {name}\n" for name in names)
        streams.write_bytes(streams.join(unfinished, SUMS), sums.encode())


@contextmanager
def _whole(folder: str) -> Iterator[str]:
    """A hidden folder to write to, which gets its name when the block ends well; what a killed export left is removed.

    Raises:
        WriteError: nobody may write there.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    unfinished = os.path.join(parent, f".{name}.unfinished-export")
    with streams.writing(folder):
        shutil.rmtree(unfinished, ignore_errors=True)
        os.makedirs(unfinished)
    try:
        yield unfinished
        with streams.writing(folder):
            os.rename(unfinished, folder)  # onto an empty folder too
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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
    several = [f"model-{number:05d}-of-{len(files):05d}.safetensors" for number in range(1, len(files) + 1)]
    names = several if len(files) > 1 else [WEIGHTS]
    weight_map: dict[str, str] = {}
    for name, weights in zip(names, files, strict=True):
        path = streams.join(folder, name)
        _save(weights, path)
        weight_map |= dict.fromkeys(weights, name)
    if len(files) == 1:
        return
    total = sum(weight.nbytes for weights in files for weight in weights.values())
    _write_json(streams.join(folder, INDEX), {"metadata": {"total_size": total}, "weight_map": weight_map})


def _save(weights: Weights, path: str) -> None:
    """Write a file of safetensors that others may read as they may read any: the library makes it its user's alone.

    Raises:
        WriteError: the disk is full, or nobody may write there.
    """
    with streams.writing(path):
        with open(path, "wb") as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            save_file(weights, path, metadata={"format": "pt"})
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error
        os.chmod(path, stat.S_IMODE(mode))


def _write_json(path: str, value: Any) -> None:
    streams.write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


@dataclass(frozen=True, slots=True)
class Folder:
    """A model in a folder of transformers: its configuration, rows of the vocabulary, weights, and `config.json`.

    Weights keep the type they are stored in.
    """

    model: ModelConfig
    rows: int
    weights: dict[str, Stored]
    fields: dict[str, Any]


@contextmanager
def open_folder(folder: str) -> Iterator[Folder]:
    """The model of a folder of transformers, whose weights can be read inside of the block.

    Only safetensors are read: pickles can run code.

    Raises:
        DataError: a file is missing or is not such a model.
    """
    if streams.is_url(folder):
        raise DataError(
            "is a remote folder of transformers, whose weights are read from a local disk only"
            "\n  download it, with `hf download` or `aws s3 sync`, and give the local folder",
            file=folder,
        )
    path = streams.join(folder, CONFIG)
    if not os.path.isfile(path):
        raise DataError("no config.json there: expected a folder that `save_pretrained` wrote", file=folder)
    with ExitStack() as opened:
        try:
            fields = decode_json(streams.read_bytes(path), dict)
            model = model_of(fields)
            rows = int(fields["vocab_size"])
            weights = from_hf(_opened(folder, opened), model, rows=rows)
        except (ValueError, KeyError, msgspec.DecodeError) as error:
            said = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"is no model that can be read here: {said}"
                "\n  give a folder of an Olmo, Olmo2, Olmo3 or Olmoe model, as it was downloaded",
                file=path,
            ) from error
        yield Folder(model, rows, weights, fields)


def _opened(folder: str, opened: ExitStack) -> dict[str, Any]:
    """Slices of all weights in a folder, by their names there."""
    index = streams.join(folder, INDEX)
    names = [WEIGHTS]
    if os.path.isfile(index):
        names = sorted(set(decode_json(streams.read_bytes(index), _Index).weight_map.values()))
        if any(not re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
            raise ValueError("the index names files outside the folder")
    weights: dict[str, Any] = {}
    for name in names:
        path = streams.join(folder, name)
        if not os.path.isfile(path):
            raise DataError(
                "is missing: only safetensors are read\n  save the model with safe_serialization", file=path
            )
        try:
            stored = opened.enter_context(safe_open(path, framework="pt"))
        except SafetensorError as error:
            raise DataError(
                f"is damaged, or no safetensors: {printable(error)}\n  download it again", file=path
            ) from error
        keys = stored.keys()
        if twice := weights.keys() & set(keys):
            raise ValueError(f"two files hold the weight {min(twice)}")
        weights |= {key: stored.get_slice(key) for key in keys}
    return weights
