"""Plans, made without torch. Run: pytest tests/training/test_plan.py"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dolma.errors import DataError
from dolma.training import recipe
from dolma.training.config import ExpertsConfig, ModelConfig, SourceConfig, StageConfig
from dolma.training.local import local_part
from dolma.training.metrics import flops_per_token
from dolma.training.plan import memory_of, plan_training
from dolma.training.presets import PRESETS
from dolma.training.stages import resolve_stages
from dolma.training.steps import Training
from dolma.training.trainer import train
from tests.training.conftest import CONFIG, replaced, some_ids, write_shards
from tests.training.test_local import Allocations, process


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
            "web": SourceConfig(tokens=str(tmp_path / "web"), share=0.25),
            "books": SourceConfig(tokens=str(tmp_path / "books"), share=0.75, max_repeat=2.0),
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
    assert eight.memory.at_work < one.memory.at_work
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


# --- memory ----------------------------------------------------------------------------------------------------------

WIDE = ModelConfig(d_model=32, layers=6, heads=2, mlp_hidden=96)


@pytest.mark.parametrize("world_size", [1, 4])
@pytest.mark.parametrize("init_from", [False, True])
def test_a_process_allocates_at_the_start_what_the_plan_says(
    init_from: bool, world_size: int, tokens: str, tmp_path: Path
) -> None:
    config = replaced(CONFIG, model=WIDE)
    if init_from:
        config = replaced(config, init_from=train(config, tokens=tokens, output=str(tmp_path / "run")).checkpoint)
    memory = plan_training(config, tokens=tokens, devices=world_size).memory
    stages = resolve_stages(config, tokens)
    with process(0, world_size) as processes, Allocations() as counted:
        Training(config, stages, processes, state=None, folder=None)
    assert memory.weights <= counted.peak <= memory.at_start + 64 <= counted.peak + memory.whole


@pytest.mark.parametrize("world_size", [1, 4])
def test_a_process_keeps_after_a_step_what_the_plan_says(world_size: int, tokens: str) -> None:
    config = replaced(CONFIG, model=WIDE)
    memory = plan_training(config, tokens=tokens, devices=world_size).memory
    stages = resolve_stages(config, tokens)
    with process(0, world_size) as processes:
        training = Training(config, stages, processes, state=None, folder=None)
        for parameter in training.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        training.optimizer.step()
        kept = {
            "weights": [local_part(parameter)[0] for parameter in training.model.parameters()],
            "gradients": [local_part(parameter.grad)[0] for parameter in training.model.parameters()],
            "moments": [
                local_part(value)[0]
                for state in training.optimizer.state.values()
                for name, value in state.items()
                if name != "step"
            ],
        }
    for name, tensors in kept.items():
        planned = getattr(memory, name)
        assert 0.95 * planned <= sum(tensor.nbytes for tensor in tensors) <= 1.05 * planned, name


def test_a_32b_model_fits_on_devices_of_80_gb_from_the_start_on(tokens: str) -> None:
    """Whole, its weights alone are 129 GB in every process."""
    config = replaced(CONFIG, model="olmo3_32b", micro_batch_size=64, batch_size=64, activation_checkpointing=True)
    memory = memory_of(config, vocab_size=100_278, devices=64)
    assert memory.weights * 64 > 128e9
    assert memory.at_start < 12e9
    assert memory.at_work < 80e9


def test_replicas_hold_all_of_the_weights_together(tokens: str) -> None:
    one, two = (memory_of(replaced(CONFIG, hsdp_replicas=n), vocab_size=64, devices=8) for n in (1, 2))
    assert two.weights == pytest.approx(2 * one.weights, abs=8)


def test_a_dry_run_says_what_a_process_needs(tokens: str, tmp_path: Path) -> None:
    (row,) = recipe.plan(CONFIG, tokens=[tokens], output=str(tmp_path / "out"))
    memory = plan_training(CONFIG, tokens=tokens).memory
    assert (row["memory_at_start_bytes"], row["memory_bytes"]) == (memory.at_start, memory.at_work)


def test_a_dry_run_without_shards_is_refused(tokens: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tokens-to-be"):
        list(recipe.plan(CONFIG, tokens=[f"{tokens}-to-be"], output=str(tmp_path / "out")))
