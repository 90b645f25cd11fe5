"""Training as a stage of a recipe: what is asked of it before it runs, and said after it. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from dolma.data import streams
from dolma.data.tokens import read_token_manifest
from dolma.errors import ConfigError, DataError, did_you_mean
from dolma.requirements import Finding, extra_finding
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.training import generate_text, require_torch
from dolma.training.config import TrainConfig, listed, source_folders
from dolma.training.data.contents import Contents
from dolma.training.launch import launched
from dolma.training.plan import memory_of
from dolma.training.presets import resolve_model
from dolma.training.run_folder import Claim, RunFolder, foresee
from dolma.training.stages import resolve_stages
from dolma.training.state import CONFIG, checkpoints


def plan(
    config: TrainConfig, *, tokens: Sequence[str], output: str, options: RunOptions | None = None
) -> Iterator[dict[str, Any]]:
    """What would be trained on, where to, what lies there, what each process needs, and all settings: one row.

    Without options, a run of other settings may lie there.

    Raises:
        ConfigError, DataError: the run would be refused.
    """
    overwrite = None if options is None else options.overwrite
    stages, found = foresee(config, tokens=tokens, output=output, overwrite=overwrite)
    memory = memory_of(config, vocab_size=stages.tokenizer.vocab_size, devices=launched().world_size)
    yield {
        "input": ", ".join([*tokens, *(folder for _, folder in source_folders(config))]),
        "output": output,
        "found": _FOUND[found].format(step=max(checkpoints(output), default=0)),
        "memory_at_start_bytes": memory.at_start,
        "memory_bytes": memory.at_work,
        **msgspec.to_builtins(config),
    }


_FOUND: dict[Claim, str] = {
    "new": "nothing",
    "same": "this run, saved after step {step:,}",
    "goes on": "this run, saved after step {step:,}, with settings that may change",
    "afresh": "a run that is replaced",
}


def again(config: TrainConfig, *, tokens: Sequence[str], output: str) -> dict[str, str]:
    """Why the run that lies there would be replaced; no shard is read."""
    if not streams.exists(streams.join(output, CONFIG)):
        return {}
    stages = resolve_stages(config, tokens)
    try:
        why = RunFolder(config, stages, output, tokens=list(tokens), contents=Contents(output)).replaced()
    except DataError:
        return {}  # said when it runs; and what is damaged may be replaced
    return {} if why is None else {"": why.partition("\n")[0]}


def check(config: TrainConfig, *, home: str | None = None) -> None:
    """Return when model, token shards and torch are there; shards below `home` may be yet to be made.

    Raises:
        ConfigError: they are not.
    """
    resolve_model(config.model)
    _check_token_folders(config, home)
    require_torch()


def _check_token_folders(train: TrainConfig, home: str | None) -> None:
    """Return when every folder of token shards that a mixture or an evaluation names is there, or is yet to be made."""
    named = list(source_folders(train))
    if train.evaluate is not None:
        held_out = train.evaluate.sources.items()
        named += [(f"$.train.evaluate.sources.{name}", folder) for name, given in held_out for folder in listed(given)]
    for path, folder in named:
        made_here = home is not None and f"{folder}/".startswith(f"{home.rstrip('/')}/")
        if "://" in folder or made_here or os.path.exists(folder):
            continue
        parent, name = os.path.split(folder.rstrip("/"))
        beside = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
        hint = did_you_mean(name, beside) if beside else "make it with `dolma tokenize`"
        raise ConfigError(f"no such folder of token shards: {folder}\n  {hint}", path=path)


def needs(config: TrainConfig) -> Iterator[Finding]:
    """The extra with torch, and the device."""
    extra = extra_finding("train", purpose="train")
    yield extra
    if config.device == "cuda" and extra.ok:
        import torch

        get = (
            "take `device: cpu`, or see what `nvidia-smi` and `python -c 'import torch; print(torch.version.cuda)'` say"
        )
        yield Finding(what="train: device cuda", ok=torch.cuda.is_available(), get=get)


def ending(
    config: TrainConfig, *, tokens: Sequence[str], reads: Sequence[str], report: StageReport[Any]
) -> Iterator[str]:
    """The loss, and a continued prompt where the recipe has made the shards, which have the tokenizer beside them."""
    result = report.details
    yield f"loss: {result.first_loss:.3f} at the start, {result.last_loss:.3f} after {result.steps:,} steps"
    if reads:
        tokenizer = streams.join(tokens[0], read_token_manifest(tokens[0]).tokenizer)
        text = generate_text(
            result.checkpoint, tokenizer, config.prompt, max_tokens=config.sample_tokens, seed=config.seed
        )
        yield f"sample: {text!r}"
