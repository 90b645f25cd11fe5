"""Losses over a batch, and what a step makes of them. Run: pytest tests/training/test_steps.py"""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
import torch

from dolma.training.data.loader import Batch, Loader
from dolma.training.model.transformer import Losses, Transformer
from dolma.training.parallel import Processes
from dolma.training.stages import Stage, resolve_stages
from dolma.training.steps import NextToken, Training

ALONE = Processes(rank=0, world_size=1, device=torch.device("cpu"))


class Doubled(NextToken):
    """Twice the loss."""

    def losses(
        self, model: Transformer, ids: torch.Tensor, labels: torch.Tensor, documents: torch.Tensor | None
    ) -> Losses:
        found = super().losses(model, ids, labels, documents)
        return Losses(2 * found.ce, 2 * found.z, found.load_balance, found.router_z)


class Halved(NextToken):
    """Counts every label twice."""

    def count(self, batch: Batch) -> int:
        return 2 * super().count(batch)


@pytest.mark.parametrize(("objective", "factor"), [(Doubled(), 2), (Halved(), 0.5)])
def test_another_objective_takes_the_place_of_the_next_token(objective, factor, tokens, config):
    stages = resolve_stages(config, tokens)
    stage = stages.stages[0]
    plain, other = (
        Training(config, stages, ALONE, state=None, folder=None, objective=chosen) for chosen in (None, objective)
    )
    batch = stage.loader.batch(1)
    first, second = (training.step(stage, 1, batch, 0.0) for training in (plain, other))
    assert second.loss == pytest.approx(factor * first.loss)
    assert second.grad_norm == pytest.approx(factor * first.grad_norm)


class Pairs:
    """The loss of preferring the first answer of a pair to the second (Rafailov et al. 2023, arXiv:2305.18290),
    against a model that finds all answers equally likely."""

    def count(self, batch: Batch) -> int:
        return len(batch.ids) // 2

    def losses(
        self, model: Transformer, ids: torch.Tensor, labels: torch.Tensor, documents: torch.Tensor | None
    ) -> Losses:
        found = model.losses(ids, labels, documents=documents)
        chosen, rejected = -found.ce.sum(1).reshape(-1, 2).T
        loss = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected))
        return Losses(torch.stack([loss, 0 * loss], 1).reshape(-1, 1), 0 * loss, None, None)


def pairs_of(stage: Stage) -> Stage:
    """The stage with windows 2 i and 2 i + 1 for a pair."""
    loader = Loader(stage.loader.instances, batch_size=stage.settings.batch_size, seed=0, together=2)
    return dataclasses.replace(stage, loader=loader)


def test_pairs_of_windows_stay_together_in_order_processes_and_passes(tokens, config):
    (stage,) = resolve_stages(config, tokens).stages
    loader = pairs_of(stage).loader
    for step in (1, 2, 30):
        assert all(n % 2 == 0 for n in loader.indices(step)[::2])
        assert (loader.indices(step)[1::2] == loader.indices(step)[::2] + 1).all()
    whole = loader.batch(1).ids
    parts = [loader.batch(1, rank=rank, world_size=2).ids for rank in range(2)]
    assert (parts[0] == whole[:2]).all() and (parts[1] == whole[2:]).all()


def test_preferences_are_learnt_by_an_objective_alone(tokens, config):
    found = []
    for micro in (None, 1):
        settings = msgspec.structs.replace(config, micro_batch_size=micro)
        stages = resolve_stages(settings, tokens)
        stages = dataclasses.replace(stages, stages=tuple(pairs_of(stage) for stage in stages.stages))
        stage = stages.stages[0]
        training = Training(settings, stages, ALONE, state=None, folder=None, objective=Pairs())
        batch = stage.loader.batch(1)
        found.append([training.step(stage, step, batch, 0.0) for step in range(1, 6)])
    whole, parts = found
    assert [record.labels for record in whole] == [2] * 5
    assert whole[0].loss == pytest.approx(math.log(2), abs=0.02)
    assert whole[-1].loss < whole[0].loss - 0.05
    for one, other in zip(whole, parts, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-4)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-3)


class Named(Processes):
    """One process, on a device of some name."""

    device_name = ""


@pytest.mark.parametrize(
    ("name", "dtype", "given", "expected"),
    [
        ("NVIDIA H200", "bfloat16", None, 989.4e12),
        ("NVIDIA H100 NVL", "bfloat16", None, 835.5e12),
        ("AMD Instinct MI300X OAM", "bfloat16", None, 1307.4e12),
        ("NVIDIA H200", "bfloat16", 1e12, 1e12),
        ("NVIDIA H200", "float32", None, None),
        ("Somebody's 9000", "bfloat16", None, None),
        ("", "bfloat16", None, None),
        ("", "float32", 1e12, 1e12),
    ],
)
def test_the_share_of_the_peak_is_that_of_the_device(name, dtype, given, expected, tokens, config):
    settings = msgspec.structs.replace(config, dtype=dtype, peak_flops=given)
    stages = resolve_stages(settings, tokens)
    alone = Named(rank=0, world_size=1, device=torch.device("cpu"))
    Named.device_name = name
    training = Training(settings, stages, alone, state=None, folder=None)
    stage = stages.stages[0]
    record = training.step(stage, 1, stage.loader.batch(1), 0.0)
    assert record.mfu == (None if expected is None else record.flops_per_second / expected)
