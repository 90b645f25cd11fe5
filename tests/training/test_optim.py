"""The guard against spikes, groups, soups, curves. Run: pytest tests/training/test_optim.py"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from dolma.errors import ConfigError, OutputExistsError
from dolma.training.checkpoint import load_model
from dolma.training.config import SkipStepConfig, TrainConfig
from dolma.training.curve import write_curve
from dolma.training.metrics import StepRecord, read_metrics
from dolma.training.observers import values_of_step
from dolma.training.optim import SpikeGuard, is_decayed
from dolma.training.soup import soup
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, TINY, Stopped, log_of, replaced, some_ids, stop_after, weights, write_shards

SKIP = SkipStepConfig(interval=8, sigmas=3.0)


def test_a_spike_is_skipped_once_there_is_something_to_compare_with() -> None:
    guard = SpikeGuard(SKIP)
    steady = [guard.skips(2.0 + 0.01 * (i % 2), 1.0 + 0.01 * (i % 3)) for i in range(6)]
    assert steady == [False] * 6
    assert guard.skips(5.0, 1.0)
    assert not guard.skips(2.0, 1.0)


def test_a_spike_of_the_gradient_is_skipped_as_well() -> None:
    guard = SpikeGuard(SKIP, losses=[2.0, 2.1, 2.0, 2.1], norms=[1.0, 1.1, 1.0, 1.1])
    assert guard.skips(2.0, 9.0)


def test_the_first_steps_are_never_skipped() -> None:
    guard = SpikeGuard(SkipStepConfig(interval=128))
    assert not any(guard.skips(loss, 1.0) for loss in [1.0] * 30 + [1e6])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_skipped_and_not_remembered(bad: float) -> None:
    guard = SpikeGuard(SKIP, losses=[2.0] * 8, norms=[1.0] * 8)
    assert guard.skips(bad, 1.0)
    assert guard.skips(2.0, bad)
    assert guard.losses == [2.0] * 8


def test_only_the_last_values_are_remembered() -> None:
    guard = SpikeGuard(SKIP)
    for i in range(20):
        guard.skips(2.0 + 0.001 * i, 1.0)
    assert len(guard.losses) == SKIP.interval


def test_what_the_guard_remembers_survives_a_restart(tmp_path: Path) -> None:
    ids = some_ids(2000, seed=1)
    ids[800:1200] = np.tile(np.arange(1, 41), 10)  # windows that stand out
    tokens = write_shards(tmp_path / "tokens", [ids])
    config = replaced(CONFIG, steps=20, checkpoint_every=6, skip_step=SkipStepConfig(interval=6, sigmas=1.0))
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    assert any(record["skipped"] for record in log_of(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "cut"), progress=stop_after(15))
    train(config, tokens=tokens, output=str(tmp_path / "cut"))
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert weights(tmp_path / "cut", 20) == weights(tmp_path / "whole", 20)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("embeddings.weight", {}, False),
        ("embeddings.weight", {"decay_embeddings": True}, True),
        ("blocks.0.attention_norm.weight", {}, True),
        ("blocks.0.attention_norm.weight", {"decay_norms": False}, False),
        ("blocks.0.attention.q_norm.weight", {"decay_norms": False}, False),
        ("lm_head.w_out.weight", {"decay_norms": False}, True),
    ],
)
def test_which_weights_are_decayed(name: str, settings: dict[str, bool], expected: bool) -> None:
    assert is_decayed(name, TrainConfig(**settings)) == expected


# --- soup ------------------------------------------------------------------------------------------------------------


def test_a_soup_is_the_mean_of_the_weights(tokens: str, tmp_path: Path) -> None:
    folders = [
        train(replaced(CONFIG, seed=seed), tokens=tokens, output=str(tmp_path / str(seed))).checkpoint
        for seed in (1, 2, 3)
    ]
    mixed, state = load_model(soup(folders, str(tmp_path / "soup")))
    parts = [dict(load_model(folder)[0].named_parameters()) for folder in folders]
    for name, parameter in mixed.named_parameters():
        expected = sum(part[name].double() for part in parts) / 3
        assert torch.allclose(parameter.double(), expected, atol=1e-7), name
    assert state.parent == ", ".join(folders)


def test_a_soup_of_one_or_of_different_models_is_refused(tokens: str, tmp_path: Path) -> None:
    one = train(CONFIG, tokens=tokens, output=str(tmp_path / "one")).checkpoint
    wider = replaced(CONFIG, model=msgspec.structs.replace(TINY, mlp_hidden=48))
    other = train(wider, tokens=tokens, output=str(tmp_path / "other")).checkpoint
    with pytest.raises(ConfigError, match="give at least two checkpoints"):
        soup([one], str(tmp_path / "soup"))
    with pytest.raises(ConfigError, match="is of another model or tokenizer than"):
        soup([one, other], str(tmp_path / "soup"))
    with pytest.raises(OutputExistsError, match="is not empty"):
        soup([one, one], str(tmp_path / "one"))


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_a_page_of_its_loss(tokens: str, tmp_path: Path) -> None:
    train(CONFIG, tokens=tokens, output=str(tmp_path / "run"))
    page = (tmp_path / "run" / "loss.html").read_text()
    first, last = (record.loss for record in read_metrics(str(tmp_path / "run" / "metrics.jsonl"))[:: CONFIG.steps - 1])
    assert f"loss: {first:.3f} to {last:.3f}" in page
    assert page.count("<polyline") == 1


def test_a_page_without_a_finite_loss_says_so(tmp_path: Path) -> None:
    record = StepRecord(
        step=1,
        stage="train",
        tokens=1,
        labels=64,
        loss=math.nan,
        z_loss=0,
        grad_norm=0,
        lr=0,
        skipped=True,
        batch="",
        tokens_per_second=1,
    )
    write_curve(str(tmp_path / "loss.html"), [record], [])
    assert "No finite values." in (tmp_path / "loss.html").read_text()


def test_a_source_on_the_page_is_text(tmp_path: Path) -> None:
    record = StepRecord(
        step=1,
        stage="train",
        tokens=1,
        labels=1,
        loss=1.0,
        z_loss=0,
        grad_norm=0,
        lr=0,
        skipped=False,
        batch="",
        tokens_per_second=1,
        loss_by_source={"<b>\x1b\u202e": 1.0},
    )
    write_curve(str(tmp_path / "loss.html"), [record], [])
    page = (tmp_path / "loss.html").read_text()
    assert "loss of &lt;b&gt;\\x1b\\u202e" in page
    assert "<b>" not in page
    assert "train/loss/<b>\\x1b\\u202e" in values_of_step(record)
