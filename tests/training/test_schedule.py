"""Learning rates. Run: pytest tests/training/test_schedule.py"""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dolma.errors import ConfigError
from dolma.training.config import Schedule, TrainConfig
from dolma.training.schedule import learning_rate
from dolma.training.stages import resolve_stages
from tests.training.conftest import replaced

steps = st.integers(1, 10**18) | st.integers(1, 20)
lengths = st.none() | steps
LATE = {"schedule": "wsd", "learning_rate": 1.0, "warmup_steps": 100}


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    """Any recipe, as far as rates go."""
    in_tokens = draw(st.booleans())
    warmup, horizon = draw(st.just(0) | steps), draw(lengths)
    lengths_given: dict[str, Any] = (
        {"warmup_tokens": warmup or None, "horizon_tokens": horizon}
        if in_tokens
        else {"warmup_steps": warmup, "horizon_steps": horizon}
    )
    return TrainConfig(
        schedule=draw(st.sampled_from(get_args(Schedule))),
        learning_rate=draw(st.floats(0, allow_infinity=False, exclude_min=True)),
        min_lr_fraction=draw(st.floats(0, 1)),
        decay_fraction=draw(st.floats(0, 1)),
        batch_size=draw(st.integers(1, 1 << 20)),
        **lengths_given,
    )


@settings(deadline=None)
@given(config=configs(), n=steps, step=steps)
@example(config=TrainConfig(**LATE), n=10, step=5)
@example(config=TrainConfig(**LATE | {"warmup_steps": 0}, horizon_steps=5), n=10, step=9)
def test_rates_are_finite_never_negative_never_above_the_peak(config: TrainConfig, n: int, step: int) -> None:
    assume(step <= n)
    rate = learning_rate(config, step, steps=n)
    assert math.isfinite(rate)
    assert isinstance(config.learning_rate, float)
    assert 0 <= rate <= config.learning_rate


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_rates_never_rise_after_the_warm_up(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, warmup_steps=5, horizon_steps=30)
    rates = [learning_rate(config, step, steps=40) for step in range(1, 41)]
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize(
    "settings", [{"schedule": "wsd", "warmup_steps": 8}, {"schedule": "wsd", "horizon_steps": 6}], ids=str
)
def test_rates_of_zero_are_refused(settings: dict[str, Any], config: TrainConfig, tokens: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\.train\.schedule: the rate is 0 at step . of 8, so nothing would be"):
        resolve_stages(replaced(config, **settings), tokens)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warmup_steps": 9}, r"stage 'train' ends at step 8 of a warm-up of 9: the peak is not reached"),
        (
            {"schedule": "wsd", "warmup_steps": 6, "decay_fraction": 0.5},
            r"stage 'train' decays from step 6 on, where the warm-up ends: the peak is not reached",
        ),
        ({"horizon_steps": 5}, r"the schedule of stage 'train' ends at step 5 of 8: the rate then stays as it is"),
    ],
)
def test_odd_rates_are_warned_of(settings: dict[str, Any], said: str, config: TrainConfig, tokens: str) -> None:
    assert said in resolve_stages(replaced(config, **settings), tokens).warnings()


@pytest.mark.parametrize("settings", [{}, {"schedule": "wsd"}, {"horizon_steps": 20}, {"schedule": "constant"}])
def test_usual_rates_are_not(settings: dict[str, Any], config: TrainConfig, tokens: str) -> None:
    assert resolve_stages(replaced(config, **settings), tokens).warnings() == ()


@pytest.mark.parametrize("value", ["9" * 400, 10**400, "2000000T"])
def test_a_number_of_tokens_beyond_all_measure_is_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="expected a whole number of at least 1"):
        TrainConfig(duration_tokens=value)
