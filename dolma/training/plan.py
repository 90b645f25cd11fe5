"""What a training run would do and need, without torch: `dolma train plan`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolma.training.config import ModelConfig, TrainConfig, stage_settings
from dolma.training.data.mixture import MixedSource
from dolma.training.metrics import flops_per_token
from dolma.training.presets import count_parameters, largest_parameter
from dolma.training.run_folder import foresee
from dolma.training.stages import Stage, model_of_stage
from dolma.training.state import doubtful_weights

_CHECKPOINT_BYTES = 12  # per parameter: float32 weights and two moments
_FLOAT_BYTES = 4
_READ_BYTES = 5  # per number of a parameter: itself, and whether it was there
_DRAWN_BYTES = 16  # the same of drawing: torch has four of them, as it draws again what lies outside its bounds
_CHUNK = 4096  # labels whose logits are in memory at a time
_RATES = 9  # points of the learning-rate curve that are shown


class StagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One stage. `rates` are (step, learning rate) at even distances; `epochs` are passes over its windows."""

    name: str
    steps: int
    tokens: int
    tokens_per_step: int
    sequence_length: int
    windows: int
    epochs: float
    sources: list[MixedSource]
    rates: list[tuple[int, float]]
    flops: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that one process needs, of the stage that needs most.

    `weights`, `gradients` and `moments`: its part of them, in float32. `whole`: what it takes to read the largest
    parameter, or to draw it, in which it has all of it. `gathered`: what it has of others for a pass: what is in no
    block, and two blocks. `activations` and `logits` of a pass are estimates.
    """

    weights: int
    gradients: int
    moments: int
    whole: int
    gathered: int
    activations: int
    logits: int

    @property
    def at_start(self) -> int:
        """Until the first step."""
        return self.weights + self.whole

    @property
    def at_work(self) -> int:
        """In a step."""
        return self.weights + self.gradients + self.moments + self.gathered + self.activations + self.logits


class TrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run.

    `memory` is that of each device. `seconds` follows from `flops`, the peak of a
    device and the share of it that is reached (MFU).
    """

    parameters: int
    active_parameters: int
    stages: list[StagePlan]
    steps: int
    tokens: int
    flops: float
    checkpoints: list[int]  # steps of those that stay
    checkpoint_bytes: int
    disk_bytes: int
    memory: Memory
    devices: int
    peak_flops: float
    mfu: float
    seconds: float
    warnings: list[str]


def plan_training(
    config: TrainConfig,
    *,
    tokens: str | Sequence[str] | None,
    output: str | None = None,
    devices: int = 1,
    peak_flops: float = 989e12,
    mfu: float = 0.4,
) -> TrainPlan:
    """The plan of a recipe on these shards, refused where the run would be. Defaults: an H100's dense bfloat16 peak.

    Raises:
        ConfigError, DataError: as `foresee`, if `output` is given also about what lies there.
    """
    stages, _ = foresee(config, tokens=tokens, output=output, overwrite=False)
    vocab_size = stages.tokenizer.vocab_size
    model = stages.stages[0].model
    parameters = count_parameters(model, vocab_size=vocab_size)
    plans = [_stage(stage, vocab_size) for stage in stages.stages]
    kept = _kept(config, [stage.last for stage in stages.stages])
    flops = sum(plan.flops for plan in plans)
    per_checkpoint = parameters * _CHECKPOINT_BYTES
    return TrainPlan(
        parameters=parameters,
        active_parameters=count_parameters(model, vocab_size=vocab_size, active=True),
        stages=plans,
        steps=stages.steps,
        tokens=sum(plan.tokens for plan in plans),
        flops=flops,
        checkpoints=kept,
        checkpoint_bytes=per_checkpoint,
        disk_bytes=per_checkpoint * (len(kept) + 1),  # one is written before another is removed
        memory=memory_of(config, vocab_size=vocab_size, devices=devices),
        devices=devices,
        peak_flops=peak_flops,
        mfu=mfu,
        seconds=flops / (devices * peak_flops * mfu),
        warnings=[*stages.warnings(), *doubtful_weights(config.init_from, stages.tokenizer)],
    )


