"""TensorBoard and Weights & Biases. Run: pytest tests/training/test_observers.py"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dolma.errors import MissingExtraError
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_a_value_per_step(tokens: str, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(replaced(CONFIG, tensorboard=True), tokens=tokens, output=str(tmp_path / "run"))
    events = reading.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 9))


@pytest.mark.parametrize(("package", "setting"), [("tensorboard", {"tensorboard": True}), ("wandb", {"wandb": "x"})])
def test_a_missing_library_is_named_with_its_extra(package, setting, tokens, tmp_path, monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(MissingExtraError, match=rf"pip install 'dolma\[{package}\]'"):
        train(replaced(CONFIG, **setting), tokens=tokens, output=str(tmp_path / "run"))
