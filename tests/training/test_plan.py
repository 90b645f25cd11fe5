"""Plans, made without torch. Run: pytest tests/training/test_plan.py"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dolma.training.config import ExpertsConfig, ModelConfig, SourceConfig, StageConfig
from dolma.training.metrics import flops_per_token
from dolma.training.plan import plan_training
from dolma.training.presets import PRESETS
from tests.training.conftest import CONFIG, replaced, some_ids, write_shards


def test_a_plan_counts_steps_tokens_and_windows(tokens: str) -> None:
    plan = plan_training(replaced(CONFIG, checkpoint_every=3, keep_checkpoints=1), tokens=tokens)
    (stage,) = plan.stages
    assert (plan.steps, plan.tokens, stage.windows) == (8, 8 * 4 * 16, 62 + 43)
    assert stage.rates[0] == (1, pytest.approx(0.5e-2))
    assert stage.rates[-1] == (8, pytest.approx(0.1e-2))
    assert plan.checkpoints == [8]
    assert plan.disk_bytes == 2 * plan.checkpoint_bytes == 2 * 12 * plan.parameters


def test_a_plan_shows_what_a_mixture_takes(tmp_path: Path) -> None:
    for name in ("web", "books"):
        write_shards(tmp_path / name, [some_ids(1500)])
    stage = StageConfig(
        name="pretrain",
        sources={
            "web": SourceConfig(tokens=str(tmp_path / "web"), target_ratio=0.25),
            "books": SourceConfig(tokens=str(tmp_path / "books"), target_ratio=0.75, max_repetition_ratio=2.0),
        },
        steps=40,
    )
    plan = plan_training(replaced(CONFIG, steps=None, stages=[stage]), tokens=None)
    shares = [(share.source, share.available, share.taken) for share in plan.stages[0].sources]
    assert shares == [("web", 93, 40), ("books", 93, 120)]
    assert plan.stages[0].sources[1].repetitions == pytest.approx(120 / 93)


@pytest.mark.parametrize(
    ("name", "length", "expected"),
    [
        ("olmo2_1b", 4096, 6 * (1_484_916_736 - 100_352 * 2048) + 12 * 16 * 2048 * 4096),
        ("olmo3_7b", 8192, 6 * (7_298_617_344 - 100_352 * 4096) + 12 * 4096 * (24 * 4096 + 8 * 8192)),
    ],
)
def test_operations_follow_the_formula_of_olmo_core(name: str, length: int, expected: int) -> None:
    assert flops_per_token(PRESETS[name], vocab_size=100_278, length=length) == expected


def test_more_devices_need_less_memory_each_and_less_time(tokens: str) -> None:
    one, eight = (plan_training(CONFIG, tokens=tokens, devices=n) for n in (1, 8))
    assert eight.memory_bytes < one.memory_bytes
    assert eight.seconds == pytest.approx(one.seconds / 8)


def test_plans_and_traces_load_no_torch(tokens: str) -> None:
    program = (
        "import sys\n"
        "from dolma.training import trace\n"
        "from dolma.training.config import TrainConfig\n"
        "from dolma.training.plan import plan_training\n"
        f"plan_training(TrainConfig(sequence_length=16, batch_size=4, steps=3), tokens={tokens!r})\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plan_of_experts_counts_the_active_ones(tokens: str) -> None:
    model = ModelConfig(d_model=16, layers=2, heads=2, mlp_hidden=8, experts=ExpertsConfig(count=8, active=2))
    plan = plan_training(replaced(CONFIG, model=model), tokens=tokens)
    assert plan.parameters - plan.active_parameters == 2 * 6 * 3 * 16 * 8
