"""What grows while a stage begins: batches, sequences, rates, bounds. Run: pytest tests/training/test_warmups.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import ConfigError, OutputExistsError
from dolma.training.config import GrowthConfig, SourceConfig, StageConfig, TrainConfig
from dolma.training.data.sizes import BatchSizes, grown, length_at
from dolma.training.parallel import Processes
from dolma.training.plan import plan_training
from dolma.training.schedule import learning_rate
from dolma.training.stages import resolve_stages
from dolma.training.steps import Training
from dolma.training.trace import documents_of_step, steps_of_document
from dolma.training.trainer import train
from tests.training.conftest import Stopped, log_of, replaced, some_ids, stop_after, weights, write_shards
from tests.training.test_trace import documents

GROWTHS: dict[str, Any] = {
    "batch_size_warmup": GrowthConfig(start=1, steps=4),
    "sequence_length_warmup": GrowthConfig(start=4, steps=5),
    "warmup_min_lr": 1e-3,
    "clip_warmup_steps": 3,
}


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, GrowthConfig]:
    start = draw(st.integers(1, 20))
    return start << draw(st.integers(0, 6)), GrowthConfig(start=start, steps=draw(st.integers(1, 40)))


# --- sizes -----------------------------------------------------------------------------------------------------------


@given(given=growths(), step=st.integers(1, 60))
def test_a_size_is_the_greatest_doubling_below_a_straight_line(given: tuple[int, GrowthConfig], step: int) -> None:
    size, growth = given
    found = next(value for first, value in reversed(grown(size, growth)) if first <= step)
    line = growth.start * growth.steps + (size - growth.start) * min(step, growth.steps)
    doublings = [growth.start << n for n in range(7) if growth.start << n <= size]
    assert found == max(value for value in doublings if value * growth.steps <= line)


@given(given=growths(), steps=st.integers(0, 60))
def test_windows_are_counted_as_steps_take_them(given: tuple[int, GrowthConfig], steps: int) -> None:
    sizes = BatchSizes(*given)
    taken = [step for step in range(1, steps + 1) for _ in range(sizes.of(step))]
    assert sizes.until(steps) == len(taken)
    assert [sizes.step_of(window) for window in range(len(taken))] == taken
    for windows in range(1, len(taken) + 1):
        assert sizes.steps_for(windows) == taken[windows - 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 12, "batch_size_warmup": GrowthConfig(start=2, steps=4)}, "`batch_size` 12 is not `start` 2"),
        ({"batch_size": 12, "batch_size_warmup": GrowthConfig(start=24, steps=4)}, "take 3, or a multiple of it"),
        ({"sequence_length_warmup": GrowthConfig(start=1, steps=4)}, "`start` of `sequence_length_warmup` is 1"),
        ({"learning_rate": 1e-4, "warmup_min_lr": 2e-4}, "`warmup_min_lr` is 0.0002, expected at most `learning_rate`"),
        ({"clip_warmup_factor": 0.0}, "`clip_warmup_factor` is 0.0, expected a finite number above 0"),
        ({"activation_checkpointing_every": 0}, "`activation_checkpointing_every` is 0, expected at least 1"),
    ],
)
def test_what_cannot_grow_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainConfig(**settings)


def test_a_growth_needs_a_step() -> None:
    with pytest.raises(ValueError, match="`steps` is 0, expected 1 to"):
        GrowthConfig(start=1, steps=0)


# --- rates and bounds ------------------------------------------------------------------------------------------------


def test_a_warm_up_rises_from_its_least_rate() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_min_lr=0.2, warmup_steps=4, schedule="constant")
    assert [learning_rate(config, step, steps=9) for step in range(1, 6)] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_warm_up_does_not_rise_to_a_rate_below_its_least(tokens: str, config: TrainConfig) -> None:
    stages = [
        StageConfig(name="one", steps=2, learning_rate=1e-3, warmup_steps=0),
        StageConfig(name="two", steps=2, learning_rate="inherit", warmup_min_lr=1e-2),
    ]
    with pytest.raises(
        ConfigError, match=r"\$\.train\.stages\[1\]\.warmup_min_lr: 0\.01 is above the rate that is inh"
    ):
        resolve_stages(replaced(config, stages=stages, steps=None), tokens)


def test_gradients_are_clipped_later_at_first(tokens: str, config: TrainConfig) -> None:
    stages = resolve_stages(replaced(config, clip_norm=0.5, clip_warmup_steps=3, clip_warmup_factor=4.0), tokens)
    assert [stages.stages[0].clip_norm(step) for step in range(1, 6)] == [2.0, 2.0, 2.0, 0.5, 0.5]


def test_the_bound_of_the_warm_up_is_that_of_the_update(tokens: str, config: TrainConfig, tmp_path: Path) -> None:
    low = replaced(config, clip_norm=1e-3, steps=1)
    for name, settings in {
        "plain": low,
        "warm": replaced(low, clip_norm=1e-4, clip_warmup_steps=1),
        "cold": replaced(low, clip_norm=1e-4),
    }.items():
        train(settings, tokens=tokens, output=str(tmp_path / name))
    moments = [
        {key: value for key, value in weights(tmp_path / name, 1).items() if key.endswith("exp_avg")}
        for name in ("plain", "warm", "cold")
    ]
    assert moments[0] == moments[1] != moments[2]


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_batches_and_sequences_grow(tokens: str, config: TrainConfig, tmp_path: Path) -> None:
    config = replaced(config, **GROWTHS)
    result = train(config, tokens=tokens, output=str(tmp_path / "run"))
    log = log_of(tmp_path / "run")
    windows = [1, 2, 2, 4, 4, 4, 4, 4]
    lengths = [4, 8, 8, 8, 16, 16, 16, 16]
    assert [record["tokens"] for record in log] == (16 * np.cumsum(windows)).tolist()
    assert [record["sequences"] for record in log] == [
        n * 16 // length for n, length in zip(windows, lengths, strict=True)
    ]
    assert result.tokens == plan_training(config, tokens=tokens).tokens == 16 * sum(windows)


@pytest.mark.parametrize("at", range(1, 7))
def test_a_run_stopped_at_any_step_of_its_warm_ups_goes_on_to_the_same_bits(
    at: int, tokens: str, config: TrainConfig, tmp_path: Path
) -> None:
    config = replaced(config, checkpoint_every=1, keep_checkpoints=0, warmup_steps=6, **GROWTHS)
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "cut"), progress=stop_after(at + 1))
    assert train(config, tokens=tokens, output=str(tmp_path / "cut")).resumed_from == at
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert weights(tmp_path / "cut", 8) == weights(tmp_path / "whole", 8)


@pytest.mark.parametrize(
    "changed",
    [
        *({name: None if "min" not in name and "clip" not in name else 0} for name in GROWTHS),
        {"clip_warmup_factor": 2.0},
        {"long_documents": "truncate"},
    ],
    ids=str,
)
def test_what_grows_is_part_of_what_a_run_is(
    changed: dict[str, Any], tokens: str, config: TrainConfig, tmp_path: Path
) -> None:
    config = replaced(config, **GROWTHS)
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    with pytest.raises(OutputExistsError, match=f"holds another run: `{next(iter(changed))}` was"):
        train(replaced(config, **changed), tokens=tokens, output=str(tmp_path / "run"))


@pytest.mark.parametrize(
    "changed",
    [{"activation_checkpointing": what} for what in ("attention", "feed_forward", "cheap", True)]
    + [{"activation_checkpointing": True, "activation_checkpointing_every": 2}],
    ids=str,
)
def test_what_is_computed_again_may_change_and_changes_no_bit(
    changed: dict[str, Any], tokens: str, config: TrainConfig, tmp_path: Path
) -> None:
    train(config, tokens=tokens, output=str(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(config, tokens=tokens, output=str(tmp_path / "run"), progress=stop_after(5))
    train(replaced(config, **changed), tokens=tokens, output=str(tmp_path / "run"))
    noted = {name: f"{getattr(config, name)} -> {value}" for name, value in changed.items()}
    assert log_of(tmp_path / "run")[4]["changed"] == noted
    assert weights(tmp_path / "run", 8) == weights(tmp_path / "whole", 8)


def test_short_sequences_are_documents_that_do_not_see_each_other(tokens: str, config: TrainConfig) -> None:
    growth = GrowthConfig(start=4, steps=9)
    short, whole = (
        resolve_stages(replaced(config, sequence_length_warmup=warm, document_masking=warm is None), tokens)
        for warm in (growth, None)
    )
    batch = whole.stages[0].loader.batch(1)
    apart = np.broadcast_to(np.arange(16, dtype=np.int32) // 4, batch.documents.shape)
    object.__setattr__(batch, "documents", np.ascontiguousarray(apart))
    alone = Processes(rank=0, world_size=1, device=torch.device("cpu"))
    cut, masked = (
        Training(stages.stages[0].settings, stages, alone, state=None, folder=None).step(
            stages.stages[0], 1, given, 0.0
        )
        for stages, given in ((short, short.stages[0].loader.batch(1)), (whole, batch))
    )
    assert cut.sequences == 4 * masked.sequences
    assert cut.labels == masked.labels
    assert cut.loss == pytest.approx(masked.loss, rel=1e-6)
    assert cut.grad_norm == pytest.approx(masked.grad_norm, rel=1e-5)


def test_epochs_of_growing_batches_take_each_window_once(tokens: str, config: TrainConfig) -> None:
    stages = resolve_stages(replaced(config, steps=None, epochs=2.0, **GROWTHS), tokens)
    stage = stages.stages[0]
    loader = stage.loader
    taken = np.concatenate([loader.indices(step) for step in range(1, stage.steps + 1)])
    for epoch in (taken[: loader.per_epoch], taken[loader.per_epoch : 2 * loader.per_epoch]):
        assert len(set(epoch.tolist())) == len(epoch)
    assert loader.per_epoch == len(loader.instances)


def test_a_mixture_takes_as_many_windows_as_growing_batches_have(tmp_path: Path, config: TrainConfig) -> None:
    sources = {
        name: SourceConfig(tokens=write_shards(tmp_path / name, [some_ids(500)]), share=0.5)
        for name in ("web", "books")
    }
    stages = resolve_stages(replaced(config, sources=sources, **GROWTHS), None)
    assert sum(share.taken for share in stages.stages[0].shares) == 25
    taken = np.concatenate([stages.stages[0].loader.indices(step) for step in range(1, 9)])
    assert sorted(taken.tolist()) == list(range(25))


def test_a_document_is_traced_through_growing_batches(tmp_path: Path, config: TrainConfig) -> None:
    tokens = documents(tmp_path / "web", n=40, seed=1)
    stages = resolve_stages(replaced(config, steps=None, epochs=2.5, **GROWTHS), tokens)
    everything = [seen for step in range(1, stages.steps + 1) for seen in documents_of_step(stages, step)]
    for id in ("web/0", "web/17", "web/39"):
        assert list(steps_of_document(stages, id)) == [seen for seen in everything if seen.id == id]


def test_a_stage_may_begin_without_what_grows_before_it(tokens: str, config: TrainConfig) -> None:
    stages = [StageConfig(name="one"), StageConfig(name="two", batch_size_warmup="none", batch_size=3)]
    resolved = resolve_stages(replaced(config, stages=stages, batch_size_warmup=GROWTHS["batch_size_warmup"]), tokens)
    assert [stage.loader.sizes.of(1) for stage in resolved.stages] == [1, 3]


def test_tokens_are_counted_as_they_come(tokens: str, config: TrainConfig) -> None:
    growth = GrowthConfig(start=1, steps=4)
    config = replaced(
        config, steps=None, duration_tokens=16 * 25, warmup_tokens=16 * 5, warmup_steps=0, batch_size_warmup=growth
    )
    (stage,) = resolve_stages(config, tokens).stages
    assert stage.steps == 8
    assert stage.rate(3) == stage.peak
    assert stage.rate(2) < stage.peak


def test_lengths_grow_by_the_rule_of_olmo_core() -> None:
    config = TrainConfig(sequence_length=1024, sequence_length_warmup=GrowthConfig(start=128, steps=100))
    assert [length_at(config, step) for step in (1, 14, 15, 42, 43, 99, 100)] == [128, 128, 256, 256, 512, 512, 1024]
