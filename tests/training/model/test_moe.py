"""Mixtures of experts: products of groups against experts one by one. Run: pytest tests/training/model/test_moe.py"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dolma.training.config import ExpertsConfig, ModelConfig
from dolma.training.loss import router_losses
from dolma.training.model import moe
from dolma.training.model.moe import MixtureOfExperts, Routing


def mixture(count: int = 8, active: int = 2, *, d_model: int = 16, hidden: int = 24) -> MixtureOfExperts:
    experts = ExpertsConfig(count=count, active=active)
    config = ModelConfig(d_model=d_model, layers=1, heads=2, mlp_hidden=hidden, experts=experts)
    found = MixtureOfExperts(config, experts)
    generator = torch.Generator().manual_seed(0)
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return found


def tokens(*, d_model: int = 16) -> torch.Tensor:
    return torch.randn(3, 50, d_model, generator=torch.Generator().manual_seed(1))


def one_by_one(model: MixtureOfExperts, x: torch.Tensor) -> torch.Tensor:
    """The readable twin: each expert in turn, on the tokens that are given to it."""
    flat, mlp = x.flatten(0, 1), model.experts["mlp"]
    weights, chosen = torch.softmax(model.router(flat), dim=-1).topk(model.active, dim=-1)
    w1, w2, w3 = (weight.unflatten(0, (mlp.count, -1)) for weight in (mlp.w1, mlp.w2, mlp.w3))
    mixed = torch.zeros_like(flat)
    for expert in range(mlp.count):
        token, place = (chosen == expert).nonzero(as_tuple=True)
        gated = F.silu(flat[token] @ w1[expert].T) * (flat[token] @ w3[expert].T)
        mixed = mixed.index_add(0, token, gated @ w2[expert] * weights[token, place, None])
    return mixed.view_as(x)


@pytest.fixture(params=["groups", "side by side"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "side by side":
        monkeypatch.setattr(moe, "grouped_mm", None)
    elif moe.grouped_mm is None:
        pytest.skip("this torch has no products of groups")
    return request.param


@pytest.mark.parametrize("unused", [0, 3])
def test_experts_together_give_what_one_by_one_does(way: str, unused: int) -> None:
    together, x = mixture(), tokens()
    with torch.no_grad():  # some experts, the first and the last among them, are given nothing
        together.router.weight.view(8, -1)[[0, 4, 7][:unused]] = 0.0
        together.router.weight.view(8, -1)[[0, 4, 7][:unused], 0] = -1e4
    x[..., 0] = x[..., 0].abs() + 0.1
    alone = copy.deepcopy(together)
    sought = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    found, expected = together(inputs[0])[0], one_by_one(alone, inputs[1])
    (found * sought).sum().backward()
    (expected * sought).sum().backward()
    if unused:
        assert (moe.tokens_by_expert(together(x)[1].chosen, experts=8)[[0, 4, 7]] == 0).all()
    assert (found - expected).abs().max() <= 1e-6
    gradients = [(inputs[0].grad, inputs[1].grad)]
    gradients += [(a.grad, b.grad) for a, b in zip(together.parameters(), alone.parameters(), strict=True)]
    for a, b in gradients:
        assert (a - b).abs().max() <= 1e-6 * max(1.0, float(b.abs().max()))


def test_widths_that_products_of_groups_do_not_take_are_computed_side_by_side() -> None:
    model, x = mixture(d_model=20, hidden=10), tokens(d_model=20)
    assert not moe.has_grouped_products(x, model.experts["mlp"].w1.unflatten(0, (8, -1)))
    assert (model(x)[0] - one_by_one(model, x)).abs().max() <= 1e-6


def test_16_bits_are_multiplied_where_autocast_says_so(way: str) -> None:
    model, x = mixture(), tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x)[0]
    expected = one_by_one(model, x)
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()


class Operations(TorchDispatchMode):
    """Counts operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_more_experts_are_no_more_operations(way: str) -> None:
    counts = []
    for count in (4, 32):
        model = mixture(count)
        with Operations() as counted:
            model(tokens())[0].square().sum().backward()
        counts.append(counted.count)
    assert counts[0] == counts[1]


def test_no_number_leaves_the_device() -> None:
    """Nothing can be read from tensors without memory."""
    if moe.grouped_mm is None:
        pytest.skip("this torch has no products of groups")
    with torch.device("meta"):
        model = mixture().bfloat16()
        found, routing = model(torch.empty(2, 8, 16, dtype=torch.bfloat16))
        balance, _ = router_losses([routing])
    (found.sum() + balance).backward()
    assert isinstance(routing, Routing)
    assert found.shape == (2, 8, 16)
