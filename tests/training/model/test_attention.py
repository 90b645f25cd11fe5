"""Which tokens see which, by masks and by sequences. Run: pytest tests/training/model/test_attention.py"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dolma.training.config import ModelConfig
from dolma.training.loss import IGNORED
from dolma.training.model.attention import has_sequences, sequence_bounds, visible
from dolma.training.model.init import initialise
from dolma.training.model.recompute import Recomputed
from dolma.training.model.transformer import unfilled

from .variants import VOCABULARY, given_documents, given_ids, given_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize("queries", [1, 4, 7])
def test_a_token_sees_a_window_of_its_document(window: int | None, queries: int) -> None:
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 3]])
    found = visible(queries=queries, keys=7, window=window, documents=documents, device=CPU)
    assert found is not None
    for row in range(2):
        for query in range(queries):
            at = 7 - queries + query
            for key in range(7):
                near = key <= at and (window is None or at - key < window)
                assert bool(found[row, 0, query, key]) == (near and documents[row, key] == documents[row, at])


def test_plain_causal_attention_needs_no_mask() -> None:
    assert visible(queries=5, keys=5, window=None, documents=None, device=CPU) is None
    assert visible(queries=5, keys=5, window=5, documents=None, device=CPU) is None
    assert visible(queries=5, keys=5, window=4, documents=None, device=CPU) is not None


def test_sequences_begin_with_windows_and_documents() -> None:
    assert sequence_bounds(given_documents()).tolist() == [0, 5, 16, 24, 48]


@pytest.mark.parametrize("variant", ["olmo1", "olmo2", "olmoe"])
@pytest.mark.parametrize("what", [True, "attention", "feed_forward", "cheap"])
@pytest.mark.parametrize("every", [1, 2])
def test_activations_computed_again_change_no_gradient(every: int, what: Recomputed, variant: str) -> None:
    gradients = []
    for recompute in (False, what):
        model = given_model(variant)
        model.recompute(recompute, every=every)
        ids = given_ids()
        losses = model.losses(ids, ids.roll(-1, 1), documents=given_documents())
        losses.ce.sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


class _Products(TorchDispatchMode):
    """Counts matrix products and attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        self.counts["attention" if "scaled_dot_product" in name and "backward" not in name else name] += 1
        return func(*args, **kwargs or {})


def _kept(what: Recomputed) -> tuple[int, int, int]:
    """Bytes kept for the backward pass, and in it, matrix products and attentions."""
    model, ids = given_model("olmo2"), given_ids()
    model.recompute(what)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.losses(ids, ids.roll(-1, 1)).ce.sum()
    with _Products() as counted:
        loss.backward()
    return sum(kept.values()), counted.counts["aten::mm"], counted.counts["attention"]


def test_what_is_computed_again_is_what_was_asked_for() -> None:
    all_kept, products, attentions = _kept(False)
    assert attentions == 0
    found = {what: _kept(what) for what in (True, "attention", "feed_forward")}
    assert found[True][1:] == (products + 2 * 7, 2)  # of two layers
    assert found["attention"][1:] == (products + 2 * 3, 2)  # but for the last, which no gradient needs
    assert found["feed_forward"][1:] == (products + 2 * 2, 0)
    assert all(kept < all_kept for kept, _, _ in found.values())
    assert _kept("cheap")[1:] == (products, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_compiled_blocks_give_the_same_loss() -> None:
    ids = given_ids()
    losses = []
    for compiled in (False, True):
        model = given_model("olmo2")
        if compiled:
            model.blocks[0].compile()  # one is enough, and takes long enough
        losses.append(model.losses(ids, ids.roll(-1, 1)).ce.sum())
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.skipif(not has_sequences(), reason="torch below 2.13")
@pytest.mark.parametrize("variant", ["olmo2", "olmo3"])
def test_sequences_give_what_masks_give(variant: str) -> None:
    model = given_model(variant).cuda()
    ids, documents = given_ids().cuda(), given_documents().cuda()
    with torch.no_grad():
        expected = model(ids, documents=documents)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            found = model(ids, documents=documents)
    assert torch.allclose(found.float(), expected, atol=0.1, rtol=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_window_of_65536_tokens_fits() -> None:
    config = ModelConfig(d_model=512, layers=4, heads=8, mlp_hidden=2048, context_length=65536, sliding_window=4096)
    model = unfilled(config, vocab_size=VOCABULARY)
    initialise(model, seed=0)
    model = model.cuda()
    model.recompute(True)
    ids = torch.randint(0, VOCABULARY, (1, 65536), device="cuda")
    labels = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORED)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = model.losses(ids, labels).ce.sum()
    loss.backward()
    assert torch.isfinite(loss)
