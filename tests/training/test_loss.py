"""Gradients of the loss. Run: pytest tests/training/test_loss.py"""

from __future__ import annotations

import pytest
import torch

from dolma.training import loss
from dolma.training.loss import IGNORED, head_losses, loss_sums

LABELS = torch.tensor([[1, 6, IGNORED], [0, IGNORED, 3]])


def logits(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()


def test_gradients_are_those_of_the_formulas():
    assert torch.autograd.gradcheck(lambda x: loss_sums(x, LABELS), (logits(),))


def test_an_ignored_position_has_no_gradient_even_where_its_logits_are_not_finite():
    given = logits()
    with torch.no_grad():
        given[0, 2] = torch.inf
    _, z = loss_sums(given, LABELS)
    z.backward()
    finite = given.grad[torch.tensor([[True, True, False], [True, True, True]])]
    assert torch.isfinite(z) and torch.isfinite(finite).all()


def test_half_precision_logits_are_summed_in_single():
    ce, z = loss_sums(logits(torch.bfloat16), LABELS)
    assert ce.dtype == z.dtype == torch.float32


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_losses_from_vectors_are_those_from_logits_whatever_the_chunk(chunk, monkeypatch):
    monkeypatch.setattr(loss, "_CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    vectors, head = (torch.randn(*shape, generator=generator).requires_grad_() for shape in ((2, 3, 5), (7, 5)))
    ce, z = head_losses(vectors, head, LABELS)
    (ce.sum() + 0.1 * z.sum()).backward()
    found = vectors.grad.clone(), head.grad.clone()
    vectors.grad = head.grad = None
    wanted_ce, wanted_z = loss_sums(vectors @ head.T, LABELS)
    (wanted_ce + 0.1 * wanted_z).backward()
    assert torch.allclose(ce.sum(), wanted_ce) and torch.allclose(z.sum(), wanted_z)
    assert torch.allclose(found[0], vectors.grad, atol=1e-6) and torch.allclose(found[1], head.grad, atol=1e-6)


def test_cross_entropy_is_that_of_torch():
    given = logits(torch.float32)
    ce, _ = loss_sums(given, LABELS)
    flat = given.flatten(0, 1), LABELS.flatten()
    wanted = torch.nn.functional.cross_entropy(*flat, ignore_index=IGNORED, reduction="sum")
    assert torch.allclose(ce, wanted, rtol=1e-6)
