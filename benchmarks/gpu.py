"""What only a GPU can show: attention within sequences, compiled blocks, bfloat16, and the MFU of a 1B model.

    python -m benchmarks.gpu [--write DATE]

Needs `pip install 'dolma[train]'` and a CUDA device of about 45 GB (estimated); without one it says so and ends with
status 0. Each check compares with plain float32 on the same device.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from dolma.training.config import TrainConfig
from dolma.training.loss import IGNORED
from dolma.training.metrics import flops_per_token
from dolma.training.model.attention import has_sequences
from dolma.training.model.init import initialise
from dolma.training.model.transformer import Transformer, outline
from dolma.training.optim import clip, make_optimizer, update
from dolma.training.peak import peak_flops
from dolma.training.presets import PRESETS

RESULTS = Path(__file__).parent / "results"
VOCABULARY, LENGTH, WINDOWS, ROUNDS = 100_278, 4096, 4, 10
SMALL = ("olmo2_14m", "olmo3_14m")
NEAR = 0.02  # of the loss, in bfloat16


def model_of(name: str) -> Transformer:
    """The preset with its initial weights, on the device."""
    model = outline(PRESETS[name], vocab_size=VOCABULARY).to_empty(device="cuda")
    initialise(model, seed=0)
    return model


def batch(windows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random ids, their labels, and documents of 512 tokens."""
    generator = torch.Generator(device="cuda").manual_seed(0)
    ids = torch.randint(1, VOCABULARY, (windows, LENGTH), device="cuda", generator=generator)
    documents = (torch.arange(LENGTH, device="cuda") // 512).expand(windows, -1).to(torch.int32)
    return ids, torch.nn.functional.pad(ids[:, 1:], (0, 1), value=IGNORED), documents.contiguous()


def loss_of(model: Transformer, *, low: bool, masked: bool) -> float:
    """The mean loss of a batch, forward and backward."""
    ids, labels, documents = batch(1)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=low):
        losses = model.losses(ids, labels, documents=documents if masked else None)
    loss = losses.ce.sum() / (labels != IGNORED).sum()
    loss.backward()
    model.zero_grad(set_to_none=True)
    return float(loss)


def checks() -> Iterator[tuple[str, float, float]]:
    """What is compared, the loss that comes out, and that of plain float32."""
    for name in SMALL:
        for masked in (False, True):
            model = model_of(name)
            expected = loss_of(model, low=False, masked=masked)
            kind = f"{name}, documents apart" if masked else name
            sequences = has_sequences() and (masked or PRESETS[name].sliding_window is not None)
            yield (
                f"{kind}: bfloat16" + (", within sequences" if sequences else ""),
                loss_of(model, low=True, masked=masked),
                expected,
            )
            for block in model.blocks:
                block.compile()
            yield f"{kind}: bfloat16, compiled", loss_of(model, low=True, masked=masked), expected


def tokens_per_second(name: str, *, compiled: bool) -> float:
    """Of whole steps, in bfloat16, after two that warm up."""
    model = model_of(name)
    model.recompute("cheap")
    if compiled:
        for block in model.blocks:
            block.compile()
    config = TrainConfig(learning_rate=1e-4)
    optimizer, (ids, labels, _) = make_optimizer(model, config), batch(WINDOWS)
    began = 0.0
    for step in range(2 + ROUNDS):
        if step == 2:
            torch.cuda.synchronize()
            began = time.perf_counter()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            losses = model.losses(ids, labels)
        ((losses.ce.sum() + config.z_loss * losses.z.sum()) / labels.numel()).backward()
        clip(model, clip_norm=config.clip_norm)
        update(optimizer, rate=1e-4, skip=False)
    torch.cuda.synchronize()
    return ROUNDS * WINDOWS * LENGTH / (time.perf_counter() - began)


def report() -> str:
    """All checks, as the text of a result file."""
    device = torch.cuda.get_device_name()
    lines = [f"`python -m benchmarks.gpu` on {device}, torch {torch.__version__}", ""]
    lines += ["| check | loss | float32 | |", "| --- | ---: | ---: | --- |"]
    for name, found, expected in checks():
        verdict = "near" if abs(found - expected) <= NEAR * expected else "NOT NEAR"
        lines.append(f"| {name} | {found:.4f} | {expected:.4f} | {verdict} |")
    lines += ["", "| olmo2_1b, bfloat16, windows of 4,096 | tokens/s | MFU |", "| --- | ---: | ---: |"]
    peak = peak_flops(device, dtype="bfloat16")
    per_token = flops_per_token(PRESETS["olmo2_1b"], vocab_size=VOCABULARY, length=LENGTH)
    for compiled in (False, True):
        rate = tokens_per_second("olmo2_1b", compiled=compiled)
        share = "not known" if peak is None else f"{rate * per_token / peak:.1%}"
        lines.append(f"| {'compiled' if compiled else 'as it is'} | {rate:,.0f} | {share} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the report, or write it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", metavar="DATE")
    date = parser.parse_args().write
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device here")
        return
    text = report()
    print(text)
    if date:
        (RESULTS / f"{date}-gpu.md").write_text(f"# A GPU, {date}\n\n{text}")


if __name__ == "__main__":
    main()
