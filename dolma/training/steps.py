"""Model, optimiser and guard at work: one update after the other."""

from __future__ import annotations

import math
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from dolma.errors import ConfigError
from dolma.training import checkpoint as checkpointing
from dolma.training.config import TrainConfig
from dolma.training.data.loader import IGNORED, Batch, batch_hash
from dolma.training.initial import fill, load_initial_moments
from dolma.training.metrics import StepRecord, flops_per_token
from dolma.training.model.transformer import Losses, Transformer, outline
from dolma.training.optim import SpikeGuard, clip, make_optimizer, update
from dolma.training.parallel import Processes, spread, summing_gradients, total
from dolma.training.peak import peak_flops
from dolma.training.stages import Stage, Stages
from dolma.training.state import CheckpointState


class Objective(Protocol):
    """A loss over a batch: a sum over its windows, divided once by what the whole batch of all processes counts.

    A pass, whatever `micro_batch_size` is, has whole groups of the windows that a `Loader` keeps together, such as the
    two answers of a pair, one after the other.
    """

    def count(self, batch: Batch) -> int:
        """What one process's part of a batch counts: labels, or pairs of answers. Steps with 0 in all are skipped."""
        ...

    def losses(
        self, model: Transformer, ids: torch.Tensor, labels: torch.Tensor, documents: torch.Tensor | None
    ) -> Losses:
        """The losses of the windows of one pass; `ce` and `z` are summed, each window in a row."""
        ...


class NextToken:
    """The objective of pretraining: each label from the tokens before it."""

    def count(self, batch: Batch) -> int:
        """Labels that are not ignored."""
        return int((batch.labels != IGNORED).sum())

    def losses(
        self, model: Transformer, ids: torch.Tensor, labels: torch.Tensor, documents: torch.Tensor | None
    ) -> Losses:
        """Cross-entropy and squared log-normaliser of each label."""
        return model.losses(ids, labels, documents=documents)


