"""Settings that cannot be are refused in words. Run: pytest tests/training/test_config.py"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from dolma.training.config import INCIDENTAL, EvalConfig, ModelConfig, TrainConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence_length": 1}, "`sequence_length` is 1, expected at least 2"),
        ({"batch_size": 0}, "`batch_size` is 0, expected at least 1"),
        ({"steps": 0}, "`steps` is 0, expected at least 1"),
        ({"batch_size": 6, "micro_batch_size": 4}, "`batch_size` 6 must be a multiple of `micro_batch_size` 4"),
        ({"warmup_steps": -1}, "`warmup_steps` is -1, expected 0 or more"),
        ({"weight_decay": math.nan}, "`weight_decay` is nan, expected 0 or more"),
        ({"min_lr_fraction": 1.5}, "`min_lr_fraction` is 1.5, expected 0 to 1"),
        ({"learning_rate": math.nan}, "`learning_rate` is nan, expected a finite number above 0"),
        ({"epochs": math.inf}, "`epochs` is inf, expected a finite number above 0"),
        ({"betas": (0.9, 1.0)}, "`betas` is [0.9, 1.0], expected two numbers from 0 to below 1"),
        ({"threads": 1 << 31}, "`threads` is 2147483648, expected at most 65,536"),
        ({"seed": -1}, "`seed` is -1, expected 0 to 9223372036854775807"),
    ],
)
def test_training_settings(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_windows": 1 << 63}, "`max_windows` is 9223372036854775808, expected 1 to 10^18"),
        ({"max_items": 0}, "`max_items` is 0, expected 1 to 10^18"),
        ({"length": 1}, "`length` is 1, expected 2 to 16,777,216"),
        ({"length": 1 << 63}, "`length` is 9223372036854775808, expected 2 to 16,777,216"),
    ],
)
def test_settings_of_an_evaluation(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        EvalConfig(**settings)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 0}, "`layers` is 0, expected at least 1"),
        ({"kv_heads": 0}, "`kv_heads` is 0, expected at least 1"),
        ({"heads": 3}, "`d_model` 32 over 3 `heads` must be an even number"),
        ({"kv_heads": 3}, "`heads` 4 must be a multiple of `kv_heads` 3"),
        ({"rope_theta": 0.0}, "`rope_theta` is 0.0, expected a finite number above 1"),
    ],
)
def test_model_sizes(sizes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelConfig(**{"d_model": 32, "layers": 2, "heads": 4, "mlp_hidden": 64, **sizes})


def test_the_page_has_all_settings_that_may_change_where_a_run_is_gone_on_with() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "train.md").read_text().split())
    keys = ", ".join(f"`{key}`" for key in INCIDENTAL)
    assert f"may continue with other values of {keys}, and with another number of processes" in page
