"""Continuations, one by one and many at a time. Run: pytest tests/training/test_generate.py"""

from __future__ import annotations

import pytest
import torch

from dolma.training.generate import generate
from dolma.training.model.transformer import Transformer
from tests.training.model.variants import VARIANTS, VOCABULARY, given_model

PROMPTS = [[3, 1, 4, 1, 5], [9], list(range(20)), [2, 7, 1, 8, 2, 8, 1, 8], [9, 9]]


def each(model: Transformer, temperature: float, *, eos_id: int | None = None) -> list[list[int]]:
    """What every prompt is continued with by itself."""
    return [
        generate(model, [prompt], max_tokens=12, eos_id=eos_id, temperature=temperature, seeds=[seed])[0]
        for seed, prompt in enumerate(PROMPTS)
    ]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_prompt_is_continued_as_if_it_were_alone(variant: str, temperature: float) -> None:
    model = given_model(variant)
    found = generate(
        model, PROMPTS, max_tokens=12, eos_id=None, temperature=temperature, seeds=list(range(len(PROMPTS)))
    )
    assert found == each(model, temperature)
    assert [len(one) for one in found] == [12] * len(PROMPTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_beside_padding_are_those_without(variant: str) -> None:
    model, short, long = given_model(variant), torch.tensor([[3, 1, 4]]), torch.tensor([[2, 7, 1, 8, 2, 8, 1]])
    ids = torch.cat([torch.cat([torch.zeros(1, 4, dtype=torch.int64), short], dim=1), long])
    documents = torch.tensor([[-1] * 4 + [0] * 3, [0] * 7])
    positions = torch.tensor([[0] * 4 + [0, 1, 2], list(range(7))])
    with torch.no_grad():
        beside = model(ids, documents=documents, positions=positions)
        assert torch.allclose(beside[0, 4:], model(short)[0], atol=1e-5, rtol=1e-5)
        assert torch.allclose(beside[1], model(long)[0], atol=1e-5, rtol=1e-5)


def test_logits_of_the_last_tokens_are_those_of_all() -> None:
    model, ids = given_model("olmo3"), torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        assert torch.allclose(model(ids, last=2), model(ids)[:, -2:], atol=1e-5, rtol=1e-5)


def test_a_draw_depends_on_its_seed_only() -> None:
    model = given_model("olmo2")
    same = generate(model, [PROMPTS[0]] * 3, max_tokens=12, eos_id=None, temperature=1.0, seeds=[4, 5, 4])
    assert same[0] == same[2] != same[1]


def test_a_continuation_ends_before_the_end_of_text() -> None:
    model = given_model("olmo2")
    free = each(model, 0.0)
    end = free[0][4]
    found = generate(model, PROMPTS, max_tokens=12, eos_id=end, temperature=0.0, seeds=[0] * len(PROMPTS))
    assert found == [one[: one.index(end)] if end in one else one for one in free]
    assert len(found[0]) <= 4


@pytest.mark.parametrize("length", [60, 63, 64, 200])
def test_a_continuation_ends_where_the_context_is_full(length: int) -> None:
    model = given_model("olmo2")
    prompt = [at % VOCABULARY for at in range(length)]
    long, short = generate(model, [prompt, [1, 2]], max_tokens=10, eos_id=None, temperature=0.0, seeds=[0, 0])
    assert len(long) == 64 - min(length, 63)
    assert len(short) == 10
    assert generate(model, [prompt[-63:]], max_tokens=10, eos_id=None, temperature=0.0, seeds=[0]) == [long]


def test_ids_are_made_where_the_model_is() -> None:
    model = given_model("olmo2").to("meta")
    with pytest.raises(
        (NotImplementedError, RuntimeError), match="meta tensor"
    ):  # all went well up to reading the tokens back
        generate(model, PROMPTS, max_tokens=1, eos_id=None, temperature=0.0, seeds=[0] * len(PROMPTS))


def test_tokens_that_pad_the_vocabulary_are_never_chosen() -> None:
    model = given_model("olmo2")
    model.vocab_size = 5
    found = generate(model, PROMPTS, max_tokens=12, eos_id=None, temperature=5.0, seeds=[0] * len(PROMPTS))
    assert max(max(one) for one in found) < 5


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="a prompt has no tokens"):
        generate(given_model("olmo2"), [[1], []], max_tokens=1, eos_id=None, temperature=0.0, seeds=[0, 0])