class Training:
    """What changes from step to step, new or as a checkpoint left it.

    `seen`: tokens of each source so far. `objective`: what is made small.

    Raises:
        ConfigError: a batch, or a pass, that the processes cannot share evenly.
        DataError: the weights to begin with are of another model.
    """

    def __init__(
        self,
        config: TrainConfig,
        stages: Stages,
        processes: Processes,
        *,
        state: CheckpointState | None,
        folder: str | None,
        objective: Objective | None = None,
    ) -> None:
        self.config, self.stages, self.processes = config, stages, processes
        self.objective = objective or NextToken()
        self.vocab_size = stages.tokenizer.vocab_size
        self.peak = config.peak_flops or peak_flops(processes.device_name, dtype=config.dtype)
        for stage in stages.stages:
            _check_shared(stage, processes)
        first = stages.of((state.step if state else 0) + 1)
        self.model = self._model(first, folder)
        self.optimizer = make_optimizer(self.model, first.settings)
        self.seen: Counter[str] = Counter(state.tokens_by_source if state else {})
        self.guard = SpikeGuard(config.skip_step, state.losses if state else (), state.norms if state else ())
        if folder is None and config.init_optimizer:
            load_initial_moments(self.model, self.optimizer, config)
        if folder is not None:
            checkpointing.load_weights(folder, self.model)
            # A stage that takes over weights only begins with moments of its own.
            if state is not None and not (state.step == first.first and first.start == "weights"):
                checkpointing.load_moments(folder, self.model, self.optimizer)

    def _model(self, first: Stage, folder: str | None) -> Transformer:
        model = outline(first.model, vocab_size=self.vocab_size)
        model.recompute(self.config.activation_checkpointing, every=self.config.activation_checkpointing_every)
        if self.config.compile:
            for block in model.blocks:
                block.compile()
        spread(model, self.processes, dtype=self.config.dtype)
        model.to_empty(device=self.processes.device)  # of this process's part only
        if folder is None:
            fill(model, self.config)
        return model

    def fetch(self, ahead: ThreadPoolExecutor, step: int) -> Future[Batch]:
        """This process's part of a step's batch, read in the background."""
        stage = self.stages.of(step)
        return ahead.submit(
            stage.loader.batch, step - stage.first, rank=self.processes.rank, world_size=self.processes.world_size
        )

    def step(self, stage: Stage, step: int, batch: Batch, waited: float) -> StepRecord:
        """One update, or one that is skipped; `waited` are the seconds spent waiting for the batch."""
        began = time.perf_counter()
        if step == stage.first + 1:
            self._begin(stage)
        length = stage.length(step)
        sums = self._backward(stage, batch, length)
        norm = clip(self.model, clip_norm=stage.clip_norm(step))
        skipped = self.guard.skips(sums.loss, norm)
        update(self.optimizer, rate=stage.rate(step), skip=skipped)
        chosen = self._count(stage, step)
        seconds = time.perf_counter() - began + waited
        n_tokens = stage.tokens_at(step) - stage.tokens_at(step - 1)
        tokens_per_second = n_tokens / seconds
        flops = flops_per_token(stage.model, vocab_size=self.vocab_size, length=length)
        return StepRecord(
            step=step,
            stage=stage.name,
            tokens=stage.tokens_at(step),
            sequences=n_tokens // length,
            labels=sums.n_labels,
            loss=sums.loss,
            z_loss=stage.settings.z_loss * sums.z,
            router_loss=sums.router,
            loss_by_source=sums.by_source,
            grad_norm=norm,
            lr=stage.rate(step),
            skipped=skipped,
            batch=batch_hash(chosen),
            tokens_per_second=tokens_per_second,
            flops_per_second=tokens_per_second * flops,
            mfu=self._share_of_peak(tokens_per_second * flops),
            data_wait=waited / seconds,
        )

    def _share_of_peak(self, flops_per_second: float) -> float | None:
        return None if self.peak is None else flops_per_second / (self.peak * self.processes.world_size)

    def _begin(self, stage: Stage) -> None:
        self.model.config = stage.model
        if stage.first and stage.start == "weights":
            self.optimizer = make_optimizer(self.model, stage.settings)

    def _count(self, stage: Stage, step: int) -> np.ndarray:
        """Count the tokens of each source in a batch; sources and numbers of its windows, int64, `(2, windows)`."""
        instances = stage.loader.instances
        indices = stage.loader.indices(step - stage.first)
        sources = instances.sources[indices]
        for source, n in Counter(sources.tolist()).items():
            self.seen[instances.names[source]] += n * stage.settings.sequence_length
        return np.stack([sources, instances.windows[indices]]).astype(np.int64)

    def _backward(self, stage: Stage, batch: Batch, length: int) -> _Sums:
        """Gradients of the mean loss over all that the whole batch counts, and the sums that it is made of.

        Windows are cut into sequences of `length` tokens, which do not see each other. Without a label there are no
        gradients, and the loss is not a number: the guard skips such a step.
        """
        settings, processes = stage.settings, self.processes
        valid = torch.tensor([float(self.objective.count(batch))], dtype=torch.float64)
        n_labels = int(total(valid, processes).item())
        if n_labels == 0:
            return _Sums(loss=math.nan, z=math.nan, router=0.0, n_labels=0, by_source={})
        arrays = (batch.ids, batch.labels, batch.documents)
        ids, labels, documents = (torch.from_numpy(array).reshape(-1, length).to(processes.device) for array in arrays)
        cut = settings.sequence_length // length
        sources = torch.from_numpy(batch.sources).repeat_interleave(cut)
        together = stage.loader.together
        windows = (settings.micro_batch_size or settings.batch_size) // processes.world_size
        parts = torch.arange(len(ids)).split(cut * max(together, windows - windows % together))
        sums = _SumsSoFar(stage, len(ids))
        for number, part in enumerate(parts):
            with summing_gradients(self.model, processes, last=number == len(parts) - 1), self._autocast():
                masking = documents[part] if settings.document_masking else None
                losses = self.objective.losses(self.model, ids[part], labels[part], masking)
            self._mean(stage, losses, share=len(part) / len(ids), n_labels=n_labels).backward()
            sums.add(losses, labels[part], sources[part])
        return sums.over(processes, n_labels)

    def _mean(self, stage: Stage, losses: Losses, *, share: float, n_labels: int) -> torch.Tensor:
        """What a pass adds to the gradient; `share` is its part of this process's windows."""
        # FSDP divides summed gradients by the number of processes, and each has only its own part of the sums.
        found = (losses.ce.sum() + stage.settings.z_loss * losses.z.sum()) / n_labels * self.processes.world_size
        router = _router_loss(stage, losses)
        return found if router is None else found + share * router

    def _autocast(self) -> Any:
        # Of several processes, FSDP casts the parameters instead.
        if self.config.dtype == "float32" or self.processes.world_size > 1:
            return nullcontext()
        return torch.autocast(self.config.device, dtype=torch.bfloat16)


