"""Check a finished training run and its checkpoints; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAME, RECIPE, Manifest, differences, unlike_recipe
from dolma.errors import DataError
from dolma.runner.ledger import Ledger
from dolma.training.config import TrainConfig
from dolma.training.data.loader import batch_hash
from dolma.training.metrics import read_metrics
from dolma.training.presets import resolve_model
from dolma.training.run_folder import chosen
from dolma.training.stages import ONLY, resolve_stages
from dolma.training.state import STATE, checkpoints, is_of_run, read_state

STEPS = 1000
"""Of the log that are looked at, evenly."""


def problems(folder: str, manifest: Manifest) -> Iterator[str]:
    """The checkpoints that a run has kept and that are not there, and those there that are not its own."""
    for name in manifest.notes.get("checkpoints", []):
        if not streams.exists(streams.join(folder, name, NAME)):
            yield f"{streams.join(folder, name)}: gone"
    for step, path in checkpoints(folder).items():
        try:
            is_own = is_of_run(folder, step, path)
        except DataError:
            continue  # said of the checkpoint itself
        if not is_own:
            yield f"{path}: is a checkpoint of another run, or of another step"


def of_checkpoint(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a checkpoint and its manifest does not fit."""
    state = read_state(folder, weights=False)
    yield from differences(
        STATE,
        name=(manifest.name, f"step{state.step}"),
        step=(manifest.config["step"], state.step),
        identity=(manifest.config["identity"], state.identity),
    )


def of_run(folder: str, manifest: Manifest, ledger: Ledger) -> Iterator[str]:
    """What of a run and its manifest does not fit."""
    settings = decode_json(streams.read_bytes(streams.join(folder, "config.json")))
    yield from differences("config.json", config=(manifest.config, settings))


def unlike(config: TrainConfig, manifest: Manifest) -> Iterator[str]:
    """Where a run was made by other settings than those of the recipe's stage."""
    wanted = chosen(config)
    del wanted["stages"]
    wanted["model"] = msgspec.to_builtins(resolve_model(config.model))
    if wanted["steps"] is None:
        del wanted["steps"]  # as many as follow from the shards
    yield from unlike_recipe(manifest.config["config"], wanted)
    names = [stage["name"] for stage in manifest.config["stages"]]
    yield from differences(RECIPE, stages=(names, [stage.name for stage in config.stages] or [ONLY]))


def recomputed(config: TrainConfig, tokens: Sequence[str], output: str) -> Iterator[str]:
    """What of a run's log and pages is not what follows from its recipe, its shards and the rest of the log."""
    stages = resolve_stages(config, tokens)
    log = streams.join(output, "metrics.jsonl")
    records = read_metrics(log)
    if [record.step for record in records] != list(range(1, stages.steps + 1)):
        yield f"{log}: has not the steps 1 to {stages.steps:,}"
        return
    for record in records[:: max(1, len(records) // STEPS)]:
        stage = stages.of(record.step)
        indices = stage.loader.indices(record.step - stage.first)
        instances = stage.loader.instances
        batch = batch_hash(np.stack([instances.sources[indices], instances.windows[indices]]).astype(np.int64))
        made = (stage.name, stages.of(record.step).tokens_at(record.step), stage.rate(record.step), batch)
        if (record.stage, record.tokens, record.lr, record.batch) != made:
            yield f"{log}: step {record.step:,} is of another stage, rate or batch than it is now"
            return
    shares = {stage.name: msgspec.to_builtins(stage.shares) for stage in stages.stages if stage.shares}
    path = streams.join(output, "mixture.json")
    if shares and decode_json(streams.read_bytes(path)) != shares:
        yield f"{path}: is not what the recipe and its shards make"
