"""Transformers as Hugging Face folders hold them: weights, config, tokenizer; with a classification or regression head,
or without one.

Two forms of weights: `model.onnx`, run by ONNX Runtime, and `model.safetensors`, run by torch through `transformers`.
Neither can run code; pickled weights and models that bring code of their own are not read. What was found is opened as
a function from token ids to logits, or, of ONNX alone, to hidden states.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.models.public import copies
from dolma.printable import printable

Backend = Literal["onnx", "torch"]
Device = Literal["cpu", "cuda"]
Activation = Literal["softmax", "sigmoid", "none"]
Ids = npt.NDArray[np.int64]
Logits = Callable[[Ids, Ids], npt.NDArray[np.float32]]
"""From token ids and mask (1 where there is a token), int64, `(n_rows, length)`, to logits `(n_rows, n_labels)`."""
Hidden = Callable[[Ids, Ids], npt.NDArray[np.float32]]
"""The same to the hidden states of the last layer, `(n_rows, length, width)`."""

EXTRAS: dict[Backend, str] = {"onnx": "onnx", "torch": "transformers"}
WEIGHTS: dict[Backend, tuple[str, ...]] = {"onnx": ("model.onnx", "onnx/model.onnx"), "torch": ("model.safetensors",)}

_SUFFIXES: dict[str, Backend] = {".onnx": "onnx", ".safetensors": "torch"}
# Their positions begin behind that of padding.
_OFFSET_POSITIONS = ("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `config.json` says: labels in order, what becomes of logits, the longest input (None: any), padding."""

    labels: tuple[str, ...]
    activation: Activation
    max_tokens: int | None
    pad_id: int


class _Content(msgspec.Struct):
    """What is read of a `config.json`."""

    id2label: dict[str, str] | None = None
    num_labels: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    problem_type: str | None = None
    model_type: str | None = None
    pad_token_id: Annotated[int, msgspec.Meta(ge=-1, lt=1 << 31)] | None = None
    max_position_embeddings: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a model lies: its weights, and what runs them; `others` are weights that `weights` refers to."""

    backend: Backend
    weights: Path
    config: Path
    tokenizer: Path
    others: tuple[Path, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Every file, the weights first."""
        return tuple(str(path) for path in (self.weights, *self.others, self.config, self.tokenizer))


def find_files(
    path: str | Path,
    *,
    backend: str,
    config: str | Path | None = None,
    tokenizer: str | Path | None = None,
    owner: str,
) -> Files:
    """The files of the model at `path`: a folder, its weights, a URL of them, or the name of a public model.

    `config` and `tokenizer` are files or URLs; those that are not given are beside the weights, or in the folder above
    if that of the weights is called `onnx`. `backend` `auto` is ONNX where there is such a file, torch otherwise.

    Raises:
        ConfigError: one of them is not there, or has not been fetched; `owner` begins what it says.
    """
    valid = ("auto", *get_args(Backend))
    if backend not in valid:
        raise ConfigError(f"{owner}: backend={backend!r}; {did_you_mean(str(backend), valid)}")
    folder = Path(path).expanduser()
    found = _in_folder(folder) if folder.is_dir() else list(copies(str(path), tagger=owner))
    weights = _weights(found, backend, path, owner)
    beside = [weights.parent, *([weights.parent.parent] if weights.parent.name == "onnx" else [])]
    return Files(
        backend=_SUFFIXES[weights.suffix],
        weights=weights,
        config=_beside(config, "config.json", found, beside, owner),
        tokenizer=_beside(tokenizer, "tokenizer.json", found, beside, owner),
        others=_referred(weights),
    )


_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")  # an entry of a tensor that lies elsewhere