def _check_shared(stage: Stage, processes: Processes) -> None:
    least, together = stage.loader.sizes.least, stage.loader.together
    if least % (processes.world_size * together):
        name = "batch_size" if least == stage.settings.batch_size else "batch_size_warmup"
        raise ConfigError(
            f"a batch of {least} windows in stage {stage.name!r} does not go into {processes.world_size} processes"
            + (f", {together} windows at a time" if together > 1 else "")
            + "\n  take a multiple",
            path=f"$.train.{name}",
        )
    micro = stage.settings.micro_batch_size
    if micro is not None and micro % processes.world_size:
        raise ConfigError(
            f"`micro_batch_size` {micro} in stage {stage.name!r} does not go into {processes.world_size} processes: "
            "it is that of all together\n  take a multiple",
            path="$.train.micro_batch_size",
        )


def _router_loss(stage: Stage, losses: Losses) -> torch.Tensor | None:
    experts = stage.model.experts
    if experts is None or losses.load_balance is None or losses.router_z is None:
        return None
    return experts.load_balance_loss * losses.load_balance + experts.router_z_loss * losses.router_z


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of a whole batch: mean cross-entropy and squared log-normaliser, the routers' loss, labels, source means."""

    loss: float
    z: float
    router: float
    n_labels: int
    by_source: dict[str, float]


class _SumsSoFar:
    """Adds up the passes of a batch, in float64 and in one vector, so that processes exchange it at once."""

    def __init__(self, stage: Stage, n_windows: int) -> None:
        self.stage, self.n_windows = stage, n_windows
        self.names = stage.loader.instances.names
        self.values = torch.zeros(3 + 2 * len(self.names), dtype=torch.float64)

    def add(self, losses: Losses, labels: torch.Tensor, sources: torch.Tensor) -> None:
        """One pass: its losses, labels, and the source of each window."""
        ce, n = losses.ce.detach(), len(self.names)
        self.values[0] += float(ce.sum())
        self.values[1] += float(losses.z.detach().sum())
        router = _router_loss(self.stage, losses)
        if router is not None:
            self.values[2] += float(router.detach()) * len(labels) / self.n_windows
        if n > 1:
            self.values[3 : 3 + n].index_add_(0, sources, ce.sum(1).double().cpu())
            self.values[3 + n :].index_add_(0, sources, (labels != IGNORED).sum(1).double().cpu())

    def over(self, processes: Processes, n_labels: int) -> _Sums:
        """The sums over all processes."""
        ce, z, router, *rest = total(self.values, processes).tolist()
        n = len(self.names)
        by_source = {name: rest[i] / rest[n + i] for i, name in enumerate(self.names) if n > 1 and rest[n + i]}
        return _Sums(ce / n_labels, z / n_labels, router / processes.world_size, n_labels, by_source)
