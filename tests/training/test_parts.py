"""Schedule, loss, optimiser, windows, order. Run: pytest tests/training/test_parts.py"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import DataError
from dolma.training.config import TrainConfig
from dolma.training.data.loader import Instances, Loader, global_order
from dolma.training.data.shards import ShardTokens
from dolma.training.data.windows import ConcatenatedWindows
from dolma.training.loss import IGNORED, loss_sums
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer
from dolma.training.optim import SpikeGuard, clip, make_optimizer, update
from dolma.training.schedule import learning_rate
from tests.training.conftest import TINY, VOCABULARY


def rates(steps: int = 100, **settings) -> list[float]:
    config = TrainConfig(learning_rate=1.0, **settings)
    return [learning_rate(config, step, steps=steps) for step in range(1, steps + 1)]


def test_warm_up_rises_linearly_to_the_peak():
    assert rates(warmup_steps=4, schedule="constant")[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_ends_at_its_floor_and_is_halfway_in_the_middle():
    found = rates(warmup_steps=20, min_lr_fraction=0.2)
    assert found[-1] == pytest.approx(0.2)
    assert found[59] == pytest.approx(0.6)
    assert found[39] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * 0.25)) / 2)


def test_linear_falls_by_the_same_amount_each_step():
    found = rates(schedule="linear", min_lr_fraction=0.0)
    assert found[-1] == 0
    assert np.allclose(np.diff(found), -0.01)


def test_wsd_is_flat_and_then_falls_to_zero():
    found = rates(schedule="wsd", decay_fraction=0.25)
    assert found[:75] == [1.0] * 75
    assert found[-1] == 0
    assert np.allclose(np.diff(found[74:]), -0.04)


def test_loss_is_cross_entropy_and_the_squared_normaliser():
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, IGNORED, 4, 0], [10, IGNORED, IGNORED, 3, 3]])
    ce, z = loss_sums(logits, labels)
    expected_ce = expected_z = 0.0
    for row, wanted in zip(logits.reshape(-1, 11).double(), labels.reshape(-1).tolist(), strict=True):
        if wanted != IGNORED:
            normaliser = math.log(float(torch.exp(row).sum()))
            expected_ce += normaliser - float(row[wanted])
            expected_z += normaliser**2
    assert float(ce) == pytest.approx(expected_ce, rel=1e-5)
    assert float(z) == pytest.approx(expected_z, rel=1e-5)


def tiny() -> Transformer:
    model = Transformer(TINY, vocab_size=VOCABULARY)
    initialise(model, seed=0)
    return model


def gradients(model: Transformer, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def state_of(model: Transformer, optimizer: torch.optim.AdamW) -> list[torch.Tensor]:
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return [tensor.clone() for tensor in (*(p.detach() for p in model.parameters()), *moments)]


def test_a_gradient_that_is_not_finite_leaves_no_trace():
    model = tiny()
    optimizer = make_optimizer(model, TrainConfig())
    gradients(model, seed=0)
    update(optimizer, rate=1e-3, skip=False)
    before = state_of(model, optimizer)
    gradients(model, seed=1)
    next(iter(model.parameters())).grad[0, 0] = float("nan")
    skip = SpikeGuard(None).skips(1.0, clip(model, clip_norm=1.0))
    assert skip
    update(optimizer, rate=1e-3, skip=skip)
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(model, optimizer), strict=True))


def test_embeddings_are_not_decayed_and_all_else_is():
    model = tiny()
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    update(optimizer, rate=0.1, skip=False)
    for name, parameter in model.named_parameters():
        expected = before[name] if name == "embeddings.weight" else before[name] * (1 - 0.1 * 0.5)
        assert torch.allclose(parameter, expected), name


def windows_of(arrays: list[np.ndarray], *, length: int) -> ConcatenatedWindows:
    shards = [ShardTokens("no such shard", ids, eos_id=None, eos_ends_documents=False) for ids in arrays]
    return ConcatenatedWindows(shards, length=length)


def loader_of(n_tokens: int, *, length: int, batch_size: int, seed: int) -> Loader:
    windows = windows_of([np.arange(n_tokens)], length=length)
    return Loader(Instances.all_of(windows, "train"), batch_size=batch_size, seed=seed)


@given(st.lists(st.integers(0, 50), max_size=5), st.integers(1, 9))
def test_windows_are_whole_pieces_of_their_shards(lengths, length):
    arrays = [np.arange(1000 * i, 1000 * i + n) for i, n in enumerate(lengths)]
    windows = windows_of(arrays, length=length)
    expected = [a[k : k + length].tolist() for a in arrays for k in range(0, len(a) - length + 1, length)]
    assert [windows[i].ids.tolist() for i in range(len(windows))] == expected
    assert windows.dropped_tokens == sum(n % length for n in lengths)


@given(st.integers(8, 60), st.integers(1, 8), st.integers(0, 5))
def test_every_window_comes_at_most_once_an_epoch(n_windows, batch_size, seed):
    loader = loader_of(n_windows, length=1, batch_size=batch_size, seed=seed)
    for epoch in range(2):
        steps = range(epoch * loader.steps_per_epoch + 1, (epoch + 1) * loader.steps_per_epoch + 1)
        seen = [int(i) for step in steps for i in loader.indices(step)]
        assert len(seen) == len(set(seen)) == n_windows // batch_size * batch_size


def test_steps_may_be_asked_for_in_any_order():
    loader = loader_of(40, length=2, batch_size=4, seed=3)
    forward = {step: loader.batch(step).ids.tolist() for step in range(1, 12)}
    assert {step: loader.batch(step).ids.tolist() for step in (11, 2, 7, 1)} == {s: forward[s] for s in (11, 2, 7, 1)}


def test_the_order_is_that_of_olmo_core():
    expected = np.arange(20, dtype=np.uint32)
    np.random.Generator(np.random.PCG64(7 + 2)).shuffle(expected)
    assert global_order(20, seed=7, epoch=2).tolist() == expected.tolist()


def test_too_few_windows_for_one_batch_is_an_error():
    with pytest.raises(DataError, match="3 windows of 2 tokens do not fill one batch of 4"):
        loader_of(7, length=2, batch_size=4, seed=0)