def _stage(stage: Stage, vocab_size: int) -> StagePlan:
    settings = stage.settings
    n_tokens = stage.tokens_at(stage.first + stage.steps) - stage.tokens_before
    every = max(1, (stage.steps - 1) // (_RATES - 1))
    shown = sorted({1, stage.steps, *range(1, stage.steps + 1, every)})
    per_token = flops_per_token(stage.model, vocab_size=vocab_size, length=settings.sequence_length)
    return StagePlan(
        name=stage.name,
        steps=stage.steps,
        tokens=n_tokens,
        tokens_per_step=settings.batch_size * settings.sequence_length,
        sequence_length=settings.sequence_length,
        windows=len(stage.loader.instances),
        epochs=stage.loader.sizes.until(stage.steps) / stage.loader.per_epoch,
        sources=stage.shares,
        rates=[(step, stage.rate(stage.first + step)) for step in shown],
        flops=float(per_token) * n_tokens,
    )


def _kept(config: TrainConfig, ends: list[int]) -> list[int]:
    """The steps of the checkpoints that are there at the end."""
    saved = sorted({*ends, *range(config.checkpoint_every, ends[-1] + 1, config.checkpoint_every)})
    if not config.keep_checkpoints:
        return saved
    newest = saved[-config.keep_checkpoints :]
    permanent = [step for step in saved if config.permanent_every and step % config.permanent_every == 0]
    return sorted({*newest, *permanent, *ends})


def memory_of(config: TrainConfig, *, vocab_size: int, devices: int) -> Memory:
    """What each of so many processes needs.

    Raises:
        ConfigError: no such model, or windows longer than its context.
    """
    settings = [stage_settings(config, stage) for stage in config.stages] or [config]
    return max((_memory(some, vocab_size, devices) for some in settings), key=lambda memory: memory.at_work)


def _memory(settings: TrainConfig, vocab_size: int, devices: int) -> Memory:
    model = model_of_stage(settings)
    parts = devices // (settings.hsdp_replicas or 1) or 1
    parameters = count_parameters(model, vocab_size=vocab_size)
    two = count_parameters(msgspec.structs.replace(model, layers=2), vocab_size=vocab_size)
    part = _FLOAT_BYTES * -(-parameters // parts)
    tokens = (settings.micro_batch_size or settings.batch_size) * settings.sequence_length // devices or 1
    width = 2 if settings.dtype == "bfloat16" else _FLOAT_BYTES
    again = -(-model.layers // settings.activation_checkpointing_every) if settings.activation_checkpointing else 0
    per_token = (model.layers - again) * _kept_per_token(model) + again * _kept_again(model, settings)
    if again:
        per_token += _kept_per_token(model)  # of the block that is computed again just then
    gathered = min(two, parameters)
    return Memory(
        weights=part,
        gradients=part,
        moments=2 * part,
        whole=(_READ_BYTES if settings.init_from else _DRAWN_BYTES) * largest_parameter(model, vocab_size=vocab_size),
        gathered=width * gathered if parts > 1 else 0,
        activations=tokens * per_token * width,
        logits=min(tokens, _CHUNK) * vocab_size * _FLOAT_BYTES * 2,
    )


def _kept_again(model: ModelConfig, settings: TrainConfig) -> int:
    """The same of a block of which something is computed again."""
    products = model.d_model * 3 + 2 * model.kv_width + 2 * _hidden(model)
    attention = 4 * model.d_model + 2 * model.kv_width
    kept = {
        "attention": _kept_per_token(model) - attention,
        "feed_forward": _kept_per_token(model) - 3 * _hidden(model),
        "cheap": model.d_model + products,
    }
    return kept.get(str(settings.activation_checkpointing), model.d_model)


def _hidden(model: ModelConfig) -> int:
    return model.mlp_hidden * (model.experts.active if model.experts else 1)


def _kept_per_token(model: ModelConfig) -> int:
    """Numbers that a block keeps per token for the backward pass: inputs of norms, projections and the MLP."""
    return 8 * model.d_model + 2 * model.kv_width + 3 * _hidden(model)
