"""Checkpoints as a run goes: written before the next step, or in the background from a copy in main memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from dolma.training import checkpoint as checkpointing
from dolma.training.parallel import Processes
from dolma.training.state import CheckpointState


class Saver:
    """Writes checkpoints into the folder of a run, one after the other; a context manager, entered by all processes.

    `then` is called after each that is there as a whole. With `background`, what one failed with is raised by the next
    `save`, or where the block ends.
    """

    def __init__(
        self, output: str, processes: Processes, *, background: bool, then: Callable[[], None] = lambda: None
    ) -> None:
        self._output, self._processes, self._then = output, processes, then
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dolma-checkpoint") if background else None
        self._writing: Future[None] | None = None
        if background and processes.world_size > 1:
            # What the thread exchanges must not come between what the steps do.
            self._processes = dataclasses.replace(processes, group=dist.new_group(backend="gloo"))

    def save(self, entries: Mapping[str, Any], state: CheckpointState) -> str:
        """Write a checkpoint of these weights and moments, or begin to; its folder.

        Raises:
            DolmaError: the disk has too little room.
            WriteError: nobody may write there, or the room was taken in the meantime.
        """
        self._wait()
        if self._thread is None:
            self._write(entries, state)
        else:
            self._writing = self._thread.submit(self._write, _copied(entries), state)
        return checkpointing.folder_of(self._output, state.step)

    @property
    def failed(self) -> bool:
        """Whether the checkpoint that is being written has failed already."""
        return self._writing is not None and self._writing.done() and self._writing.exception() is not None

    def _write(self, entries: Mapping[str, Any], state: CheckpointState) -> None:
        checkpointing.write(self._output, entries, state, self._processes)
        self._then()

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        if kind is None:
            self._wait()


def _copied(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries in main memory, which the next step does not change."""
    return {key: _copy(value) if isinstance(value, torch.Tensor) else value for key, value in entries.items()}


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone() if tensor.device.type == "cpu" else tensor.detach().cpu()