def _referred(weights: Path) -> tuple[Path, ...]:
    """The files beside an ONNX model that hold weights of it, under whatever names."""
    if weights.suffix != ".onnx" or not weights.stat().st_size:
        return ()
    with open(weights, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = {data[found.end() : found.end() + found[1][0]] for found in _LOCATION.finditer(data)}
    paths = (weights.parent / os.fsdecode(name) for name in sorted(names))
    return tuple(path for path in paths if path.is_file())


def _in_folder(folder: Path) -> list[Path]:
    names = [name for names in WEIGHTS.values() for name in names]
    return [folder / name for name in names if (folder / name).is_file()]


def _weights(found: Sequence[Path], backend: str, path: str | Path, owner: str) -> Path:
    wanted = [backend] if backend != "auto" else list(get_args(Backend))
    for kind in wanted:
        for file in found:
            if _SUFFIXES.get(file.suffix) == kind:
                return file
    names = " or ".join(WEIGHTS[kind][0] for kind in get_args(Backend) if kind in wanted)
    raise ConfigError(
        f"{owner}: no {names} at {printable(path)}\n"
        "  give a folder with model.onnx or model.safetensors, config.json and tokenizer.json; docs/models.md says how"
        " to make one"
    )


def _beside(given: str | Path | None, name: str, found: Sequence[Path], folders: Sequence[Path], owner: str) -> Path:
    if given is not None:
        return copies(str(given), tagger=owner)[0]
    candidates = [*(file for file in found if file.name == name), *(folder / name for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    option = name.removesuffix(".json")
    raise ConfigError(
        f"{owner}: no {name} in {printable(folders[0])}\n  put it there, or name it by the option `{option}`"
    )


def read_facts(file: Path) -> Facts:
    """What a `config.json` says of labels and inputs.

    The activation is that of transformers' text classification pipeline: none for regression, sigmoid for several
    labels at once and for a single one, softmax for one of several.

    Raises:
        ConfigError: it is no such file, or its labels are not numbered from 0.
    """
    try:
        content = msgspec.convert(decode_json(streams.read_bytes(str(file)), dict[str, Any]), _Content)
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{printable(file)} is no config.json: {printable(error)}\n  give the one that belongs to the model"
        ) from error
    labels = _labels(content, file)
    activation: Activation = "softmax"
    if content.problem_type == "regression":
        activation = "none"
    elif content.problem_type == "multi_label_classification" or len(labels) == 1:
        activation = "sigmoid"
    pad_id, longest = content.pad_token_id or 0, content.max_position_embeddings
    if longest is not None and content.model_type in _OFFSET_POSITIONS:
        longest -= pad_id + 1
    return Facts(labels=labels, activation=activation, max_tokens=longest, pad_id=pad_id)


def _labels(content: _Content, file: Path) -> tuple[str, ...]:
    # transformers leaves two labels of these names out of the file.
    named = content.id2label or {str(i): f"LABEL_{i}" for i in range(content.num_labels or 2)}
    if sorted(named) != sorted(str(i) for i in range(len(named))):
        raise ConfigError(
            f"{printable(file)}: the labels in id2label are {', '.join(named)}; expected 0 to {len(named) - 1}"
        )
    return tuple(named[str(i)] for i in range(len(named)))


def open_model(files: Files, facts: Facts, *, device: str, threads: int, owner: str) -> Logits:
    """The model as a function, which has been asked once.

    Raises:
        ConfigError: it cannot be read, takes other inputs, has another number of labels, or there is no such device.
        MissingExtraError: what runs it is not installed.
    """
    if device not in get_args(Device):
        raise ConfigError(f"{owner}: device={device!r}; valid: {', '.join(get_args(Device))}")
    opened = _open_onnx if files.backend == "onnx" else _open_torch
    logits = opened(files, device=device, threads=threads, owner=owner)
    shape = logits(np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=np.int64)).shape
    if shape != (1, len(facts.labels)):
        raise ConfigError(
            f"{owner}: {printable(files.weights)} gives {shape[-1]} values, {printable(files.config)} has "
            f"{len(facts.labels)} labels"
            f" ({', '.join(facts.labels[:9])})\n  give the config.json of this model by the option `config`"
        )
    return logits


def open_encoder(files: Files, *, device: str, threads: int, owner: str) -> tuple[Hidden, int]:
    """The hidden states of the model as a function, which has been asked once, and their width.

    Raises:
        ConfigError: it cannot be read, is no ONNX file, has other inputs or outputs, or there is no such device.
        MissingExtraError: what runs it is not installed.
    """
    if device not in get_args(Device):
        raise ConfigError(f"{owner}: device={device!r}; valid: {', '.join(get_args(Device))}")
    if files.backend != "onnx":
        raise ConfigError(
            f"{owner}: {printable(files.weights)} gives no embeddings here: they are made of model.onnx\n"
            "  export the model to ONNX for feature extraction; docs/models.md says how"
        )
    hidden = _open_onnx(files, device=device, threads=threads, owner=owner, outputs=_HIDDEN)
    found = hidden(np.zeros((1, 2), dtype=np.int64), np.ones((1, 2), dtype=np.int64))
    if found.ndim != 3 or found.shape[:2] != (1, 2):
        raise ConfigError(
            f"{owner}: {printable(files.weights)} gives {found.shape} for two tokens, expected (1, 2, width): a hidden "
            "state for each\n  export it for feature extraction, without a head; docs/models.md says how"
        )
    return hidden, found.shape[2]


_HIDDEN = ("last_hidden_state", "token_embeddings")


def _open_onnx(files: Files, *, device: str, threads: int, owner: str, outputs: Sequence[str] = ("logits",)) -> Logits:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError as error:
        raise MissingExtraError("onnxruntime", extra=EXTRAS["onnx"], purpose=f"the tagger {owner!r}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute, options.log_severity_level = True, 3
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    if not set(wanted) <= set(onnxruntime.get_available_providers()):
        raise ConfigError(f"{owner}: onnxruntime finds no CUDA\n  `pip install onnxruntime-gpu`, or `device: cpu`")
    try:
        session = onnxruntime.InferenceSession(str(files.weights), options, providers=[*wanted, "CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.InvalidArgument) as error:
        raise ConfigError(
            f"{owner}: ONNX Runtime cannot read {printable(files.weights)}: "
            f"{printable(str(error).rpartition(' : ')[2])}\n"
            "  copy or download it again, or export the model again, as docs/models.md says"
        ) from error
    if not set(wanted) <= set(session.get_providers()):
        raise ConfigError(f"{owner}: onnxruntime cannot use CUDA here\n  see `nvidia-smi`, or give `device: cpu`")
    return _onnx_function(session, files.weights, owner, outputs)


def _onnx_function(session: Any, file: Path, owner: str, outputs: Sequence[str]) -> Logits:
    types = {given.name: np.int32 if "int32" in given.type else np.int64 for given in session.get_inputs()}
    known = {"input_ids", "attention_mask", "token_type_ids"}
    if "input_ids" not in types or not set(types) <= known:
        raise ConfigError(
            f"{owner}: {printable(file)} takes {', '.join(types)}; expected input_ids, attention_mask and "
            "token_type_ids\n"
            "  export it as a model for sequence classification, or for feature extraction where it is to embed"
        )
    if any(isinstance(size, int) for given in session.get_inputs() for size in given.shape):
        raise ConfigError(
            f"{owner}: {printable(file)} takes inputs of one size, {session.get_inputs()[0].shape}"
            "\n  export it with dynamic axes"
        )
    names = [given.name for given in session.get_outputs()]
    output = next((name for name in outputs if name in names), names[0])

    def function(ids: Ids, mask: Ids) -> npt.NDArray[np.float32]:
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (found,) = session.run([output], {name: values[name].astype(kind) for name, kind in types.items()})
        return np.asarray(found, dtype=np.float32)

    return function


def _open_torch(files: Files, *, device: str, threads: int, owner: str) -> Logits:
    try:
        import safetensors.torch
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", extra=EXTRAS["torch"], purpose=f"the tagger {owner!r}") from error
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{owner}: torch finds no CUDA\n  see `nvidia-smi`, or give `device: cpu`")
    transformers.utils.logging.disable_progress_bar()
    content = decode_json(streams.read_bytes(str(files.config)), dict[str, Any])
    kinds = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    config = None
    if content.get("model_type") in transformers.CONFIG_MAPPING:
        config = transformers.AutoConfig.for_model(**content)
    if type(config) not in kinds:
        raise ConfigError(
            f"{owner}: transformers {transformers.__version__} has no classifier of the model_type"
            f" {content.get('model_type')!r} ({printable(files.config)})\n"
            "  export the model to ONNX, or install a version that has it"
        )
    try:
        model, loaded = kinds[type(config)].from_pretrained(
            None,
            config=config,
            state_dict=safetensors.torch.load_file(files.weights),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"{owner}: {printable(files.weights)} cannot be read as the model of {printable(files.config)}: "
            f"{printable(error)}\n"
            "  give the two that belong together"
        ) from error
    # What is missing would be random.
    if missing := sorted(loaded["missing_keys"]):
        raise ConfigError(
            f"{owner}: {printable(files.weights)} lacks {len(missing)} of the model's weights, {missing[0]} for one\n"
            "  give the weights of a model for sequence classification"
        )
    model = model.to(device).eval()

    def logits(ids: Ids, mask: Ids) -> npt.NDArray[np.float32]:
        before = torch.get_num_threads()  # of the whole process, which may train later
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                given, seen = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
                return model(input_ids=given, attention_mask=seen).logits.float().cpu().numpy()
        finally:
            torch.set_num_threads(before)

    return logits
