"""Checkpoints: `stepN/` with weights, moments and state, there as a whole or not at all.

`model_and_optim/` is a distributed checkpoint of torch with OLMo-core's names (`dolma/training/dcp.py`); `state.json`
says what is being trained, on what, and how far; `manifest.json` has the checksums and is written last.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence

import msgspec
import torch

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import FileSet, OutputFile, manifest_of, read_manifest, write_manifest
from dolma.errors import DataError, DolmaError
from dolma.printable import printable
from dolma.training import dcp
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.data.mixture import MixedSource
from dolma.training.data.shards import tokens_of_run
from dolma.training.model.transformer import Transformer, unfilled
from dolma.training.parallel import Processes, barrier
from dolma.training.presets import count_parameters

WEIGHTS = "model_and_optim"
STATE = "state.json"
_NAME = re.compile(r"step(\d+)\Z")
_UNFINISHED = ".tmp"  # ends the name of a folder that is being written or removed
_BYTES_PER_PARAMETER = 12.1  # float32 weights and two moments, and what surrounds them


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`. `identity` is the fingerprint of everything that decides the weights."""

    step: int  # over all stages
    steps: int
    tokens_seen: int
    stage: str
    identity: str
    code_version: str
    config: TrainConfig
    model: ModelConfig  # as the stage runs it
    vocab_size: int
    tokenizer_sha256: str
    eos_id: int | None
    learning_rate: float  # of the last update
    shards: dict[str, str]  # file name to xxh3-128
    tokens: list[str]  # folders of shards that the run was given, not those of mixtures; in the file, from the run's on
    mixture: list[MixedSource]  # of the stage
    tokens_by_source: dict[str, int]  # seen so far, in all stages
    losses: list[float]  # that the guard against spikes remembers
    norms: list[float]
    processes: int = 1  # that trained together
    parent: str | None  # the checkpoint that this run began with or went on from

    def implausible(self) -> str:
        """The first value that no training has, in words; empty where there is none."""
        ranges: dict[str, tuple[float, float, float]] = {
            "step": (self.step, 0, self.steps),
            "eos_id": (self.eos_id or 0, 0, self.vocab_size - 1),
            "tokens_seen": (self.tokens_seen, 0, math.inf),
            "learning_rate": (self.learning_rate, 0, math.inf),
            "processes": (self.processes, 1, math.inf),
            **{f"tokens_by_source.{name}": (n, 0, math.inf) for name, n in self.tokens_by_source.items()},
        }
        wrong = (
            f"`{printable(key)}` is {value}, expected {least} to {most}"
            for key, (value, least, most) in ranges.items()
            if not least <= value <= most
        )
        return next(wrong, "")


def checkpoints(output: str) -> dict[int, str]:
    """The finished checkpoints of a run, by step, in order."""
    found = {}
    for entry in os.scandir(output) if os.path.isdir(output) else ():
        match = _NAME.match(entry.name)
        if match and entry.is_dir():
            found[int(match[1])] = streams.join(output, entry.name)
    return dict(sorted(found.items()))


def remove_unfinished(output: str) -> None:
    """Delete what a killed run left of a checkpoint that it wrote or removed."""
    for entry in os.scandir(output):
        name, suffix = entry.name[: -len(_UNFINISHED)], entry.name[-len(_UNFINISHED) :]
        if entry.is_dir() and suffix == _UNFINISHED and _NAME.match(name):
            shutil.rmtree(entry.path)


def check_room(output: str, parameters: int) -> None:
    """Return when a checkpoint of so many parameters fits on the disk.

    Raises:
        DolmaError: it does not; says how much is needed and how much is free.
    """
    needed, free = int(parameters * _BYTES_PER_PARAMETER), shutil.disk_usage(output).free
    if free < needed:
        raise DolmaError(
            f"a checkpoint needs {needed / 1e9:,.1f} GB, and {output} has {free / 1e9:,.1f} GB left\n"
            "  make room, or lower `keep_checkpoints`; then run the same command again"
        )


def save(
    output: str, model: Transformer, optimizer: torch.optim.AdamW, state: CheckpointState, processes: Processes
) -> str:
    """Write the checkpoint of `state.step` and return its folder. Nothing of the run is changed by saving.

    Every process of a group calls this.

    Raises:
        DolmaError: the disk has too little room.
        WriteError: nobody may write there, or the room was taken in the meantime.
    """
    final = streams.join(output, f"step{state.step}")
    unfinished = final + _UNFINISHED
    if processes.is_first:
        check_room(output, sum(parameter.numel() for parameter in model.parameters()))
        with streams.writing(final):
            os.mkdir(unfinished)
    barrier(processes)
    dcp.write(streams.join(unfinished, WEIGHTS), dcp.model_entries(model) | dcp.optimizer_entries(model, optimizer))
    if processes.is_first:
        # Relative, a run that is moved with its shards still finds them, and no machine's path is passed around.
        tokens = [os.path.relpath(given, output) for given in state.tokens]
        stored = msgspec.structs.replace(state, tokens=tokens)
        encoded = msgspec.json.format(msgspec.json.encode(stored), indent=1)
        streams.write_bytes(streams.join(unfinished, STATE), encoded + b"\n")
        _seal(unfinished, state)
        with streams.writing(final):
            os.rename(unfinished, final)
    barrier(processes)
    return final


