"""A recipe's stages, resolved: which windows, how many steps, which rates. All of it before the first step."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from dolma.amounts import count_of
from dolma.data.manifest import InputFile
from dolma.errors import ConfigError, DataError
from dolma.printable import printable
from dolma.training import require_torch
from dolma.training.config import ModelConfig, StageConfig, TrainConfig, stage_settings
from dolma.training.data.contents import Contents
from dolma.training.data.loader import Instances, Loader
from dolma.training.data.mixture import MixedSource, plan_mixture, taken_windows
from dolma.training.data.shards import TokenShards, open_shards
from dolma.training.data.sizes import batch_sizes, length_at
from dolma.training.data.windows import ConcatenatedWindows, PackedWindows, Windows
from dolma.training.presets import resolve_model
from dolma.training.schedule import horizon, learning_rate, steps_of_tokens, warmup_steps
from dolma.training.state import is_ours, read_state

ONLY = "train"
"""The name of the stage of a recipe without stages, and of its one source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, ready to run.

    `first` is the number of steps before it, `tokens_before` that of tokens. `peak` is the highest learning rate.
    `shares` says what a mixture takes of each source; empty where all windows of all shards are taken.
    """

    name: str
    start: str
    settings: TrainConfig
    model: ModelConfig
    steps: int
    first: int
    tokens_before: int
    peak: float
    loader: Loader
    shares: list[MixedSource]

    @property
    def last(self) -> int:
        """The number of its last step, counted over all stages."""
        return self.first + self.steps

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted over all stages."""
        return learning_rate(self.settings, step - self.first, steps=self.steps, peak=self.peak)

    def tokens_at(self, step: int) -> int:
        """Tokens seen when a step, counted over all stages, has ended."""
        return self.tokens_before + self.loader.sizes.until(step - self.first) * self.settings.sequence_length

    def length(self, step: int) -> int:
        """Tokens of each sequence of a step, counted over all stages."""
        return length_at(self.settings, step - self.first)

    def clip_norm(self, step: int) -> float:
        """The bound on the norm of the gradient at a step, counted over all stages; 0: none."""
        warm = step - self.first <= self.settings.clip_warmup_steps
        return self.settings.clip_norm * (self.settings.clip_warmup_factor if warm else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """All stages of a recipe, in order, and the shards they read: by the folders they are in, and by source."""

    stages: tuple[Stage, ...]
    shards: Mapping[tuple[tuple[str, ...], str | None], TokenShards]

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.stages[-1].last

    @property
    def tokenizer(self) -> TokenShards:
        """Shards to ask for tokenizer, vocabulary and end-of-text: those of all stages agree on them."""
        return next(iter(self.shards.values()))

    def of(self, step: int) -> Stage:
        """The stage of a step, counted from 1 over all stages."""
        return next(stage for stage in self.stages if step <= stage.last)

    def files(self) -> list[InputFile]:
        """All shards as a run knows them; where several folders are read, names begin with the number of theirs."""
        several = len(self.shards) > 1
        return [
            msgspec.structs.replace(file, name=f"{number}/{file.name}" if several else file.name, checksum=origin)
            for number, shards in enumerate(self.shards.values())
            for file, origin in zip(shards.files, shards.origins, strict=True)
        ]

    def differ(self, before: Stages, *, steps: int) -> str | None:
        """What another resolution said otherwise of the first `steps` steps; None: nothing."""
        if steps > self.steps:
            return f"{steps:,} steps are done, more than the {self.steps:,} that are asked for"
        for step in range(1, steps + 1):
            now, then = self.of(step), before.of(step)
            if now.name != then.name:
                return f"step {step:,} was of stage {then.name!r} and would be of {now.name!r}"
            if now.rate(step) != then.rate(step):
                return (
                    f"the rate of step {step:,} was {then.rate(step):g} and would be {now.rate(step):g}\n"
                    "  lengths may change where the schedule has a horizon of its own, or is constant"
                )
        for now, then in zip(self.stages, before.stages, strict=True):
            if then.first < steps and not now.loader.instances.same(then.loader.instances):
                return f"the mixture of stage {now.name!r} takes other windows for another length"
        return None

    def beside(self, contents: Contents) -> dict[str, str]:
        """Checksums of what decides the loss beside the ids: labels, and documents' borders where a stage uses them."""
        packed = any(stage.settings.windows == "packed" for stage in self.stages)
        masked = any(stage.settings.document_masking for stage in self.stages)
        found = {}
        opened = [shard for shards in self.shards.values() for shard in shards.shards]
        for file, shard in zip(self.files(), opened, strict=True):
            if labels := contents.labels(shard):
                found[f"labels of {file.name}"] = labels
            if (packed or masked) and (borders := shard.borders_checksum(packed=packed)):
                found[f"documents of {file.name}"] = borders
        return found

    def warnings(self) -> tuple[str, ...]:
        """What is odd about the shards and the learning rates."""
        of_shards = [warning for shards in self.shards.values() for warning in shards.warnings]
        return (*of_shards, *(warning for stage in self.stages for warning in _of_rates(stage)))


def _of_rates(stage: Stage) -> Iterator[str]:
    settings, steps = stage.settings, stage.steps
    warmup, end = warmup_steps(settings), horizon(settings, steps=steps)
    if warmup > steps:
        yield f"stage {stage.name!r} ends at step {steps:,} of a warm-up of {warmup:,}: the peak is not reached"
    elif settings.schedule == "wsd" and end - warmup < round(settings.decay_fraction * end):
        yield f"stage {stage.name!r} decays from step {warmup:,} on, where the warm-up ends: the peak is not reached"
    if end < steps and settings.schedule != "constant":
        yield f"the schedule of stage {stage.name!r} ends at step {end:,} of {steps:,}: the rate then stays as it is"


def _refuse_idle(stage: Stage, path: str) -> None:
    """Refuse rates of 0 before the last step: nothing is learnt at them."""
    idle = [step for step in (1, stage.steps - 1) if 0 < step < stage.steps and stage.rate(stage.first + step) == 0]
    if idle:
        end = horizon(stage.settings, steps=stage.steps)
        raise ConfigError(
            f"the rate is 0 at step {idle[0]:,} of {stage.steps:,}, so nothing would be learnt: the schedule ends at "
            f"step {end:,}, after a warm-up of {warmup_steps(stage.settings):,}\n"
            "  shorten the warm-up, or give a later horizon",
            path=f"{path}.schedule",
        )


class _Opened:
    """Shards by the folders they are in, and by source where only those of one are read; each opened once."""

    def __init__(self, check: Callable[[list[TokenShards]], None]) -> None:
        self._check = check
        self.shards: dict[tuple[tuple[str, ...], str | None], TokenShards] = {}

    def of(self, tokens: str | Sequence[str], *, source: str | None = None) -> TokenShards:
        """The shards of these folders, or those of one source."""
        folders = (tokens,) if isinstance(tokens, str) else tuple(tokens)
        if (folders, source) not in self.shards:
            found = open_shards(folders, source=source)
            self._check([found])
            for (others, _), shards in self.shards.items():
                if (found.tokenizer_sha256, found.vocab_size) != (shards.tokenizer_sha256, shards.vocab_size):
                    raise DataError(
                        f"is of another tokenizer than {printable(others[0])}\n  tokenize both with the same one",
                        file=folders[0],
                    )
                _refuse_shared(folders, found, others, shards)
            self.shards[folders, source] = found
        return self.shards[folders, source]


def _refuse_shared(folders: tuple[str, ...], found: TokenShards, others: tuple[str, ...], shards: TokenShards) -> None:
    mine = {os.path.realpath(shard.path) for shard in found.shards}
    twice = mine & {os.path.realpath(shard.path) for shard in shards.shards}
    if twice:
        raise ConfigError(
            f"{min(twice)} is in {', '.join(folders)} and in {', '.join(others)}: it would be counted twice\n"
            "  give each shard to one source"
        )


def resolve_stages(
    config: TrainConfig, tokens: str | Sequence[str] | None, *, contents: Contents | None = None
) -> Stages:
    """The stages of a recipe on these token shards, which stages with `sources` of their own do not use.

    With `contents`, shards are compared with their description; without, only their sizes are.

    Raises:
        ConfigError: no such model, windows longer than its context, a mixture that asks for too much, a rate inherited
            from nothing, rates of 0 before the last step, nothing to train on.
        DataError: the shards are not what their description says, or too few, or of different tokenizers.
    """
    configs = config.stages or [StageConfig(name=ONLY)]
    opened = _Opened(contents.check if contents is not None else lambda shards: None)
    stages: list[Stage] = []
    for number, stage in enumerate(configs):
        path = f"$.train.stages[{number}]" if config.stages else "$.train"
        stages.append(_resolve(config, stage, tokens, opened, stages[-1] if stages else None, path))
    return Stages(stages=tuple(stages), shards=opened.shards)


def _resolve(
    config: TrainConfig,
    stage: StageConfig,
    tokens: str | Sequence[str] | None,
    opened: _Opened,
    before: Stage | None,
    path: str,
) -> Stage:
    settings = stage_settings(config, stage) if config.stages else config
    model = model_of_stage(settings, path=path)
    if settings.sources:
        instances, shares, steps = _mixed(settings, opened, path=path)
    else:
        if not tokens:
            raise ConfigError("there are no token shards: give `--tokens` or `sources`", path=path)
        population = _population(settings, opened.of(tokens))
        instances, shares, steps = Instances.all_of(population, ONLY), [], None
    loader = Loader(
        instances,
        batch_size=settings.batch_size,
        growth=settings.batch_size_warmup,
        seed=settings.seed,
        repetition_filter=settings.repetition_filter,
    )
    steps = steps or _steps(settings, loader)
    resolved = Stage(
        name=stage.name,
        start=stage.start,
        settings=settings,
        model=model,
        steps=steps,
        first=before.last if before else 0,
        tokens_before=before.tokens_at(before.last) if before else 0,
        peak=_peak(settings, before, path),
        loader=loader,
        shares=shares,
    )
    _refuse_idle(resolved, path)
    return resolved


def model_of_stage(settings: TrainConfig, *, path: str = "$.train") -> ModelConfig:
    """The model as a stage runs it.

    Raises:
        ConfigError: no preset of that name, or windows longer than its context.
    """
    model = resolve_model(settings.model)
    names = ("rope_scaling", "context_length", "vocabulary_multiple")
    changed = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    model = msgspec.structs.replace(model, **changed)
    if settings.sequence_length > model.context_length:
        raise ConfigError(
            f"`sequence_length` {settings.sequence_length:,} is longer than the model's `context_length` "
            f"{model.context_length:,}\n  raise `context_length` (and see `rope_scaling`), or shorten the windows",
            path=path,
        )
    return model


def _peak(settings: TrainConfig, before: Stage | None, path: str) -> float:
    if settings.learning_rate != "inherit":
        return settings.learning_rate
    if before is not None:
        inherited, whose = before.rate(before.last), f"stage {before.name!r}"
    elif settings.init_from is not None:
        inherited, whose = rate_of_checkpoint(settings.init_from), settings.init_from
    else:
        raise ConfigError(
            "there is neither a stage before nor `init_from` to inherit a rate from\n  give a number",
            path=f"{path}.learning_rate",
        )
    if not 0 < inherited < math.inf:
        raise ConfigError(
            f"{whose} ends at a rate of {inherited:g}, so there is nothing to inherit\n  give a number",
            path=f"{path}.learning_rate",
        )
    if settings.warmup_min_lr > inherited:
        raise ConfigError(
            f"{settings.warmup_min_lr:g} is above the rate that is inherited, {inherited:g}, to which the warm-up "
            "rises"
            "\n  lower `warmup_min_lr`",
            path=f"{path}.warmup_min_lr",
        )
    return inherited


def rate_of_checkpoint(folder: str) -> float:
    """The learning rate of the last update before a checkpoint, of ours or of OLMo-core; the latter needs torch.

    Raises:
        DataError: there is none.
    """
    if is_ours(folder):
        return read_state(folder, weights=False).learning_rate
    require_torch()
    from dolma.training.initial import stored_rate

    return stored_rate(folder)


def _steps(settings: TrainConfig, loader: Loader) -> int:
    if (given := given_steps(settings)) is not None:
        return given
    return loader.sizes.steps_for(round(settings.epochs * loader.steps_per_epoch) * settings.batch_size)


def given_steps(settings: TrainConfig) -> int | None:
    """The length of a stage in steps, where it does not follow from the shards."""
    if settings.duration_tokens is not None:
        return steps_of_tokens(settings, count_of(settings.duration_tokens, key="duration_tokens"))
    return settings.steps


def _mixed(settings: TrainConfig, opened: _Opened, *, path: str) -> tuple[Instances, list[MixedSource], int]:
    steps = given_steps(settings)
    if steps is None:
        raise ConfigError("a mixture needs a length: give `steps` or `duration_tokens`", path=path)
    populations = {
        name: _population(settings, opened.of(source.tokens, source=source.source))
        for name, source in settings.sources.items()
    }
    available = {name: len(population) for name, population in populations.items()}
    shares = plan_mixture(
        available, settings.sources, n_windows=batch_sizes(settings).until(steps), path=f"{path}.sources"
    )
    taken = [taken_windows(share, seed=settings.seed) for share in shares]
    return (
        Instances(
            populations=list(populations.values()),
            names=list(populations),
            sources=np.repeat(np.arange(len(taken), dtype=np.uint16), [len(windows) for windows in taken]),
            windows=np.concatenate(taken),
        ),
        shares,
        steps,
    )


def _population(settings: TrainConfig, shards: TokenShards) -> Windows:
    if settings.windows == "packed":
        return PackedWindows(
            shards.shards,
            length=settings.sequence_length,
            padding=shards.eos_id or 0,
            truncate=settings.long_documents == "truncate",
        )
    return ConcatenatedWindows(shards.shards, length=settings.sequence_length)
