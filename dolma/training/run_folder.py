"""The folder of a run: whose it is, and whether what lies there is gone on with, replaced or left alone. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAME as MANIFEST
from dolma.data.manifest import fingerprint, read_manifest
from dolma.errors import DataError, OutputExistsError
from dolma.printable import printable
from dolma.training.config import INCIDENTAL, TrainConfig, listed
from dolma.training.data.contents import Contents
from dolma.training.eval_inputs import eval_inputs
from dolma.training.metrics import StepRecord, read_metrics
from dolma.training.stages import Stages, resolve_stages
from dolma.training.state import (
    CONFIG,
    STATE,
    WEIGHTS,
    CheckpointState,
    Each,
    checkpoints,
    deciding,
    identity_of,
    read_state,
)

LOG = "metrics.jsonl"

_SHOWN = 60  # characters of a value

Claim = Literal["new", "same", "goes on", "afresh"]
"""What a run finds: an empty folder; its own; one to go on with, whose settings are others; one to replace."""


class RunFolder:
    """The folder of a run of this recipe, on these stages; nothing is written to it here.

    `tokens` are the folders of token shards that were given beside the recipe.
    """

    def __init__(
        self, config: TrainConfig, stages: Stages, output: str, *, tokens: list[str], contents: Contents
    ) -> None:
        self.config, self.stages, self.output, self._tokens = config, stages, output, tokens
        self.log, self.config_path = streams.join(output, LOG), streams.join(output, CONFIG)
        self._contents = contents

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the weights, in plain values."""
        settings = _settings(self.config, self.stages, self._contents)
        if self.config.init_from is not None and not settings["weights"] and streams.exists(self.config_path):
            settings["weights"] = self._settings_there(overwrite=True).get("weights", "")  # not needed any more
        return settings

    @cached_property
    def identity(self) -> str:
        """The fingerprint of the settings that decide the weights of the steps done."""
        return identity_of(self.settings)

    def claim(self, *, overwrite: bool) -> Claim:
        """What a run finds that may replace another one or not.

        Raises:
            OutputExistsError: it is another's.
            DataError: the settings or the newest checkpoint there are damaged, and not to be replaced.
        """
        if not streams.exists(self.config_path):
            if strangers := self._strangers():
                raise OutputExistsError(
                    f"{printable(self.output)} holds files that no run of ours has written: {printable(strangers[0])}\n"
                    "  they are never overwritten: move them away, or give another output folder"
                )
            return "new"
        found = self._settings_there(overwrite=overwrite)
        if found == self.settings:
            return "afresh" if overwrite and self._damaged() else "same"
        if overwrite or self._untrained(found):
            return "afresh"
        if (said := self._differs(found)) is not None:
            raise OutputExistsError(
                f"{printable(self.output)} holds another run: {said}\n"
                "  `--overwrite` starts afresh; or give another output folder"
            )
        return "goes on"

    def replaced(self) -> str | None:
        """Why this run would not go on with the one that lies there; None where it would, or where there is none.

        Raises:
            DataError: the settings or the newest checkpoint there are damaged.
        """
        if not streams.exists(self.config_path):
            return None
        found = self._settings_there(overwrite=False)
        return None if found == self.settings or self._untrained(found) else self._differs(found)

    def _settings_there(self, *, overwrite: bool) -> dict[str, Any]:
        """The settings of the run that the folder holds; none where they are damaged and the run is to be replaced.

        Raises:
            DataError: they are damaged, and it is not.
        """
        try:
            found = decode_json(streams.read_bytes(self.config_path), dict[str, Any])
            msgspec.convert(found, _Shape)
        except msgspec.DecodeError as error:
            if overwrite:
                return {}
            raise DataError(
                f"does not hold the settings of a training run: {printable(error)}\n"
                "  put the file back; or `--overwrite` removes the run and starts afresh",
                file=self.config_path,
            ) from error
        return found

    def _untrained(self, found: dict[str, Any]) -> bool:
        """Whether the settings are of a run of ours that has left nothing to lose, such as one that was refused."""
        ours = found.keys() == self.settings.keys()
        return ours and not checkpoints(self.output) and not self.is_sealed()

    def is_sealed(self) -> bool:
        """Whether the run that lies there has its manifest, as all do that are finished.

        Raises:
            DataError: it is damaged.
        """
        try:
            return read_manifest(self.output) is not None
        except DataError as error:
            raise DataError(
                f"{error.message.partition(chr(10))[0]}\n  remove this file: the same command writes it again",
                file=error.file,
            ) from error

    def _differs(self, found: dict[str, Any]) -> str | None:
        """Why these settings cannot go on with a run of others; None where they say the same of all steps done."""
        said = _difference(found, self.settings)
        if deciding(found) != deciding(self.settings):
            return said
        state, _, _ = self.restore_point(weights=False)
        if state is None:
            return None
        before = resolve_stages(state.config, self._tokens)
        reason = self._dtype_differs(state) or self.stages.differ(before, steps=state.step)
        return f"{said}: {reason}" if reason else None

    def _dtype_differs(self, state: CheckpointState) -> str | None:
        """Why the steps after a checkpoint may not be of another `dtype` than those before; None where they may."""
        if state.config.dtype == self.config.dtype:
            return None
        if state.step == self.stages.steps:
            return "all steps are done"
        if not self.config.allow_dtype_change:
            return "the same steps would come out otherwise\n  `allow_dtype_change: true` goes on in the new one"
        return None

    def _strangers(self) -> list[str]:
        if streams.is_url(self.output):
            below = (path.removeprefix(f"{self.output.rstrip('/')}/") for path in streams.list_files(self.output))
            names = sorted({name.partition("/")[0] for name in below})
        else:
            names = sorted(os.listdir(self.output)) if os.path.isdir(self.output) else []
        return [name for name in names if not name.startswith(".") and name != "recipe.yaml"]

    def _damaged(self) -> bool:
        try:
            self.restore_point()
            self.is_sealed()
        except DataError:
            return True
        return False

    def restore_point(
        self, *, each: Each = map, weights: bool = True
    ) -> tuple[CheckpointState | None, str | None, list[StepRecord]]:
        """The newest checkpoint's state and folder, and the log up to it; None and nothing when there is none.

        `each` and `weights`: as `read_state` has them.

        Raises:
            DataError: the checkpoint or the log is damaged.
        """
        found = checkpoints(self.output)
        newest = max(found, default=0)
        if not newest:
            return None, None, []
        state = read_state(found[newest], each=each, weights=weights)
        if (state.step, state.identity) != (newest, self.identity):
            raise DataError(
                "is a checkpoint of another run\n  move it away, or train again with `--overwrite`", file=found[newest]
            )
        kept = [record for record in read_metrics(self.log) if record.step <= newest]
        if [record.step for record in kept] != list(range(1, newest + 1)):
            raise DataError(
                f"does not hold the steps 1 to {newest:,} that the newest checkpoint has behind it\n"
                "  put the log back, or train again with `--overwrite`",
                file=self.log,
            )
        return state, found[newest], kept


