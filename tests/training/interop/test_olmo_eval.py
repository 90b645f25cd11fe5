"""Tasks of ai2-olmo-eval, where it is installed. Run: pytest tests/training/interop/test_olmo_eval.py"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dolma.errors import ConfigError, MissingExtraError
from dolma.training.config import ModelConfig
from dolma.training.interop.olmo_eval import olmo_scores
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer

TOKENIZER = str(Path(__file__).parents[3] / "data" / "sample" / "tokenizer.json")


@pytest.fixture
def model() -> Transformer:
    found = Transformer(ModelConfig(d_model=16, layers=2, heads=2, mlp_hidden=32), vocab_size=4096)
    initialise(found, seed=0)
    return found


@pytest.mark.filterwarnings("ignore")
def test_a_task_is_scored(model: Transformer) -> None:
    pytest.importorskip("olmo_eval")
    found = olmo_scores(model, ["copa"], tokenizer=TOKENIZER, eos_id=0, max_items=8)
    assert all(0 <= value <= 1 for name, value in found["copa"].items() if name.startswith("acc"))
    assert found["copa"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("max_items", range(1, 8))
def test_items_are_scored_with_all_of_their_continuations(model: Transformer, max_items: int) -> None:
    pytest.importorskip("olmo_eval")
    found = olmo_scores(model, ["copa"], tokenizer=TOKENIZER, eos_id=0, max_items=max_items)["copa"]
    right = found["acc_v1"] * max_items
    assert right == pytest.approx(round(right), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_an_unknown_task_is_named(model: Transformer) -> None:
    pytest.importorskip("olmo_eval")
    with pytest.raises(ConfigError, match="no task 'cpa'; did you mean 'copa'"):
        olmo_scores(model, ["cpa"], tokenizer=TOKENIZER, eos_id=0)


def test_without_the_package_the_error_says_what_to_install(model: Transformer, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dolma\[olmo-eval\]'"):
        olmo_scores(model, ["copa"], tokenizer=TOKENIZER, eos_id=0)
