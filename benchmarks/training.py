"""A training step of ours against transformers' model in a plain loop and OLMo-core's train module, in one run.

    python -m benchmarks.training [--write DATE]

Needs `pip install 'dolma[train,parity]'`. Same OLMo 2 of 2.1 million parameters, same batch (8 windows of 256 tokens),
AdamW, clipping, one thread, float32; ours and OLMo-core's with z-loss. The three take turns, and each ratio is of
neighbours in time; seconds are processor time. Data loading is ours alone, as a share of our step.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.stages import machine
from dolma.training.config import ModelConfig, TrainConfig
from dolma.training.data.loader import Instances, Loader
from dolma.training.data.shards import ShardTokens
from dolma.training.data.windows import ConcatenatedWindows
from dolma.training.interop.hf import write_folder
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer
from dolma.training.optim import clip, make_optimizer, update

HERE = Path(__file__).parent
MODEL = ModelConfig(d_model=128, layers=4, heads=4, mlp_hidden=512)
VOCABULARY, BATCH, LENGTH = 4096, 8, 256
CONFIG = TrainConfig(learning_rate=1e-3)

Step = Callable[[], Any]


def loader_of() -> Loader:
    """Windows of random ids."""
    ids = np.random.default_rng(0).integers(1, VOCABULARY, 400 * LENGTH).astype(np.uint16)
    windows = ConcatenatedWindows([ShardTokens("none", ids, eos_id=0, eos_ends_documents=True)], length=LENGTH)
    return Loader(Instances.all_of(windows, "train"), batch_size=BATCH, seed=0)


def ours(ids: torch.Tensor, labels: torch.Tensor) -> Step:
    """A step as the trainer makes it."""
    model = Transformer(MODEL, vocab_size=VOCABULARY)
    initialise(model, seed=0)
    optimizer = make_optimizer(model, CONFIG)
    n_valid = int((labels != -100).sum())

    def step() -> None:
        losses = model.losses(ids, labels)
        ((losses.ce.sum() + CONFIG.z_loss * losses.z.sum()) / n_valid).backward()
        norm = clip(model, clip_norm=1.0)
        update(optimizer, rate=1e-3, skip=not np.isfinite(norm))

    return step


def of_transformers(ids: torch.Tensor) -> Step:
    """transformers' Olmo2ForCausalLM, its own loss, torch's AdamW."""
    from transformers import AutoModelForCausalLM

    mine = Transformer(MODEL, vocab_size=VOCABULARY)
    initialise(mine, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, dict(mine.named_parameters()), MODEL, vocab_size=VOCABULARY, eos_id=None)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> None:
        model(ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def of_olmo_core(ids: torch.Tensor, labels: torch.Tensor) -> Step:
    """OLMo-core's model, loss and AdamW, as its train module puts them together."""
    from olmo_core.nn.attention import AttentionBackendName
    from olmo_core.nn.transformer import TransformerConfig
    from olmo_core.optim import AdamWConfig, OptimGroupOverride

    config = TransformerConfig.olmo2_190M(
        VOCABULARY, n_layers=MODEL.layers, n_heads=MODEL.heads, attn_backend=AttentionBackendName.torch
    )
    config.d_model = MODEL.d_model
    config.block.feed_forward.hidden_size = MODEL.mlp_hidden
    model = config.build(init_device="cpu")
    model.init_weights(device=torch.device("cpu"))
    overrides = [OptimGroupOverride(params=["embeddings.weight"], opts={"weight_decay": 0.0})]
    optimizer = AdamWConfig(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, group_overrides=overrides).build(model)
    n_valid = (labels != -100).sum()

    def step() -> None:
        _, loss, *_ = model(
            ids,
            labels=labels,
            loss_reduction="sum",
            z_loss_multiplier=1e-5,
            loss_div_factor=n_valid,
            return_logits=False,
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(step: Step) -> float:
    """Processor seconds of one step."""
    began = time.process_time()
    step()
    return time.process_time() - began


def report(rounds: int) -> str:
    """The table, as Markdown."""
    torch.set_num_threads(1)
    loader = loader_of()
    batch = loader.batch(1)
    ids, labels = torch.from_numpy(batch.ids), torch.from_numpy(batch.labels)
    steps = {
        "dolma": ours(ids, labels),
        "transformers": of_transformers(ids),
        "OLMo-core": of_olmo_core(ids, labels),
    }
    for step in steps.values():
        step(), step()
    took: dict[str, list[float]] = {name: [] for name in steps}
    loading = []
    for number in range(rounds):
        for name, step in steps.items():
            took[name].append(seconds(step))
        loading.append(seconds(lambda number=number: loader.batch(number + 2)))
    base = took["dolma"]
    lines = [
        f"OLMo 2, 2.1 M parameters, {BATCH} windows of {LENGTH} tokens, one thread, {rounds} rounds, medians.",
        "",
        machine("torch", "transformers", "ai2-olmo-core"),
        "",
        "| step | tokens/s | seconds | times ours | spread |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, values in took.items():
        ratios = [value / mine for value, mine in zip(values, base, strict=True)]
        median = statistics.median(values)
        lines.append(
            f"| {name} | {BATCH * LENGTH / median:,.0f} | {median:.3f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f}-{max(ratios):.2f} |"
        )
    share = statistics.median(load / step for load, step in zip(loading, base, strict=True))
    lines += ["", f"Loading a batch takes {100 * share:.2f} % of our step (target: under 2 %)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and keep it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", metavar="DATE")
    given = parser.parse_args()
    found = report(given.rounds)
    print(found)
    if given.write:
        title = f"# Training steps, {given.write}\n\n`python -m benchmarks.training`\n\n"
        (HERE / "results" / f"{given.write}-training.md").write_text(title + found, encoding="utf-8")


if __name__ == "__main__":
    main()
