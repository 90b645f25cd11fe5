"""Against transformers, where it is installed: `pip install 'dolma[parity]'`. Run: pytest tests/training/parity"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

transformers = pytest.importorskip("transformers")

import torch  # noqa: E402
from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dolma.training.config import ModelConfig  # noqa: E402
from dolma.training.generate import generate  # noqa: E402
from dolma.training.interop import hf  # noqa: E402
from dolma.training.interop.hf_config import family_of  # noqa: E402
from dolma.training.loss import IGNORED, loss_sums  # noqa: E402
from dolma.training.model.transformer import Transformer, unfilled  # noqa: E402
from tests.training.interop.folders import read  # noqa: E402
from tests.training.interop.strategies import filled, models  # noqa: E402
from tests.training.model.variants import (  # noqa: E402
    VARIANTS,
    VOCABULARY,
    given_documents,
    given_ids,
    given_model,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
each_variant = pytest.mark.parametrize("variant", VARIANTS)
DENSE = [variant for variant, model in VARIANTS.items() if model.experts is None]


def theirs(variant: str, folder: Path, **options: Any) -> Any:
    """Our model, exported and loaded by transformers."""
    return loaded(given_model(variant), folder, **options)


def loaded(model: Transformer, folder: Path | str, *, trimmed: bool = False, **options: Any) -> Any:
    """A model of ours, exported and loaded by transformers."""
    hf.write_folder(
        str(folder),
        dict(model.named_parameters()),
        model.config,
        vocab_size=model.vocab_size,
        eos_id=None,
        trim_vocabulary=trimmed,
    )
    if model.config.experts is not None:
        options["experts_implementation"] = "eager"
    return transformers.AutoModelForCausalLM.from_pretrained(str(folder), attn_implementation="sdpa", **options)


@each_variant
def test_logits_are_equal(variant: str, tmp_path: Path) -> None:
    with torch.no_grad():
        expected = theirs(variant, tmp_path)(given_ids()).logits
        assert torch.allclose(given_model(variant)(given_ids()), expected, atol=1e-5, rtol=0)


@each_variant
def test_logits_in_bfloat16_are_near(variant: str, tmp_path: Path) -> None:
    if variant not in DENSE:
        pytest.skip("ties of the router fall either way in bfloat16")
    with torch.no_grad():
        expected = theirs(variant, tmp_path, dtype=torch.bfloat16)(given_ids()).logits
        found = given_model(variant).bfloat16()(given_ids())
    assert torch.allclose(found.float(), expected.float(), atol=1e-2, rtol=1e-2)


@each_variant
def test_loss_and_every_gradient_are_equal(variant: str, tmp_path: Path) -> None:
    ids = given_ids()
    model, other = given_model(variant), theirs(variant, tmp_path)
    labels = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORED)
    ce, _ = loss_sums(model(ids), labels)
    loss = ce / (labels != IGNORED).sum()
    loss.backward()
    expected = other(ids, labels=ids).loss
    expected.backward()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    gradients = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    stored = hf.from_hf(gradients, VARIANTS[variant], rows=VOCABULARY)
    named = {name: one.rows(0, one.shape[0]) for name, one in stored.items()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        scale = float(named[name].abs().max())
        assert torch.allclose(parameter.grad, named[name], atol=1e-5 * scale + 1e-9, rtol=1e-4), name


@each_variant
def test_documents_kept_apart_are_equal(variant: str, tmp_path: Path) -> None:
    documents = given_documents()
    positions = torch.cat([torch.arange(int(n)) for row in documents for n in torch.bincount(row)]).view_as(documents)
    with torch.no_grad():
        expected = theirs(variant, tmp_path)(given_ids(), position_ids=positions, use_cache=False).logits
        found = given_model(variant)(given_ids(), documents=documents)
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)


@each_variant
def test_what_they_save_is_read_here(variant: str, tmp_path: Path) -> None:
    theirs(variant, tmp_path / "ours").save_pretrained(str(tmp_path / "theirs"))
    model, rows, weights = read(str(tmp_path / "theirs"))
    found: Transformer = unfilled(model, vocab_size=rows)
    found.load_state_dict(weights)
    with torch.no_grad():
        assert torch.equal(found(given_ids()), given_model(variant)(given_ids()))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(model=models(), trimmed=st.booleans(), bfloat16=st.booleans())
def test_whatever_is_exported_computes_the_same(model: ModelConfig, *, trimmed: bool, bfloat16: bool) -> None:
    try:
        family_of(model)
    except ValueError:
        assume(False)
    ours, ids = filled(model, vocab_size=100), given_ids() % 100
    low = bfloat16 and model.experts is None  # ties of the router fall either way in bfloat16
    dtype = torch.bfloat16 if low else torch.float32
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        expected = loaded(ours, folder, trimmed=trimmed, dtype=dtype)(ids).logits
        found = ours.to(dtype)(ids)[..., : expected.shape[-1]]
    scale = max(1.0, float(expected.float().abs().max()))
    assert torch.allclose(found.float(), expected.float(), atol=(2e-2 if low else 1e-5) * scale, rtol=0)


@each_variant
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_is_a_document_of_its_own(side: str, variant: str, tmp_path: Path) -> None:
    padded, ids = 7, given_ids()
    attended = torch.ones_like(ids)
    attended[0, slice(0, padded) if side == "left" else slice(-padded, None)] = 0
    with torch.no_grad():
        expected = theirs(variant, tmp_path)(ids, attention_mask=attended).logits
        found = given_model(variant)(ids, documents=attended)
    assert torch.allclose(found[attended == 1], expected[attended == 1], atol=1e-5, rtol=1e-5)


@each_variant
def test_prompts_side_by_side_are_continued_as_there(variant: str, tmp_path: Path) -> None:
    prompts = [[3, 1, 4, 1, 5], [9], [2, 7, 1, 8, 2, 8, 1, 8]]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    attended = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with torch.no_grad():
        expected = theirs(variant, tmp_path).generate(ids, attention_mask=attended, **options)[:, longest:]
    found = generate(given_model(variant), prompts, max_tokens=12, eos_id=None, temperature=0.0, seeds=[0] * 3)
    assert found == expected.tolist()
