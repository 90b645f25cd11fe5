"""Training recipes and checkpoints as functions. Run: pytest tests/api/test_training.py"""

from __future__ import annotations

from pathlib import Path

import pytest

import dolma

pytest.importorskip("torch")

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
SIZES = {"model": "olmo2_quickstart", "steps": 2, "batch_size": 2, "sequence_length": 32, "checkpoint_every": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards, and a run on them with two checkpoints."""
    home = tmp_path_factory.mktemp("training")
    documents = str(SAMPLE / "forum/documents/*.jsonl.gz")
    dolma.tokenize(documents, tokenizer=str(SAMPLE / "tokenizer.json"), output=str(home / "tokens"), workers=1)
    dolma.train(str(home / "tokens"), output=str(home / "run"), **SIZES)
    return home


def test_a_plan_counts_steps_and_tokens(home: Path) -> None:
    plan = dolma.plan({"train": SIZES}, tokens=home / "tokens")
    assert (plan.steps, plan.tokens) == (2, 2 * 2 * 32)


def test_a_plan_of_a_recipe_without_training_is_an_error() -> None:
    with pytest.raises(dolma.ConfigError, match="has no `train:`"):
        dolma.plan({"stat": {}})


def test_an_export_and_a_soup_are_evaluated_as_the_run_is(home: Path) -> None:
    assert dolma.export(home / "run", home / "hf") == str(home / "tokens" / "tokenizer.json")
    same = dolma.soup([home / "run" / "step2"] * 2, home / "soup")
    given = {"tokens": {"forum": str(home / "tokens")}, "length": 32, "max_windows": 2, "device": "cpu"}
    losses = [dolma.eval(model, **given).held_out["forum"].loss for model in (home / "run", home / "hf", same)]
    assert losses == [pytest.approx(losses[0], rel=1e-5)] * 3


def test_what_to_type_next_is_an_argument(home: Path) -> None:
    with pytest.raises(dolma.ConfigError) as caught:
        dolma.eval(home / "run")
    assert "give `tokens=" in str(caught.value)


def test_an_unknown_type_is_refused(home: Path) -> None:
    with pytest.raises(dolma.ConfigError, match="`dtype` is 'int8'"):
        dolma.export(home / "run", home / "int8", dtype="int8")
