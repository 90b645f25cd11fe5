"""Checkpoints as folders, without torch: which there are, what their state is, whether files are as written."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAME as MANIFEST
from dolma.data.manifest import OutputFile, fingerprint, read_manifest
from dolma.errors import DataError
from dolma.printable import printable
from dolma.training.config import OF_COMING_STEPS, ModelConfig, TrainConfig, source_folders, with_paths
from dolma.training.data.mixture import MixedSource
from dolma.training.data.shards import TokenShards, path_of_run, tokenizer_beside

WEIGHTS = "model_and_optim"
STATE = "state.json"
CONFIG = "config.json"
SUMS = "SHA256SUMS"
NAME = re.compile(r"step(\d+)\Z")
Each = Callable[[Callable[[Any], None], list[Any]], Iterable[None]]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`, where paths are relative to the run's folder.

    `identity` is the fingerprint of everything that decides the weights.
    """

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
    tokens: list[str]  # folders of shards that the run was given, not those of mixtures
    mixture: list[MixedSource]  # of the stage
    tokens_by_source: dict[str, int]  # seen so far, in all stages
    losses: list[float]  # that the guard against spikes remembers
    norms: list[float]
    processes: int = 1  # that trained together
    parent: (
        str | None
    )  # the checkpoint that this run began with or went on from; a path from the run's folder, or a name in it

    def with_paths(self, change: Callable[[str], str]) -> CheckpointState:
        """The same state with each path changed, but for that of `parent`."""
        tokens = [change(folder) for folder in self.tokens]
        return msgspec.structs.replace(self, tokens=tokens, config=with_paths(self.config, change))

    def tokenizer(self) -> str | None:
        """The tokenizer beside the shards of any source that the run was given; None where there is none any more."""
        return tokenizer_beside([*self.tokens, *(at for _, at in source_folders(self.config))], self.tokenizer_sha256)

    def check_tokenizer(self, file: str, *, of: str) -> None:
        """Return when the tokenizer is the one that this checkpoint, `of` a folder, was trained with.

        Raises:
            DataError: it is another.
        """
        if hashlib.sha256(streams.read_bytes(file)).hexdigest() != self.tokenizer_sha256:
            raise DataError(
                f"is not the tokenizer that {printable(of)} was trained with (sha256 {self.tokenizer_sha256})\n"
                "  use the tokenizer.json beside the token shards",
                file=file,
            )

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
    """The finished checkpoints of a run, by step, in order. A remote one is finished when it has its manifest."""
    found = {}
    if streams.is_url(output):
        places = [path.split("/")[-2:] for path in streams.list_files(output)]
        steps = {step: NAME.match(step) for step, name in places if name == MANIFEST}
        found = {int(match[1]): streams.join(output, step) for step, match in steps.items() if match}
    for entry in os.scandir(output) if os.path.isdir(output) else ():
        match = NAME.match(entry.name)
        if match and entry.is_dir() and os.listdir(entry.path):
            found[int(match[1])] = streams.join(output, entry.name)
    return dict(sorted(found.items()))


def newest(path: str) -> str:
    """The path itself, or of a training run its newest checkpoint.

    Raises:
        DataError: that is a checkpoint of another run, or of another step.
    """
    found = checkpoints(path)
    if not found:
        return path
    step = max(found)
    if not is_of_run(path, step, found[step]):
        raise DataError(
            "is a checkpoint of another run, or of another step\n  move it away, or give the `stepN` folder",
            file=found[step],
        )
    return found[step]


def is_of_run(run: str, step: int, folder: str) -> bool:
    """Whether a checkpoint says that it is of this step, and of the run in whose folder it lies, if that says whose."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.stage != "checkpoint":
        return True  # told when it is read
    if manifest.config.get("step") != step:
        return False
    path = streams.join(run, CONFIG)
    if not streams.exists(path):
        return True
    try:
        settings = decode_json(streams.read_bytes(path), dict[str, Any])
    except msgspec.DecodeError:
        return True  # told when the run goes on
    return bool(manifest.config.get("identity") == identity_of(settings))


def identity_of(settings: dict[str, Any]) -> str:
    """The fingerprint of what decides the weights of the steps done, of the settings of a run."""
    return fingerprint(deciding(settings))


def deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those of the steps to come: lengths, as far as `differ` says so, and `dtype`."""
    config = {k: v for k, v in settings.get("config", {}).items() if k not in OF_COMING_STEPS}
    config["stages"] = [
        {k: v for k, v in stage.items() if k not in OF_COMING_STEPS} for stage in config.get("stages", ())
    ]
    stages = [{k: v for k, v in stage.items() if k not in OF_COMING_STEPS} for stage in settings.get("stages", ())]
    return settings | {"config": config, "stages": stages}


