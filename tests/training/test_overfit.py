"""Every family learns a batch by heart. Run: pytest tests/training/test_overfit.py"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from dolma.training.config import TrainConfig
from dolma.training.trainer import train
from tests.training.conftest import log_of, write_shards
from tests.training.model.variants import VARIANTS


@pytest.mark.parametrize("variant", ["olmo1", "olmo2", "olmo3", "olmoe"])
def test_eight_windows_are_learnt_by_heart(variant: str, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(1, 128, 8 * 32)
    tokens = write_shards(tmp_path / "tokens", [ids], vocabulary=128)
    config = TrainConfig(
        model=msgspec.structs.replace(VARIANTS[variant], mlp_hidden=128),
        sequence_length=32,
        batch_size=8,
        steps=80,
        learning_rate=1e-2,
        warmup_steps=10,
        schedule="constant",
        threads=1,
    )
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    log = log_of(tmp_path / "run")
    assert log[0]["loss"] > 4
    assert log[-1]["loss"] < 0.1
    assert (log[0]["router_loss"] > 0) == (variant == "olmoe")
