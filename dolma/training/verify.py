"""Check a finished training run and its checkpoints; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAME, Manifest, differences
from dolma.runner.ledger import Ledger
from dolma.training.state import STATE, read_state


def gone(folder: str, manifest: Manifest) -> Iterator[str]:
    """The checkpoints that a run has kept and that are not there."""
    for name in manifest.notes.get("checkpoints", []):
        if not streams.exists(streams.join(folder, name, NAME)):
            yield f"{streams.join(folder, name)}: gone"


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
