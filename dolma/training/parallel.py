"""One process or several: which one this is, how the model is spread over them, what they add up.

Several are started by `torchrun`, which says so in the environment. FSDP2 shards weights, gradients and moments over
all of them, or over each of `hsdp_replicas` groups.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain, islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from dolma.errors import ConfigError, DolmaError
from dolma.printable import printable
from dolma.training.launch import launched
from dolma.training.model.transformer import Transformer

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among those that train together; `mesh` is None when it is alone.

    `group` is that in which values are exchanged, where it is not torch's default one.
    """

    rank: int
    world_size: int
    device: torch.device
    mesh: DeviceMesh | None = None
    group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes logs and manifests."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """What torch calls the device; empty for a CPU."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""


def is_first() -> bool:
    """Whether this process is alone, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


ALONE = Processes(rank=0, world_size=1, device=torch.device("cpu"))


@contextmanager
def joined(kind: str, *, replicas: int | None = None, path: str = "$.train.device") -> Iterator[Processes]:
    """This process, in the group that torchrun describes, if it started it; the group ends with the block.

    `kind`: cpu or cuda. `path`: the key that says so.

    Raises:
        ConfigError: no such device, or a number of processes that the batch or the replicas do not go into.
    """
    rank, local_rank, world_size = launched()
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("`device` is cuda, and this torch sees no CUDA device\n  take `device: cpu`", path=path)
    device = torch.device(kind, local_rank) if kind == "cuda" else torch.device(kind)
    if world_size == 1:
        yield Processes(rank=0, world_size=1, device=device)
        return
    if world_size % (replicas or 1):
        raise ConfigError(
            f"{world_size} processes do not go into {replicas} replicas"
            "\n  start a multiple of `hsdp_replicas` processes, or change it",
            path="$.train.hsdp_replicas",
        )
    if kind == "cuda":
        torch.cuda.set_device(device)
    mesh, began = None, not dist.is_initialized()
    if began:
        import_module("torch.distributed.nn")  # a group that is there at this import stays a default of its functions
        with _losing_others(rank, world_size):
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")
        atexit.register(_free_models)
    try:
        with _losing_others(rank, world_size):
            mesh = _mesh(kind, replicas, world_size)
            yield Processes(rank=rank, world_size=world_size, device=device, mesh=mesh)
    finally:
        if began:
            dist.destroy_process_group()
            # Caches of DTensor keep the mesh. A thread of its groups that outlives the interpreter aborts the process.
            getattr(mesh, "_pg_registry", {}).clear()


@contextmanager
def _losing_others(rank: int, world_size: int) -> Iterator[None]:
    """Makes what torch says of processes that have ended, or are not to be reached, an error of ours.

    Raises:
        DolmaError: so it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo/" in str(error)):
            raise
        raise DolmaError(
            f"process {rank} of {world_size} has lost the others: {printable(str(error).partition(chr(10))[0])}\n"
            "  see what they say, and start all of them again: training goes on from its newest checkpoint"
        ) from error


def _free_models() -> None:
    """Free sharded models, which hold groups: those in cycles, and in frames of the error that ends the program."""
    error = getattr(sys, "last_value", None)
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()


