"""Against OLMo-core itself, where it is installed: `pip install 'dolma[parity]'`. Run: pytest tests/training/parity"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

olmo_core = pytest.importorskip("olmo_core")

import torch  # noqa: E402

from dolma.training import dcp  # noqa: E402
from dolma.training.config import GrowthConfig, ModelConfig, SkipStepConfig, TrainConfig  # noqa: E402
from dolma.training.data.sizes import length_at  # noqa: E402
from dolma.training.initial import fill  # noqa: E402
from dolma.training.metrics import StepRecord, read_metrics  # noqa: E402
from dolma.training.model.transformer import unfilled  # noqa: E402
from dolma.training.optim import make_optimizer  # noqa: E402
from dolma.training.schedule import learning_rate  # noqa: E402
from dolma.training.trainer import train  # noqa: E402
from tests.training.conftest import write_shards  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

VOCABULARY, LENGTH, STEPS = 256, 64, 24
MODEL = ModelConfig(d_model=64, layers=4, heads=4, kv_heads=2, mlp_hidden=256, sliding_window=16)
CONFIG = TrainConfig(
    model=MODEL,
    sequence_length=LENGTH,
    batch_size=8,
    micro_batch_size=2,
    steps=STEPS,
    learning_rate=1e-3,
    warmup_steps=4,
    skip_step=SkipStepConfig(interval=128),
    checkpoint_every=10,
    keep_checkpoints=0,
    threads=1,
    seed=3,
)


def ids() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = []
    for n in (9000, 7000):
        array = np.minimum(generator.geometric(0.05, n), VOCABULARY - 1)
        array[::50] = 0
        array[-1] = 0
        arrays.append(array)
    return arrays


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_shards(tmp_path_factory.mktemp("tokens"), ids(), vocabulary=VOCABULARY)


@pytest.fixture(scope="module")
def ours(tokens: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    train(CONFIG, tokens=tokens, output=str(folder / "run"))
    return folder / "run"


class Recorder:
    """Makes the callback that keeps what their trainer reports."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def callback(self) -> Any:
        from olmo_core.train.callbacks import Callback

        recorder = self

        class Keep(Callback):
            def log_metrics(self, step: int, metrics: dict[str, float]) -> None:
                recorder.steps.setdefault(step, {}).update(metrics)

        return Keep()


def their_model() -> Any:
    from olmo_core.nn.attention import AttentionBackendName, SlidingWindowAttentionConfig
    from olmo_core.nn.transformer import TransformerConfig

    window = SlidingWindowAttentionConfig(
        force_full_attention_on_first_layer=False,
        force_full_attention_on_last_layer=True,
        pattern=[MODEL.sliding_window] * 3 + [-1],
    )
    return TransformerConfig.olmo2_190M(
        VOCABULARY,
        n_layers=MODEL.layers,
        n_heads=MODEL.heads,
        n_kv_heads=MODEL.kv_heads,
        sliding_window=window,
        attn_backend=AttentionBackendName.torch,
    )


def their_run(tokens: str, folder: Path, *, load: str | None = None) -> Recorder:
    """24 steps of their Trainer, from our initial weights or from the checkpoint in `load`."""
    from olmo_core.data import NumpyDataLoaderConfig, NumpyFSLDatasetConfig, TokenizerConfig
    from olmo_core.data.types import NumpyDatasetDType
    from olmo_core.nn.transformer import TransformerConfig
    from olmo_core.optim import CosWithWarmup, OptimGroupOverride, SkipStepAdamWConfig
    from olmo_core.train import Duration, TrainerConfig
    from olmo_core.train.callbacks import CheckpointerCallback
    from olmo_core.train.train_module import TransformerTrainModuleConfig

    recorder = Recorder()
    config: TransformerConfig = their_model()
    config.d_model = MODEL.d_model
    for block in [config.block, *(config.block_overrides or {}).values()]:
        block.feed_forward.hidden_size = MODEL.mlp_hidden
    model = config.build(init_device="cpu")
    module = TransformerTrainModuleConfig(
        rank_microbatch_size=2 * LENGTH,
        max_sequence_length=LENGTH,
        optim=SkipStepAdamWConfig(
            lr=1e-3,
            betas=(0.9, 0.95),
            weight_decay=0.1,
            group_overrides=[OptimGroupOverride(params=["embeddings.weight"], opts={"weight_decay": 0.0})],
            rolling_interval_length=128,
        ),
        scheduler=CosWithWarmup(warmup=4),
        max_grad_norm=1.0,
        z_loss_multiplier=1e-5,
    ).build(model, device=torch.device("cpu"))
    mine = unfilled(MODEL, vocab_size=VOCABULARY)
    fill(mine, CONFIG)
    module.model.load_state_dict(mine.state_dict())  # building it has drawn weights of their own
    tokenizer = TokenizerConfig(vocab_size=VOCABULARY, eos_token_id=0, pad_token_id=0)
    dataset = NumpyFSLDatasetConfig(
        paths=sorted(str(path) for path in Path(tokens).glob("*.npy")),
        sequence_length=LENGTH,
        tokenizer=tokenizer,
        dtype=NumpyDatasetDType.uint16,
        work_dir=str(folder / "work"),
    ).build()
    loader = NumpyDataLoaderConfig(global_batch_size=8 * LENGTH, seed=3, num_workers=0).build(dataset)
    trainer = TrainerConfig(
        save_folder=str(folder / "save"),
        work_dir=str(folder / "work"),
        save_overwrite=True,
        max_duration=Duration.steps(STEPS),
        metrics_collect_interval=1,
        load_path=load,
        load_trainer_state=None if load is None else os.path.isdir(f"{load}/train"),
        callbacks={
            "keep": recorder.callback(),
            "checkpointer": CheckpointerCallback(save_interval=10, pre_train_checkpoint=False),
        },
    ).build(module, loader)
    trainer.fit()
    return recorder