def _seal(folder: str, state: CheckpointState) -> None:
    outputs = []
    for name in sorted(_files(folder)):
        path = streams.join(folder, name)
        with open(path, "rb") as written:
            os.fsync(written.fileno())
        outputs.append(
            OutputFile(set=folder, path=name, bytes=streams.size(path) or 0, checksum=streams.checksum(path))
        )
    config = {"identity": state.identity, "step": state.step}
    made_by = FileSet(folder=folder, stage="checkpoint", name=f"step{state.step}", config=config, inputs=[])
    write_manifest(folder, manifest_of(made_by, outputs=outputs, ledger={}, notes={}))


def _files(folder: str) -> Iterator[str]:
    yield STATE
    yield from (f"{WEIGHTS}/{name}" for name in os.listdir(streams.join(folder, WEIGHTS)))


def read_state(folder: str) -> CheckpointState:
    """The state of a checkpoint whose files are all as they were written.

    Raises:
        DataError: a file is gone or has changed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(
            "no manifest: this is no finished checkpoint\n  give a `stepN` folder of a training run", file=folder
        )
    if STATE not in {out.path for out in manifest.outputs}:
        raise DataError("is no checkpoint\n  give a `stepN` folder of a training run", file=folder)
    inside = os.path.join(os.path.realpath(folder), "")
    for out in manifest.outputs:
        path = streams.join(folder, out.path)
        if not os.path.realpath(path).startswith(inside):
            raise DataError("is a link that leads out of its checkpoint\n  put the file itself in its place", file=path)
        if streams.size(path) != out.bytes or streams.checksum(path) != out.checksum:
            raise DataError(
                "is gone or has changed since the checkpoint was saved\n"
                "  delete this checkpoint's folder to go on from the one before, or train again with `--overwrite`",
                file=path,
            )
    path = streams.join(folder, STATE)
    try:
        state = decode_json(streams.read_bytes(path), CheckpointState)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"is not the state of a checkpoint: {printable(error)}", file=path) from error
    if said := state.implausible():
        raise DataError(f"is not the state of a checkpoint: {said}", file=path)
    return msgspec.structs.replace(state, tokens=tokens_of_run(os.path.dirname(os.path.abspath(folder)), state.tokens))


def load_weights(folder: str, model: Transformer) -> None:
    """Put a checkpoint's weights into the model."""
    dcp.read_into(streams.join(folder, WEIGHTS), dict(dcp.model_entries(model)))


def load_moments(folder: str, model: Transformer, optimizer: torch.optim.AdamW) -> None:
    """Put a checkpoint's optimiser state into the optimiser."""
    dcp.load_optimizer(streams.join(folder, WEIGHTS), model, optimizer)


def newest(path: str) -> str:
    """The path itself, or of a training run its newest checkpoint."""
    found = checkpoints(path)
    return found[max(found)] if found else path


def load_model(folder: str) -> tuple[Transformer, CheckpointState]:
    """The model of a checkpoint, or of the newest one of a run, in evaluation mode, and its state.

    Raises:
        DataError: the folder is no checkpoint, or a file of it has changed.
    """
    folder = newest(folder)
    state = read_state(folder)
    parameters = count_parameters(state.model, vocab_size=state.vocab_size)
    weights = streams.join(folder, WEIGHTS)
    if parameters > sum(os.path.getsize(entry) for entry in (os.scandir(weights) if os.path.isdir(weights) else ())):
        raise DataError(f"has fewer bytes than its model has parameters, {parameters:,}", file=weights)
    model = unfilled(state.model, vocab_size=state.vocab_size)
    load_weights(folder, model)
    return model.eval(), state


def rotate(output: str, *, keep: int, permanent: Sequence[int] = ()) -> None:
    """Delete all but the newest `keep` checkpoints and those of the steps in `permanent`; 0 keeps all."""
    found = checkpoints(output)
    for step in list(found)[:-keep] if keep else []:
        if step not in permanent:
            remove(found[step])


def remove(folder: str) -> None:
    """Delete a checkpoint; killed half-way, what is left does not pass for one."""
    os.rename(folder, folder + _UNFINISHED)
    shutil.rmtree(folder + _UNFINISHED)
