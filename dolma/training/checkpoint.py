"""Checkpoints: `stepN/` with weights, moments and state, there as a whole or not at all.

`model_and_optim/` is a distributed checkpoint of torch with OLMo-core's names (`dolma/training/dcp.py`); `state.json`
says what is being trained, on what, and how far; `manifest.json` has the checksums and is written last.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import torch

from dolma.data import streams
from dolma.data.manifest import NAME as MANIFEST
from dolma.data.manifest import FileSet, OutputFile, file_there, manifest_of, write_manifest
from dolma.errors import DataError, DolmaError, OutputExistsError
from dolma.printable import printable
from dolma.training import dcp
from dolma.training.data.shards import path_from_run
from dolma.training.model.transformer import Transformer, outline
from dolma.training.parallel import ALONE, Processes, by_all, by_first, by_shares, spread
from dolma.training.presets import count_parameters
from dolma.training.state import NAME, STATE, WEIGHTS, CheckpointState, checkpoints, newest, read_state

_UNFINISHED = ".tmp"  # ends the name of a folder that is being written or removed
_BYTES_PER_PARAMETER = 12.1  # float32 weights and two moments, and what surrounds them


def check_new_folder(output: str) -> None:
    """Return when a new folder may be made there.

    Raises:
        ConfigError: nothing can be written there.
        OutputExistsError: there is something, or it is not of this machine.
    """
    streams.check_writable(output)
    if streams.is_url(output):
        raise OutputExistsError(
            f"{printable(output)}: checkpoints are written to a local disk only, for now"
            "\n  give a local folder, and copy it afterwards"
        )
    if os.path.isdir(output) and os.listdir(output):
        raise OutputExistsError(f"{printable(output)} is not empty\n  give another output folder")
    if os.path.lexists(output) and not os.path.isdir(output):
        raise OutputExistsError(f"{printable(output)} is a file, expected an output folder\n  give another one")


def remove_unfinished(output: str) -> None:
    """Delete what a killed run left of a checkpoint that it wrote or removed."""
    if streams.is_url(output):
        whole = checkpoints(output).values()
        for path in streams.list_files(output):
            step = path.removeprefix(f"{output.rstrip('/')}/").partition("/")[0]
            if NAME.match(step) and streams.join(output, step) not in whole:
                streams.remove(path)
        return
    for entry in os.scandir(output):
        name, suffix = entry.name[: -len(_UNFINISHED)], entry.name[-len(_UNFINISHED) :]
        if suffix == _UNFINISHED and NAME.match(name):
            if entry.is_symlink():
                os.unlink(entry.path)
            elif entry.is_dir():
                shutil.rmtree(entry.path)


def check_room(output: str, parameters: int) -> None:
    """Return when a checkpoint of so many parameters fits on the disk.

    Raises:
        DolmaError: it does not; says how much is needed and how much is free.
    """
    place = tempfile.gettempdir() if streams.is_url(output) else output  # parts are written there, and uploaded
    needed, free = int(parameters * _BYTES_PER_PARAMETER), shutil.disk_usage(place).free
    if free < needed:
        raise DolmaError(
            f"a checkpoint needs {needed / 1e9:,.1f} GB, and {place} has {free / 1e9:,.1f} GB left\n"
            "  make room, or lower `keep_checkpoints`; then run the same command again"
        )


def folder_of(output: str, step: int) -> str:
    """Where the checkpoint of a step is."""
    return streams.join(output, f"step{step}")


def entries_of(model: Transformer, optimizer: torch.optim.AdamW) -> dict[str, Any]:
    """What a checkpoint has of a run: weights, moments and settings of the optimiser, which are those of the run."""
    return dcp.model_entries(model) | dcp.optimizer_entries(model, optimizer)


def write(output: str, entries: Mapping[str, Any], state: CheckpointState, processes: Processes) -> str:
    """Write the checkpoint of `state.step` and return its folder. Nothing of the run is changed by it.

    Every process of a group calls this.

    Raises:
        DolmaError: the disk has too little room.
        WriteError: nobody may write there, or the room was taken in the meantime.
    """
    final = folder_of(output, state.step)
    unfinished = final if streams.is_url(final) else final + _UNFINISHED  # what has no manifest is no checkpoint
    n_parameters = sum(value.numel() for key, value in entries.items() if key.startswith("model."))
    by_first(partial(_begin, output, unfinished, n_parameters), processes)
    _write_entries(streams.join(unfinished, WEIGHTS), entries, processes)
    by_first(partial(_write_state, unfinished, state, output), processes)
    _seal(unfinished, state, processes)
    by_first(partial(_publish, unfinished, final), processes)
    return final


def _begin(output: str, unfinished: str, n_parameters: int) -> None:
    check_room(output, n_parameters)
    if streams.is_url(unfinished):
        streams.remove_tree(unfinished)
        return
    with streams.writing(unfinished.removesuffix(_UNFINISHED)):
        os.mkdir(unfinished)


def _write_entries(folder: str, entries: Mapping[str, Any], processes: Processes) -> None:
    """Write this process's part of the entries: at once, or where the folder is remote, by way of the local disk."""
    if not streams.is_url(folder):
        dcp.write(folder, entries, group=processes.group)
        return
    with tempfile.TemporaryDirectory(prefix="dolma-checkpoint-") as near:
        dcp.write(near, entries, group=processes.group)
        by_all(partial(_upload, near, folder), processes)


