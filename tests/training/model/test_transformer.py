"""All families against values of transformers. Run: pytest tests/training/model/test_transformer.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dolma.training.loss import IGNORED, loss_sums

from .variants import VARIANTS, VOCABULARY, given_documents, given_ids, given_model

GOLDENS = json.loads((Path(__file__).parent / "transformers.json").read_bytes())

pytestmark = pytest.mark.parametrize("variant", VARIANTS)


def near(found: torch.Tensor, golden: Any) -> bool:
    return torch.allclose(found, torch.tensor(golden), atol=1e-5, rtol=1e-5)


@pytest.mark.golden
def test_logits_are_those_of_transformers(variant: str) -> None:
    with torch.no_grad():
        assert near(given_model(variant)(given_ids())[:, -1, :16], GOLDENS[variant]["logits"])


@pytest.mark.golden
def test_loss_and_gradient_norm_are_those_of_transformers(variant: str) -> None:
    model, ids = given_model(variant), given_ids()
    labels = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORED)
    ce, _ = loss_sums(model(ids), labels)
    loss = ce / (labels != IGNORED).sum()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    assert loss.item() == pytest.approx(GOLDENS[variant]["loss"], rel=1e-5)
    assert norm.item() == pytest.approx(GOLDENS[variant]["gradient_norm"], rel=1e-5)


@pytest.mark.golden
def test_logits_of_separate_documents_are_those_of_transformers(variant: str) -> None:
    with torch.no_grad():
        found = given_model(variant)(given_ids(), documents=given_documents())
    assert near(found[:, -1, :16], GOLDENS[variant]["logits_of_documents"])


def test_a_document_does_not_see_another(variant: str) -> None:
    model, ids = given_model(variant), given_ids()
    changed = ids.clone()
    changed[0, :5] = (changed[0, :5] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = (model(given, documents=given_documents()) for given in (ids, changed))
    assert torch.equal(before[0, 5:], after[0, 5:])
    assert not torch.allclose(before[0, :5], after[0, :5])


def test_a_cache_changes_no_logits(variant: str) -> None:
    model, ids = given_model(variant), given_ids()
    cache = model.new_cache()
    with torch.no_grad():
        whole = model(ids)
        parts = [model(part, cache=cache) for part in ids.split([9, 1, 1, 13], dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)
