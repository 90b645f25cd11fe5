"""The model against its formulas written out. Run: pytest tests/training/test_model.py"""

from __future__ import annotations

import math

import pytest
import torch

from dolma.training.config import ModelConfig
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer
from dolma.training.presets import PRESETS, count_parameters

CONFIG = ModelConfig(d_model=16, layers=2, heads=4, kv_heads=2, mlp_hidden=24)
VOCABULARY = 50


def model(*, seed: int = 0, perturbed: bool = True) -> Transformer:
    found = Transformer(CONFIG, vocab_size=VOCABULARY)
    initialise(found, seed=seed)
    if perturbed:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in found.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
                else:
                    parameter.mul_(8)
    return found


def ids(batch: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(2))


def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return weight * x / torch.sqrt((x**2).mean(-1, keepdim=True) + CONFIG.norm_eps)


def turned(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions of one head, `(length, width)`, pair by pair as complex numbers."""
    length, width = x.shape
    half = width // 2
    out = torch.empty_like(x)
    for position in range(length):
        for i in range(half):
            angle = position * CONFIG.rope_theta ** (-2 * i / width)
            a, b = x[position, i], x[position, i + half]
            out[position, i] = a * math.cos(angle) - b * math.sin(angle)
            out[position, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def attention(x: torch.Tensor, w: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    width = CONFIG.d_model // CONFIG.heads
    q = rms(x @ w[prefix + "w_q.weight"].T, w[prefix + "q_norm.weight"])
    k = rms(x @ w[prefix + "w_k.weight"].T, w[prefix + "k_norm.weight"])
    v = x @ w[prefix + "w_v.weight"].T
    heads = []
    for head in range(CONFIG.heads):
        shared = head // (CONFIG.heads // CONFIG.kv_heads)
        q_head = turned(q[:, head * width : (head + 1) * width])
        k_head = turned(k[:, shared * width : (shared + 1) * width])
        v_head = v[:, shared * width : (shared + 1) * width]
        rows = []
        for t in range(len(x)):
            weights = torch.softmax(q_head[t] @ k_head[: t + 1].T / math.sqrt(width), -1)
            rows.append(weights @ v_head[: t + 1])
        heads.append(torch.stack(rows))
    return torch.cat(heads, -1) @ w[prefix + "w_out.weight"].T


def twin(row: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of one sequence, as OLMo 2 is written down (arXiv:2501.00656, section 2)."""
    x = w["embeddings.weight"][row]
    for n in range(CONFIG.layers):
        block = f"blocks.{n}."
        x = x + rms(attention(x, w, block + "attention."), w[block + "attention_norm.weight"])
        gate = x @ w[block + "feed_forward.w1.weight"].T
        up = x @ w[block + "feed_forward.w3.weight"].T
        down = (gate * torch.sigmoid(gate) * up) @ w[block + "feed_forward.w2.weight"].T
        x = x + rms(down, w[block + "feed_forward_norm.weight"])
    return rms(x, w["lm_head.norm.weight"]) @ w["lm_head.w_out.weight"].T


def test_logits_are_those_of_the_formulas():
    found = model()
    weights = {name: parameter.detach().double() for name, parameter in found.named_parameters()}
    given = ids()
    expected = torch.stack([twin(row, weights) for row in given])
    assert torch.allclose(found(given).double(), expected, atol=2e-5, rtol=1e-4)


def test_a_later_token_changes_no_earlier_logits():
    found = model()
    given = ids()
    changed = given.clone()
    changed[:, 5] = (changed[:, 5] + 1) % VOCABULARY
    before, after = found(given), found(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


def test_parameters_have_the_names_of_olmo_core():
    names = {
        name.replace("blocks.0.", "blocks.N.") for name, _ in model().named_parameters() if "blocks.1." not in name
    }
    attention = {f"blocks.N.attention.{part}.weight" for part in ("w_q", "w_k", "w_v", "w_out", "q_norm", "k_norm")}
    rest = {f"blocks.N.feed_forward.{part}.weight" for part in ("w1", "w2", "w3")}
    norms = {"blocks.N.attention_norm.weight", "blocks.N.feed_forward_norm.weight"}
    ends = {"embeddings.weight", "lm_head.norm.weight", "lm_head.w_out.weight"}
    assert names == attention | rest | norms | ends


@pytest.mark.parametrize(
    ("name", "vocab_size", "parameters"),
    [
        ("olmo1_1b", 50_280, 1_176_764_416),
        ("olmo1_1b_0724", 50_280, 1_279_787_008),
        ("olmo1_7b", 50_280, 6_888_095_744),
        ("olmo1_7b_0424", 50_280, 6_888_095_744),
        ("olmo1_7b_0724", 50_280, 6_888_095_744),
        ("olmo2_1b", 100_278, 1_484_916_736),
        ("olmo2_7b", 100_278, 7_298_617_344),
        ("olmo2_13b", 100_278, 13_716_198_400),
        ("olmo2_32b", 100_278, 32_234_279_936),
        ("olmo3_7b", 100_278, 7_298_617_344),
        ("olmo3_32b", 100_278, 32_234_279_936),
        ("olmoe_1b_7b", 50_280, 6_919_161_856),
        ("olmo2_30m", 100_278, 54_792_448),
        ("olmo2_60m", 100_278, 95_957_376),
        ("olmo2_3b", 100_278, 3_503_508_736),
    ],
)
def test_public_models_have_their_published_number_of_parameters(name, vocab_size, parameters):
    assert count_parameters(PRESETS[name], vocab_size=vocab_size) == parameters


def test_the_ladder_has_the_published_number_without_the_input_embedding():
    assert count_parameters(PRESETS["olmo2_190m"], vocab_size=100_278, embeddings=False) == 190_354_176


def test_counted_parameters_are_those_of_the_model():
    found = model()
    assert count_parameters(CONFIG, vocab_size=VOCABULARY) == sum(p.numel() for p in found.parameters())


def test_initial_weights_depend_on_seed_and_name_only():
    first, again, other = (dict(model(seed=s, perturbed=False).named_parameters()) for s in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embeddings.weight"], other["embeddings.weight"])
    assert float(first["embeddings.weight"].detach().abs().max()) <= 0.06


@pytest.mark.golden
def test_a_seeded_model_gives_the_values_written_down():
    logits = model(perturbed=False)(ids()).detach().double()
    assert float(logits.pow(2).mean()) == pytest.approx(0.005158719398714672, rel=1e-4)