def _upload(near: str, folder: str) -> None:
    for name in sorted(os.listdir(near)):
        path = streams.join(folder, name)
        with streams.atomic_path(path) as temporary, streams.writing(path):
            shutil.move(os.path.join(near, name), temporary)


def _write_state(folder: str, state: CheckpointState, output: str) -> None:
    stored = state.with_paths(partial(path_from_run, output))
    encoded = msgspec.json.format(msgspec.json.encode(stored), indent=1)
    streams.write_bytes(streams.join(folder, STATE), encoded + b"\n")


def _publish(unfinished: str, final: str) -> None:
    if not streams.is_url(final):
        with streams.writing(final):
            os.rename(unfinished, final)


def _seal(folder: str, state: CheckpointState, processes: Processes = ALONE) -> None:
    """Write the manifest once all files are on the disk to stay; each process sees to its share of them."""
    names = by_first(partial(_names, folder), processes)
    outputs = sorted(by_shares(partial(_kept, folder), names, processes), key=lambda out: out.path)
    config = {"identity": state.identity, "step": state.step}
    made_by = FileSet(folder=folder, stage="checkpoint", name=f"step{state.step}", config=config, inputs=[])
    manifest = manifest_of(made_by, outputs=outputs, ledger={}, notes={})
    by_first(partial(write_manifest, folder, manifest), processes)


def _names(folder: str) -> list[str]:
    """The files of a checkpoint, those of weights first, in the order of the processes that wrote them."""
    weights = [path.rpartition("/")[2] for path in streams.list_files(streams.join(folder, WEIGHTS))]
    weights.sort(key=lambda name: (name == dcp.METADATA, len(name), name))
    return [*(f"{WEIGHTS}/{name}" for name in weights), STATE]


def _kept(folder: str, name: str) -> OutputFile:
    path = streams.join(folder, name)
    if not streams.is_url(path):
        with streams.writing(path), open(path, "rb") as written:
            os.fsync(written.fileno())
    return file_there(folder, name)


def load_weights(folder: str, model: Transformer) -> None:
    """Put a checkpoint's weights into the model."""
    dcp.read_into(streams.join(folder, WEIGHTS), dict(dcp.model_entries(model)))


def load_moments(folder: str, model: Transformer, optimizer: torch.optim.AdamW) -> None:
    """Put a checkpoint's optimiser state into the optimiser."""
    dcp.load_optimizer(streams.join(folder, WEIGHTS), model, optimizer)


def load_model(folder: str, processes: Processes = ALONE) -> tuple[Transformer, CheckpointState]:
    """The model of a checkpoint, or of the newest one of a run, in evaluation mode, and its state.

    It is spread over the processes; each reads its part.

    Raises:
        DataError: the folder is no checkpoint, or a file of it has changed.
    """
    folder = newest(folder)
    state = read_state(folder, each=partial(by_shares, processes=processes))
    parameters = count_parameters(state.model, vocab_size=state.vocab_size)
    weights = streams.join(folder, WEIGHTS)
    if parameters > sum(streams.size(path) or 0 for path in streams.list_files(weights)):
        raise DataError(
            f"has fewer bytes than its model has parameters, {parameters:,}\n  copy or download the checkpoint again",
            file=weights,
        )
    model = outline(state.model, vocab_size=state.vocab_size)
    spread(model, processes)
    model.to_empty(device=processes.device)
    load_weights(folder, model)
    return model.eval(), state


def rotate(output: str, *, keep: int, permanent: Callable[[int], bool] = lambda step: False) -> None:
    """Delete all but the newest `keep` checkpoints and those of the steps that are `permanent`; 0 keeps all."""
    found = checkpoints(output)
    for step in list(found)[:-keep] if keep else []:
        if not permanent(step):
            remove(found[step])


def remove(folder: str) -> None:
    """Delete a checkpoint; killed half-way, what is left does not pass for one."""
    if streams.is_url(folder):
        streams.remove(streams.join(folder, MANIFEST))
        streams.remove_tree(folder)
        return
    os.rename(folder, folder + _UNFINISHED)
    shutil.rmtree(folder + _UNFINISHED)
