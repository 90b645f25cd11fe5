"""Learning rates as pure functions of the 1-based step of a stage."""

from __future__ import annotations

import math

from dolma.amounts import count_of
from dolma.training.config import TrainConfig
from dolma.training.data.sizes import batch_sizes


def learning_rate(config: TrainConfig, step: int, *, steps: int, peak: float | None = None) -> float:
    """The rate of the update that ends step `step` of a stage of `steps`.

    Warm-up rises linearly from `warmup_min_lr` to the peak at step `warmup_steps`. Then `constant` stays; `cosine` and
    `linear` end at `min_lr_fraction` of the peak, and `half_cosine`, the second half of a cosine of twice the length,
    begins half way between the two; `wsd` stays until the last `decay_fraction` of the steps, in which it falls
    linearly to 0. They end at the last step, or at the horizon, if one is given. Formulas: OLMo-core's.

    `peak` stands for `config.learning_rate`, where that is inherited.

    >>> [round(learning_rate(TrainConfig(learning_rate=1.0, warmup_steps=2), s, steps=4), 2) for s in (1, 2, 4)]
    [0.5, 1.0, 0.1]
    """
    if peak is None:
        assert config.learning_rate != "inherit"
        peak = config.learning_rate
    end, warmup = horizon(config, steps=steps), warmup_steps(config)
    rate = _after_warmup(config, max(step, warmup), warmup=warmup, end=end, peak=peak)
    begin = min(rate, config.warmup_min_lr)
    return min(rate, begin + (rate - begin) * step / warmup) if step < warmup else rate


def _after_warmup(config: TrainConfig, step: int, *, warmup: int, end: int, peak: float) -> float:
    """From the warm-up's end on; beyond the schedule's end it stays what it is there."""
    if config.schedule == "constant":
        return peak
    if config.schedule == "wsd":
        decay = max(1, round(config.decay_fraction * end))
        return peak * max(0.0, min(1.0, (end - step) / decay))
    progress = min(1.0, (step - warmup) / max(1, end - warmup))
    floor = config.min_lr_fraction * peak
    return min(peak, floor + (peak - floor) * _falling(config.schedule, progress))


def _falling(schedule: str, progress: float) -> float:
    if schedule == "linear":
        return 1 - progress
    turned = (1 + progress) / 2 if schedule == "half_cosine" else progress
    return (1 + math.cos(math.pi * turned)) / 2


def steps_of_tokens(config: TrainConfig, tokens: int) -> int:
    """The least number of steps, one at least, whose batches have so many tokens."""
    return batch_sizes(config).steps_for(-(-tokens // config.sequence_length))


def warmup_steps(config: TrainConfig) -> int:
    """Steps of the warm-up, given in steps or in tokens."""
    if config.warmup_tokens is None:
        return config.warmup_steps
    return steps_of_tokens(config, count_of(config.warmup_tokens, key="warmup_tokens"))


def horizon(config: TrainConfig, *, steps: int) -> int:
    """The step at which the schedule ends: that of the stage, or a later one."""
    if config.horizon_tokens is not None:
        return steps_of_tokens(config, count_of(config.horizon_tokens, key="horizon_tokens"))
    return config.horizon_steps or steps