@pytest.fixture(scope="module")
def theirs(tokens: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorder, Path]:
    folder = tmp_path_factory.mktemp("theirs")
    return their_run(tokens, folder), folder / "save"


def records(run: Path) -> list[StepRecord]:
    return read_metrics(str(run / "metrics.jsonl"))


def test_24_steps_have_the_losses_norms_and_rates_of_their_trainer(ours: Path, theirs: tuple[Recorder, Path]) -> None:
    recorder, _ = theirs
    for record in records(ours):
        found = recorder.steps[record.step]
        assert record.loss == pytest.approx(found["train/CE loss"], abs=1e-5)
        assert record.grad_norm == pytest.approx(found["optim/total grad norm"], abs=1e-5)
        assert record.lr == pytest.approx(found["optim/LR (group 0)"], abs=1e-12)


def test_their_checkpoint_goes_on_in_our_trainer(theirs: tuple[Recorder, Path], ours: Path) -> None:
    _, save = theirs
    model = unfilled(MODEL, vocab_size=VOCABULARY)
    dcp.read_into(str(save / "step10" / "model_and_optim"), dict(dcp.model_entries(model)))
    mine = unfilled(MODEL, vocab_size=VOCABULARY)
    dcp.read_into(str(ours / "step10" / "model_and_optim"), dict(dcp.model_entries(mine)))
    for (name, a), b in zip(model.named_parameters(), mine.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), name


def test_their_moments_are_those_of_our_run(theirs: tuple[Recorder, Path], ours: Path) -> None:
    states = []
    for folder in (theirs[1] / "step10", ours / "step10"):
        model = unfilled(MODEL, vocab_size=VOCABULARY)
        optimizer = make_optimizer(model, CONFIG)
        dcp.load_optimizer(str(folder / "model_and_optim"), model, optimizer)
        states.append([value for state in optimizer.state.values() for value in state.values()])
    assert len(states[0]) == len(states[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*states, strict=True))


def test_their_run_goes_on_in_our_trainer(theirs: tuple[Recorder, Path], tokens: str, tmp_path: Path) -> None:
    recorder, save = theirs
    config = msgspec.structs.replace(
        CONFIG,
        init_from=str(save / "step24"),
        init_optimizer=True,
        schedule="constant",
        warmup_steps=0,
        learning_rate=1e-4,
    )
    train(config, tokens=tokens, output=str(tmp_path / "run"))
    first = records(tmp_path / "run")[0]
    assert first.loss < recorder.steps[2]["train/CE loss"]
    assert first.grad_norm < 2


def test_our_checkpoint_loads_in_theirs(ours: Path) -> None:
    from olmo_core.distributed.checkpoint import load_model_and_optim_state
    from olmo_core.nn.transformer import TransformerConfig
    from olmo_core.optim import AdamWConfig

    config: TransformerConfig = their_model()
    config.d_model = MODEL.d_model
    for block in [config.block, *(config.block_overrides or {}).values()]:
        block.feed_forward.hidden_size = MODEL.mlp_hidden
    model = config.build(init_device="cpu")
    optimizer = AdamWConfig().build(model)
    load_model_and_optim_state(str(ours / "step24" / "model_and_optim"), model, optimizer, flatten_optimizer_state=True)
    mine = unfilled(MODEL, vocab_size=VOCABULARY)
    dcp.read_into(str(ours / "step24" / "model_and_optim"), dict(dcp.model_entries(mine)))
    batch = torch.arange(64)[None]
    with torch.no_grad():
        assert torch.allclose(model(batch), mine(batch), atol=1e-5)
    steps = {float(state["step"]) for state in optimizer.state.values()}
    assert steps == {24.0}


def test_the_log_is_json(ours: Path) -> None:
    first = (ours / "metrics.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["step"] == 1


@pytest.mark.parametrize(("size", "start", "steps"), [(1024, 128, 100), (4096, 256, 7), (64, 64, 5)])
def test_sequences_grow_as_theirs(size: int, start: int, steps: int) -> None:
    from olmo_core.train.callbacks.sequence_length_scheduler import _get_split_sequence_length

    config = TrainConfig(sequence_length=size, sequence_length_warmup=GrowthConfig(start=start, steps=steps))
    for step in range(1, 2 * steps):
        assert length_at(config, step) == _get_split_sequence_length(start, size, step, steps)


def test_a_warm_up_from_a_least_rate_is_theirs() -> None:
    from olmo_core.optim import CosWithWarmup

    config = TrainConfig(learning_rate=1e-3, warmup_min_lr=1e-4, warmup_steps=7)
    theirs = CosWithWarmup(warmup=7, warmup_min_lr=1e-4)
    for step in range(1, 30):
        assert learning_rate(config, step, steps=29) == pytest.approx(theirs.get_lr(1e-3, step, 29), rel=1e-12)
