"""What one process has of a tensor that is spread over several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributed.tensor import DTensor


def local_part(tensor: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """This process's part, and where in the whole it begins; the tensor itself when it is not spread."""
    if isinstance(tensor, DTensor):
        return tensor.to_local(), tuple(tensor.__create_chunk_list__()[0].offsets)
    return tensor, (0,) * tensor.dim()


@torch.no_grad()
def assign_rows(tensor: torch.Tensor, rows: Callable[[int, int], torch.Tensor]) -> None:
    """Copy into this process's part of a tensor its rows of the whole, given those from one to another."""
    local, origin = local_part(tensor)
    if local.numel():
        local.copy_(rows(origin[0], origin[0] + len(local)))


@torch.no_grad()
def assign(tensor: torch.Tensor, whole: torch.Tensor) -> None:
    """Copy this process's part of `whole`, which has the tensor's shape, into it. Processes exchange nothing."""
    local, origin = local_part(tensor)
    local.copy_(whole[tuple(slice(at, at + n) for at, n in zip(origin, local.shape, strict=True))])
