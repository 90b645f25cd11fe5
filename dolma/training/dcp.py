"""torch's distributed checkpoints under OLMo-core's names, written and read without trusting what is read.

`model.<parameter>`, `optim.state.<parameter>.{step,exp_avg,exp_avg_sq}` and `optim.param_groups.<parameter>.<field>`:
what OLMo-core 3.0 writes and reads, whatever the number of processes. Such folders are passed around, and torch's own
reader unpickles them, which runs what they say. Here their pickles are read as data (`unpickle.py`), every number is
compared with its bounds, and every file is one of the folder.
"""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_saver import save

from dolma.data import streams
from dolma.errors import DataError
from dolma.training.local import local_part
from dolma.training.torch_file import Part, read_tensor
from dolma.training.unpickle import Name, Record, load

METADATA = ".metadata"
_MAX_METADATA = 1 << 26  # bytes; 7 B parameters on 64 processes have 6 MB

_PASSED_ON = (OSError, MemoryError, KeyboardInterrupt, SystemExit)  # what is the machine's or the user's doing

_TORCH = "torch.distributed.checkpoint.metadata"
_FILES = "torch.distributed.checkpoint.filesystem"
_SIZE = Name("torch", "Size")
_INDEX = Name(_TORCH, "MetadataIndex")
_CHUNK = Name(_TORCH, "ChunkStorageMetadata")
_TENSOR = Name(_TORCH, "TensorStorageMetadata")
_BYTES = Name(_TORCH, "BytesStorageMetadata")
_METADATA = Name(_TORCH, "Metadata")
_STORED = (Name(_FILES, "_StorageInfo"), Name("olmo_core.distributed.checkpoint.filesystem", "_StorageInfo"))
_DTYPES = {str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)}
_NAMES = {
    _SIZE,
    _INDEX,
    _CHUNK,
    _TENSOR,
    _BYTES,
    _METADATA,
    *_STORED,
    # What is named, and not looked at.
    Name(_TORCH, "StorageMeta"),
    Name(_TORCH, "TensorProperties"),
    Name(_TORCH, "_MEM_FORMAT_ENCODING"),
    Name("torch.distributed._shard.sharded_tensor.metadata", "TensorProperties"),
    Name("torch.distributed._shard.sharded_tensor.metadata", "MEM_FORMAT_ENCODING"),
    Name("torch.serialization", "_get_layout"),
    *(Name("torch", name) for name in _DTYPES),
    *(Name(module, name) for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A box of a tensor, and where it is stored."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor's shape, and the chunks that it is stored in."""

    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


def read_metadata(folder: str) -> dict[str, StoredTensor | Part]:
    """What is in a checkpoint, by key: a tensor, or a value that `torch_file.read_value` reads.

    Raises:
        DataError: there is none, or it is no metadata, or names what no checkpoint needs, or a file out of the folder.
    """
    path = streams.join(folder, METADATA)
    if not streams.exists(path):
        raise DataError(
            "there is no `.metadata`: this is no checkpoint of torch"
            "\n  copy the folder again with its hidden files: `cp -r`",
            file=folder,
        )
    with streams.open_seekable(path) as file:
        content = file.read(_MAX_METADATA + 1)
    if len(content) > _MAX_METADATA:
        raise DataError(f"is of more than {_MAX_METADATA >> 20} MB\n  copy or download the checkpoint again", file=path)
    try:
        return _Reader(folder).entries(load(content, names=_NAMES, what="metadata of a checkpoint", file=path))
    except _NoMetadataError as error:
        raise DataError(
            f"is no metadata of a checkpoint: {error}\n  copy or download the checkpoint again", file=path
        ) from error


class _NoMetadataError(Exception):
    """What is wrong with the metadata."""


class _Reader:
    """Makes checked values of the records in a checkpoint's metadata."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.sizes: dict[str, int] = {}  # of files, in bytes

    def entries(self, value: Any) -> dict[str, StoredTensor | Part]:
        fields = _fields(value, _METADATA)
        parts: dict[tuple[str, tuple[int, ...] | None], Part] = {}
        for index, info in _mapping(fields, "storage_data").items():
            place = _index(index)
            if place in parts:
                raise _NoMetadataError(f"{place[0][:100]!r} is stored twice")
            parts[place] = self.part(info)
        found: dict[str, StoredTensor | Part] = {}
        for key, described in _mapping(fields, "state_dict_metadata").items():
            if type(key) is not str:
                raise _NoMetadataError("a key is no text")
            try:
                bare = isinstance(described, Record) and described.kind == _BYTES
                found[key] = parts[key, None] if bare else _tensor(key, _fields(described, _TENSOR), parts)
            except KeyError as error:
                raise _NoMetadataError(f"it does not say where {key[:100]!r} is") from error
        return found

    def part(self, value: Any) -> Part:
        fields = _fields(value, *_STORED)
        name, at, length = fields.get("relative_path"), fields.get("offset"), fields.get("length")
        if fields.get("transform_descriptors"):
            raise _NoMetadataError("its files were transformed by extensions of torch, which are not read here")
        if type(name) is not str:
            raise _NoMetadataError("a file has no name")
        size = self.size(name)
        if not (_is_number(at) and _is_number(length) and at + length <= size):
            raise _NoMetadataError(f"it looks for bytes in {name[:100]!r} that are not there")
        return Part(streams.join(self.folder, name), at, length)

    def size(self, name: str) -> int:
        """How many bytes a file has, once it is known to be one of this folder."""
        if name not in self.sizes:
            path = streams.join(self.folder, name)
            if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
                raise _NoMetadataError(f"{name[:100]!r} is no file beside it, but a path or a link")
            self.sizes[name] = _remote_size(path) if streams.is_url(path) else _local_size(path)
        return self.sizes[name]


def _remote_size(path: str) -> int:
    size = streams.size(path)
    if size is None:
        raise _NoMetadataError(f"{os.path.basename(path)[:100]!r} cannot be read: there is no such file")
    return size


def _local_size(path: str) -> int:
    name = os.path.basename(path)[:100]
    if os.path.islink(path):
        raise _NoMetadataError(f"{name!r} is no file beside it, but a path or a link")
    try:
        found = os.stat(path)
    except OSError as error:
        raise _NoMetadataError(f"{name!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise _NoMetadataError(f"{name!r} is no file")
    return found.st_size


def _tensor(key: str, fields: dict[Any, Any], parts: Mapping[tuple[str, tuple[int, ...] | None], Part]) -> StoredTensor:
    shape = _size(fields.get("size"))
    chunks = fields.get("chunks")
    if type(chunks) is not list:
        raise _NoMetadataError(f"{key[:100]!r} has no chunks")
    found = []
    for chunk in chunks:
        of_chunk = _fields(chunk, _CHUNK)
        offsets, sizes = _size(of_chunk.get("offsets")), _size(of_chunk.get("sizes"))
        if not len(offsets) == len(sizes) == len(shape) or any(
            begin + n > end for begin, n, end in zip(offsets, sizes, shape, strict=True)
        ):
            raise _NoMetadataError(f"{key[:100]!r} has a chunk that lies outside of it")
        found.append(Chunk(offsets=offsets, sizes=sizes, part=parts[key, offsets]))
    if sum(math.prod(chunk.sizes) for chunk in found) != math.prod(shape):
        raise _NoMetadataError(f"the chunks of {key[:100]!r} are not the whole of it")
    return StoredTensor(shape=shape, chunks=tuple(found))


def _fields(value: Any, *kinds: Name) -> dict[Any, Any]:
    if not (isinstance(value, Record) and value.kind in kinds and not value.args and type(value.state) is dict):
        found = value.kind if isinstance(value, Record) else type(value).__name__
        raise _NoMetadataError(f"it has a {found} in the place of a {kinds[0].name}")
    return value.state


def _mapping(fields: dict[Any, Any], name: str) -> dict[Any, Any]:
    found = fields.get(name)
    if type(found) is not dict:
        raise _NoMetadataError(f"it has no {name!r}")
    return found


def _index(value: Any) -> tuple[str, tuple[int, ...] | None]:
    fields = _fields(value, _INDEX)
    key, offset = fields.get("fqn"), fields.get("offset")
    if type(key) is not str:
        raise _NoMetadataError("an index has no key")
    return key, None if offset is None else _size(offset)


def _size(value: Any) -> tuple[int, ...]:
    numbers = value.args[0] if isinstance(value, Record) and value.kind == _SIZE and len(value.args) == 1 else None
    if type(numbers) is not tuple or len(numbers) > 8 or not all(_is_number(number) for number in numbers):
        raise _NoMetadataError("it has no size where one belongs")
    return numbers


def _is_number(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 62


class _Writer(FileSystemWriter):
    """Writes what it is given and nothing else: torch's own adds the folder's path and a random number."""

    def storage_meta(self) -> StorageMeta:
        return StorageMeta()


def write(folder: str, entries: Mapping[str, Any], *, group: ProcessGroup | None = None) -> None:
    """Write all entries, tensors or plain values; every process of the group calls this with its own part.

    `group` is torch's default one, or another one of the same processes.

    The same entries give the same bytes, wherever the folder is.

    Raises:
        WriteError: the disk is full, or nobody may write there.
    """
    writer = _Writer(folder, single_file_per_rank=True, overwrite=True)
    _quieten()
    with streams.writing(folder):
        try:
            save(dict(entries), storage_writer=writer, process_group=group, no_dist=not _distributed())
        except CheckpointException as error:
            causes = [cause for cause, _ in error.failures.values()]
            raise next((cause for cause in causes if isinstance(cause, _PASSED_ON)), error) from error


@torch.no_grad()
def read_into(folder: str, entries: Mapping[str, torch.Tensor]) -> None:
    """Fill tensors in place by what is stored under their keys, each process its own part of those that are spread.

    Raises:
        DataError: a key is missing, a shape is another, or a file is damaged.
    """
    stored = read_metadata(folder)
    for key, tensor in entries.items():
        kept = stored.get(key)
        if kept is None:
            raise DataError(
                f"has no {key!r}: it is of another model\n  give the recipe the model that the checkpoint is of",
                file=folder,
            )
        if not isinstance(kept, StoredTensor):
            raise DataError(f"{key!r} is no tensor\n  copy or download the checkpoint again", file=folder)
        if kept.shape != tensor.shape:
            raise DataError(f"{key!r} has the shape {list(kept.shape)}, expected {list(tensor.shape)}", file=folder)
    for key, tensor in entries.items():
        kept = stored[key]
        assert isinstance(kept, StoredTensor)
        if not _fill(tensor, kept):
            raise DataError(
                f"holds some of {key!r} twice and some of it not at all\n  copy or download the checkpoint again",
                file=folder,
            )


def _fill(tensor: torch.Tensor, kept: StoredTensor) -> bool:
    """Copy what this process has of a tensor out of its chunks; whether they held all of it."""
    local, origin = local_part(tensor)
    filled = torch.zeros(local.shape, dtype=torch.bool)
    for chunk in kept.chunks:
        places = list(zip(chunk.offsets, chunk.sizes, origin, local.shape, strict=True))
        box = [(max(at, first), min(at + n, first + m)) for at, n, first, m in places]
        if all(begin < end for begin, end in box):
            found = read_tensor(chunk.part, shape=chunk.sizes)
            theirs = tuple(slice(b - at, e - at) for (b, e), at in zip(box, chunk.offsets, strict=True))
            ours = tuple(slice(b - at, e - at) for (b, e), at in zip(box, origin, strict=True))
            local[ours].copy_(found[theirs])
            filled[ours] = True
    return bool(filled.all())


def keys(folder: str) -> set[str]:
    """The keys of all entries."""
    return set(read_metadata(folder))


def model_entries(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights under their keys; these are the model's own tensors."""
    return {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}


def optimizer_entries(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Any]:
    """Moments, step counts and settings under their keys; zeros for a parameter that has not been updated yet.

    torch's own function for this makes an update when there has been none, which changes the run.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    entries: dict[str, Any] = {}
    for group in optimizer.param_groups:
        settings = {field: value for field, value in group.items() if field != "params"}
        settings.setdefault("initial_lr", group["lr"])
        for parameter in group["params"]:
            name = names[id(parameter)]
            state = optimizer.state.get(parameter) or _cold(parameter)
            entries |= {f"optim.state.{name}.{field}": value.detach() for field, value in state.items()}
            entries |= {f"optim.param_groups.{name}.{field}": value for field, value in settings.items()}
    return entries


def load_optimizer(folder: str, model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Put moments and step counts of a checkpoint into the optimiser.

    Raises:
        DataError: a parameter's are missing, or of another shape.
    """
    states = {}
    for name, parameter in model.named_parameters():
        states[name] = _cold(parameter)
    entries = {f"optim.state.{name}.{field}": value for name, state in states.items() for field, value in state.items()}
    read_into(folder, entries)
    for name, parameter in model.named_parameters():
        # A count of 0 is of a parameter that was never updated: AdamW then makes its own state.
        if float(states[name]["step"]):
            optimizer.state[parameter] = states[name]


def _cold(parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    # Fused AdamW keeps its step count on the parameter's device.
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, requires_grad=False),
        "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
    }


def _quieten() -> None:
    """Leave out torch's warning of one process; for good, because checkpoints are also written in a thread."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
