"""Weights that are spread: each process makes its part, of the same bits, in the memory of its part.

Several processes are one after the other here, in torch's group that sends nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.local import local_part
from dolma.training.parallel import Processes
from dolma.training.stages import resolve_stages
from dolma.training.steps import Training

MODEL = ModelConfig(d_model=32, layers=6, heads=2, mlp_hidden=96)


@contextmanager
def process(rank: int, world_size: int) -> Iterator[Processes]:
    cpu = torch.device("cpu")
    if world_size == 1:
        yield Processes(rank=0, world_size=1, device=cpu)
        return
    dist.init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
    try:
        # Named by its rank: torch keeps what it has computed for a mesh, and tells them apart by size and names.
        mesh = init_device_mesh("cpu", (world_size,), mesh_dim_names=(f"shards_{rank}",))
        yield Processes(rank=rank, world_size=world_size, device=cpu, mesh=mesh)
    finally:
        dist.destroy_process_group()


class Allocations(TorchDispatchMode):
    """Counts the bytes of live tensors that operations made while it was active, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if type(tensor) is torch.Tensor and tensor.device.type != "meta":
                self._count(tensor.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.seen and storage.nbytes():
            self.seen.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key, storage.nbytes())

    def _free(self, key: int, n: int) -> None:
        self.seen.discard(key)
        self.live -= n


def parts(config: TrainConfig, tokens: str, *, rank: int, world_size: int) -> dict[str, torch.Tensor]:
    with process(rank, world_size) as processes:
        training = Training(config, resolve_stages(config, tokens), processes, state=None, folder=None)
        return {name: local_part(value)[0].detach().clone() for name, value in training.model.named_parameters()}


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_initial_weights_are_the_same_bits_for_any_number_of_processes(world_size, tokens, config):
    batch = {"model": MODEL, "batch_size": 12}
    config = TrainConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | batch)
    whole = parts(config, tokens, rank=0, world_size=1)
    found = [parts(config, tokens, rank=rank, world_size=world_size) for rank in range(world_size)]
    for name, expected in whole.items():
        assert torch.equal(torch.cat([part[name] for part in found]), expected), name


def test_a_process_allocates_its_part_and_one_parameter_at_a_time(tokens, config):
    config = TrainConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | {"model": MODEL})
    stages = resolve_stages(config, tokens)
    peaks = {}
    for world_size in (1, 4):
        with process(0, world_size) as processes, Allocations() as counted:
            training = Training(config, stages, processes, state=None, folder=None)
        parameters = list(training.model.parameters())
        peaks[world_size] = counted.peak
    whole, largest = (of(p.numel() * 4 for p in parameters) for of in (sum, max))
    assert peaks[1] >= whole
    assert peaks[4] <= whole / 4 + 4 * largest < whole