def _mesh(kind: str, replicas: int | None, world_size: int) -> DeviceMesh:
    if replicas and replicas > 1:
        return init_device_mesh(kind, (replicas, world_size // replicas), mesh_dim_names=("replicas", "shards"))
    return init_device_mesh(kind, (world_size,), mesh_dim_names=("shards",))


def spread(model: Transformer, processes: Processes, *, dtype: str = "float32") -> None:
    """Shard the model over the processes, block by block, in place; products of `dtype`, float32 sums of gradients."""
    if processes.mesh is None:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    low = dtype == "bfloat16"
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if low else MixedPrecisionPolicy()
    for block in model.blocks:
        fully_shard(block, mesh=processes.mesh, mp_policy=policy)
    fully_shard(model, mesh=processes.mesh, mp_policy=policy)
    register_fsdp_forward_method(model, "losses")
    register_fsdp_forward_method(model, "log_probabilities")
    model.over_processes = _summed


def _summed(counts: torch.Tensor) -> torch.Tensor:
    dist.all_reduce(counts)
    return counts


@contextmanager
def summing_gradients(model: Transformer, processes: Processes, *, last: bool) -> Iterator[None]:
    """Gradients are summed over the processes only in the block of the last micro-batch."""
    if processes.mesh is not None:
        model.set_requires_gradient_sync(last)  # type: ignore[operator]
    yield


@contextmanager
def only_forward(model: Transformer, processes: Processes) -> Iterator[None]:
    """For passes without a backward one: no gradients, and the model is sharded again when the block ends.

    FSDP2 shards what is not in a block again in the backward pass only; until then the model has other parameters
    than those that the optimiser updates and a checkpoint saves.
    """
    try:
        with torch.no_grad():
            yield
    finally:
        if processes.mesh is not None:
            model.reshard()  # type: ignore[operator]


def total(values: torch.Tensor, processes: Processes) -> torch.Tensor:
    """The sum over all processes of equally long float64 vectors."""
    if processes.world_size > 1:
        values = values.to(processes.device)
        dist.all_reduce(values)
    return values.cpu()


def agree(flag: bool, processes: Processes) -> bool:  # noqa: FBT001 - it is the one thing passed
    """Whether any process says so."""
    return bool(total(torch.tensor([float(flag)], dtype=torch.float64), processes).item())


def exchanged(value: T, processes: Processes) -> list[T]:
    """What each process gives, by rank; all call this."""
    if processes.world_size == 1:
        return [value]
    found: list[Any] = [None] * processes.world_size
    dist.all_gather_object(found, value, group=processes.group)
    return found


def by_first(work: Callable[[], T], processes: Processes) -> T:
    """What the first process's work gives, in all of them; the others wait for it.

    Raises:
        DolmaError: what the work raises, in all of them: none waits for one that has given up.
    """
    outcome = exchanged(_outcome(work) if processes.is_first else None, processes)[0]
    assert outcome is not None
    return _result(outcome)


def by_all(work: Callable[[], T], processes: Processes) -> T:
    """What this process's work gives, once all have done theirs.

    Raises:
        DolmaError: the first that the work raises, in all of them.
    """
    outcomes = exchanged(_outcome(work), processes)
    return [_result(outcome) for outcome in outcomes][processes.rank]


def by_shares(
    work: Callable[[Item], T], items: Sequence[Item], processes: Processes, *, alike: Hashable = None
) -> list[T]:
    """What the work gives for each item, in order: each process does its share, and all are given all.

    Processes share with those that are `alike`: where nodes have disks of their own, each looks at its own files.

    Raises:
        DolmaError: the first that the work raises, in all of them.
    """
    theirs = exchanged(alike, processes)
    sharing = [rank for rank in range(processes.world_size) if theirs[rank] == alike]
    mine = items[sharing.index(processes.rank) :: len(sharing)]
    outcomes = exchanged([_outcome(partial(work, item)) for item in mine], processes)
    # In the order of the items, and then what only others have found.
    found = [outcomes[sharing[i % len(sharing)]][i // len(sharing)] for i in range(len(items))]
    results = [_result(outcome) for outcome in found]
    for outcome in chain.from_iterable(outcomes):
        _result(outcome)
    return results


def turns(passes: Iterable[T], processes: Processes) -> Iterator[T | None]:
    """This process's passes, in turn with the others'; None, at the end, where it has one less than others.

    Parts of a model that is spread over processes are gathered in each pass, by all: without one, an idle one is made.
    """
    for some in batched(passes, processes.world_size):
        yield some[processes.rank] if processes.rank < len(some) else None


def batched(values: Iterable[T], n: int) -> Iterator[list[T]]:
    """`n` values at a time; the last ones may be fewer."""
    rest = iter(values)
    while some := list(islice(rest, n)):
        yield some


def _outcome(work: Callable[[], T]) -> tuple[T | None, DolmaError | None]:
    try:
        return work(), None
    except DolmaError as error:
        return None, error


def _result(outcome: tuple[T | None, DolmaError | None]) -> T:
    value, error = outcome
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