def foresee(
    config: TrainConfig, *, tokens: str | Sequence[str] | None, output: str | None, overwrite: bool | None
) -> tuple[Stages, Claim]:
    """The stages of a run that is not made now, and what it would find in its folder; refuses what the run would.

    Of shards that a run there has read, those that were touched since are read again, others are not. `overwrite`: as
    `claim` has it; None: as it needs to be.

    Raises:
        ConfigError, DataError: as `resolve_stages`, `eval_inputs` and `RunFolder.claim`.
    """
    contents = Contents(output or "")
    there = output is not None and streams.exists(streams.join(output, CONFIG))
    folders = listed(tokens or ())
    stages = resolve_stages(config, folders, contents=contents if there else None)
    if (inputs := eval_inputs(config, stages)) is not None and there:
        inputs.check(contents)
    if output is None:
        return stages, "new"
    streams.check_writable(output)
    folder = RunFolder(config, stages, output, tokens=folders, contents=contents)
    return stages, folder.claim(overwrite=folder.replaced() is not None if overwrite is None else overwrite)


def chosen(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide the weights, in plain values, without paths: what lies there decides."""
    found = msgspec.to_builtins(config)
    found["stages"] = [_chosen(stage) for stage in found["stages"]]
    return _chosen(found)


def _chosen(settings: dict[str, Any]) -> dict[str, Any]:
    found = {k: v for k, v in settings.items() if k not in INCIDENTAL and k != "init_from"}
    sources = {name: {k: v for k, v in one.items() if k != "tokens"} for name, one in (found["sources"] or {}).items()}
    return found | {"sources": sources}


def initial_weights(folder: str | None, contents: Contents) -> str:
    """A checksum of the weights that a run begins with; "" of none, or where there are none any more."""
    if folder is None:
        return ""
    base = streams.join(folder, "")
    below = {path.removeprefix(base): path for path in streams.list_files(folder)}
    if STATE in below:
        return streams.checksum(below[MANIFEST]) if MANIFEST in below else ""
    paths = [path for name, path in below.items() if _is_of_model(name)]
    return fingerprint(contents.whole(paths)) if paths else ""


def _is_of_model(path: str) -> bool:
    """Whether a file of a folder, by its path in it, decides what a model of OLMo-core or transformers computes."""
    folder, _, name = path.rpartition("/")
    return folder == WEIGHTS or (not folder and (name == "config.json" or name.endswith(".safetensors")))


def _settings(config: TrainConfig, stages: Stages, contents: Contents) -> dict[str, Any]:
    resolved = [
        {"name": stage.name, "steps": stage.steps, "model": msgspec.to_builtins(stage.model)} for stage in stages.stages
    ]
    settings = {
        "config": chosen(config) | {"steps": stages.steps, "model": resolved[0]["model"]},
        "stages": resolved,
        "peak": stages.stages[0].peak,
        "vocab_size": stages.tokenizer.vocab_size,
        "tokenizer_sha256": stages.tokenizer.tokenizer_sha256,
        "eos_id": stages.tokenizer.eos_id,
        "shards": [[file.name, file.checksum] for file in stages.files()],
        "beside": stages.beside(contents),
        "weights": initial_weights(config.init_from, contents),
    }
    return decode_json(msgspec.json.encode(settings), dict[str, Any])


class _ConfigShape(msgspec.Struct):
    stages: list[dict[str, Any]] = []


class _Shape(msgspec.Struct):
    """What is taken for granted of the settings that a run left."""

    config: _ConfigShape = msgspec.field(default_factory=_ConfigShape)
    stages: list[dict[str, Any]] = []
    beside: dict[str, Any] = {}


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    changed = list(_changed(found.get("config", {}), wanted["config"]))
    if changed:
        return "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
    if found.get("peak") != wanted["peak"]:
        return f"its first rate was {found.get('peak')}, now {wanted['peak']}"
    if found.get("shards") != wanted["shards"]:
        return "its token shards were others"
    before, after = found.get("beside", {}), wanted["beside"]
    if found.get("weights") != wanted["weights"]:
        return "the weights in `init_from` were others"
    others = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    if others:
        return f"the {others[0]} were others"
    return "its tokenizer was another"


def _changed(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """The settings that are no longer what they were, each with its two values; of sections the keys in them.

    >>> list(_changed({"model": {"layers": 2, "heads": 2}, "stages": [{"steps": 4}]},
    ...               {"model": {"layers": 4, "heads": 2}, "stages": [{"steps": 4}]}))
    ['`model.layers` was 2, now 4']
    """
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            yield from _changed(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    elif _is_list_of_sections(before) and _is_list_of_sections(after) and len(before) == len(after):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _changed(one, other, f"{key}[{i}]")
    else:
        yield f"`{printable(key)}` was {_shown(before)}, now {_shown(after)}"


def _is_list_of_sections(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _shown(value: Any) -> str:
    """A value in few characters.

    >>> _shown(0.5), _shown({"factor": 8.0}), _shown([{"name": "a"}, {"name": "b"}]), _shown(None)
    ('0.5', 'given', '2 of them', 'none')
    """
    if value is None or value == []:
        return "none"
    if isinstance(value, Mapping):
        return "given"
    if _is_list_of_sections(value):
        return f"{len(value)} of them"
    said = repr(value)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