def read_state(folder: str, *, weights: bool = True, each: Each = map) -> CheckpointState:
    """The state of a checkpoint whose files are as they were written: all of them, or without `weights` its state.

    `each` is `map`, or what does the same by several processes.

    Raises:
        DataError: the folder is no finished checkpoint; a file is gone or has changed; `state.json` is none.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        if not streams.is_url(folder) and not os.path.isdir(folder):
            raise DataError("no such folder\n  give a training run, or a `stepN` folder in one", file=folder)
        runs = [] if streams.is_url(folder) else sorted(os.listdir(folder))
        run = next((at for name in runs if checkpoints(at := streams.join(folder, name))), None)
        hint = "give a `stepN` folder of a training run" if run is None else f"did you mean {run!r}?"
        raise DataError(f"no manifest: this is no finished checkpoint\n  {hint}", file=folder)
    if STATE not in {out.path for out in manifest.outputs}:
        raise DataError("is no checkpoint\n  give a `stepN` folder of a training run", file=folder)
    list(each(partial(_check_file, folder, weights=weights), manifest.outputs))
    path = streams.join(folder, STATE)
    try:
        state = decode_json(streams.read_bytes(path), CheckpointState)
    except msgspec.DecodeError as error:
        raise DataError(
            f"is not the state of a checkpoint: {printable(error)}\n  copy or download the checkpoint again", file=path
        ) from error
    if said := state.implausible():
        raise DataError(f"is not the state of a checkpoint: {said}\n  copy or download the checkpoint again", file=path)
    return state.with_paths(partial(path_of_run, _run_of(folder)))


def _run_of(folder: str) -> str:
    return folder.rpartition("/")[0] if streams.is_url(folder) else os.path.dirname(os.path.abspath(folder))


def _check_file(folder: str, out: OutputFile, *, weights: bool) -> None:
    path = streams.join(folder, out.path)
    if not streams.is_url(folder) and not os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), "")):
        raise DataError("is a link that leads out of its checkpoint\n  put the file itself in its place", file=path)
    is_read = weights or out.path == STATE
    if streams.size(path) != out.bytes or (is_read and streams.checksum(path) != out.checksum):
        raise DataError(
            "is gone or has changed since the checkpoint was saved\n"
            "  delete this checkpoint's folder to go on from the one before, or train again with `--overwrite`",
            file=path,
        )


def is_ours(folder: str) -> bool:
    """Whether this is a checkpoint of ours, as a whole or not; those of OLMo-core have neither state nor manifest."""
    sealed = all(streams.exists(streams.join(folder, name)) for name in (MANIFEST, f"{WEIGHTS}/.metadata"))
    return sealed or streams.exists(streams.join(folder, STATE))


# --- weights of others -----------------------------------------------------------------------------------------------


def check_weights(folder: str, *, each: Each = map) -> None:
    """Return when the weights to begin with are as they were written, as far as there are checksums of them.

    `each` is `map`, or what does the same by several processes.

    Archives of torch have checksums of their own, which their reader compares.

    Raises:
        DataError: a file has changed.
    """
    if is_ours(folder):
        read_state(folder, each=each)
        return
    list(each(_check_download, [(path, expected) for path, expected in _checksums(folder).items() if expected]))


def _check_download(file: tuple[str, str]) -> None:
    path, expected = file
    if sha256_of(path) != expected:
        raise DataError(
            f"is not the file that was written or downloaded: its SHA-256 is not {expected}\n"
            f"  export or download it again; or remove its line in {SUMS}, where it was changed on purpose",
            file=path,
        )


def doubtful_weights(folder: str | None, shards: TokenShards) -> Iterator[str]:
    """What to warn of: weights to begin with that have no checksum, or that learnt from ids of another tokenizer."""
    if folder is None:
        return
    for path in [path for path, expected in _checksums(folder).items() if not expected][:1]:
        yield f"{printable(path)} has no checksum, so a damaged file would not be noticed; `hf download` leaves one"
    if is_ours(folder) and (state := read_state(folder, weights=False)).tokenizer_sha256 != shards.tokenizer_sha256:
        yield (
            f"{printable(folder)} was trained with another tokenizer than the shards' (vocabularies of "
            f"{state.vocab_size:,} and {shards.vocab_size:,}): what it knows holds for ids that both have alike"
        )


def _checksums(folder: str) -> dict[str, str]:
    """The safetensors of a folder of transformers, and what else there is a checksum of: its SHA-256, or nothing.

    An export of ours has them in `SHA256SUMS`, as `sha256sum` writes them; huggingface_hub leaves its own.

    Raises:
        DataError: `SHA256SUMS` is damaged, or leaves weights out.
    """
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) and not is_ours(folder) else []
    said = _sums(streams.join(folder, SUMS)) if SUMS in names else None
    found = {}
    for name in names:
        path = streams.join(folder, name)
        if name.endswith(".safetensors"):
            if said is not None and name not in said:
                raise DataError(
                    f"has no checksum of {name}\n  export or download the folder again; or remove this file",
                    file=streams.join(folder, SUMS),
                )
            found[path] = _downloaded(path) if said is None else said[name]
        elif said is not None and name in said:
            found[path] = said[name]
    return found


def _sums(path: str) -> dict[str, str]:
    found = {}
    for number, line in enumerate(streams.read_bytes(path).decode(errors="replace").splitlines(), 1):
        checksum, _, name = line.partition(" ")
        if not _SHA256.fullmatch(checksum) or name[:1] not in (" ", "*") or not name[1:]:
            raise DataError(
                "is no line of `sha256sum`\n  export or download the folder again; or remove this file",
                file=path,
                line=number,
            )
        found[name[1:]] = checksum
    return found


def _downloaded(path: str) -> str:
    """A file in its cache is a link to one that is named by its checksum; beside other folders lies the ETag."""
    blob = os.path.basename(os.path.realpath(path))
    if _SHA256.fullmatch(blob):
        return blob
    folder, _, name = path.rpartition("/")
    try:
        lines = streams.read_bytes(streams.join(folder, ".cache/huggingface/download", f"{name}.metadata")).split()
    except (OSError, DataError):
        return ""
    etag = lines[1].decode(errors="replace") if len(lines) > 1 else ""
    return etag if _SHA256.fullmatch(etag) else ""


def sha256_of(path: str) -> str:
    """The SHA-256 of a local file, in hex.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    with streams.open_seekable(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
