"""The training loop: stages one after the other, resumable at every checkpoint to the bit.

Batches, rates and initial weights are pure functions of recipe and step, so weights, moments, the values that the guard
against spikes remembers and the step number are all the state there is.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import torch

import dolma
from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.data.manifest import NAME as MANIFEST
from dolma.data.manifest import FileSet, file_there, manifest_of, write_manifest
from dolma.errors import ConfigError, DataError, DolmaError
from dolma.printable import printable
from dolma.runner.lock import RunLock
from dolma.training import checkpoint as checkpointing
from dolma.training.config import HOW, TrainConfig, stage_settings
from dolma.training.curve import write_curve
from dolma.training.data.contents import Contents
from dolma.training.data.shards import path_from_run
from dolma.training.eval_inputs import eval_inputs
from dolma.training.evaluate import Evaluation, Evaluator
from dolma.training.metrics import MetricsLog, StepRecord, read_metrics
from dolma.training.observers import Observer, observing, values_of_evaluation, values_of_step
from dolma.training.parallel import Processes, agree, by_first, by_shares, joined, only_forward
from dolma.training.peak import peak_flops
from dolma.training.presets import count_parameters, resolve_model
from dolma.training.run_folder import LOG, RunFolder
from dolma.training.saving import Saver
from dolma.training.stages import Stage, Stages, resolve_stages
from dolma.training.state import CONFIG, CheckpointState, check_weights, checkpoints, doubtful_weights
from dolma.training.steps import Training

MIXTURE = "mixture.json"
EVALUATIONS = "evaluations.jsonl"
CURVE = "loss.html"
_ENDS = 10  # steps averaged into the first and the last loss
_NOTED = (*HOW, "dtype")  # changes of these are in the step log

Progress = Callable[[StepRecord, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run came to.

    `first_loss` and `last_loss` are means over the first and last ten steps, or over the halves of fewer than twenty;
    steps whose loss is not finite are left out. `steps` are those taken so far: all of them, unless `stopped`.
    """

    first_loss: float
    last_loss: float
    steps: int
    tokens: int
    parameters: int
    checkpoint: str
    log: str
    warnings: tuple[str, ...]
    resumed_from: int | None
    already_complete: bool
    stopped: bool = False


def train(
    config: TrainConfig,
    *,
    tokens: str | Sequence[str] | None = None,
    output: str,
    overwrite: bool = False,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    note: Callable[[str], None] | None = None,
    check_inputs: bool = False,
) -> TrainResult:
    """Train on the shards in `tokens` and write checkpoints and log to `output`, going on where a run was stopped.

    Shards are read once; with `check_inputs` also those that have the size and time of then.
    `note` is told of each evaluation, in a line. `stop` is asked after every step; once it says so, a checkpoint is
    saved and the result is `stopped`. Started by torchrun, every process calls this with the same arguments.

    Raises:
        ConfigError: no such model or device, a mixture that asks for too much; or another run is at work in `output`.
        OutputExistsError: `output` holds a run of another recipe or on other shards.
        DolmaError: there is no room for a checkpoint; or nothing was learnt in `max_skipped_steps` steps in a row.
        DataError: the shards are not what their description says, or too few; or what `output` holds is damaged.
    """
    streams.check_writable(output)
    if streams.is_url(output) and config.tensorboard:
        raise ConfigError(
            f"events are written to a local disk only, and the output is {printable(output)}"
            "\n  leave out `tensorboard`",
            path="$.train.tensorboard",
        )
    resolve_model(config.model)  # a misspelt name is said before shards are read
    with joined(config.device, replicas=config.hsdp_replicas) as processes:
        folders = [tokens] if isinstance(tokens, str) else list(tokens or ())
        contents = Contents(output, together=partial(by_shares, processes=processes), again=check_inputs)
        stages = resolve_stages(config, folders, contents=contents)
        run = _Run(config, stages, output, processes, tokens=folders, contents=contents)
        with ExitStack() as held, _threads(config):

            def begin() -> None:
                held.enter_context(_alone(output))
                run.claim(overwrite=overwrite)
                run.tidy()
                contents.save()

            by_first(begin, processes)  # none looks into the folder before the first has put it in order
            return run.go(progress, stop, note)


@contextmanager
def _alone(output: str) -> Iterator[None]:
    """Holds the folder for this process."""
    lock = RunLock([output])
    if not lock.alone():
        raise lock.taken()
    try:
        yield
    finally:
        lock.discard()


def _sharing(processes: Processes) -> Callable[..., Sequence[None]]:
    """`map` by all processes together."""
    return partial(by_shares, processes=processes)


@contextmanager
def _threads(config: TrainConfig) -> Iterator[None]:
    """Sets torch's thread count for the block, and puts it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or min(2, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Run:
    """One run: a recipe, its stages, its folder."""

    def __init__(
        self,
        config: TrainConfig,
        stages: Stages,
        output: str,
        processes: Processes,
        *,
        tokens: list[str],
        contents: Contents,
    ) -> None:
        self.config, self.stages, self.output, self.processes = config, stages, output, processes
        self.tokens, self.contents = tokens, contents
        self.steps = stages.steps
        self.shards = stages.tokenizer
        self.folder = RunFolder(config, stages, output, tokens=tokens, contents=contents)
        self.identity = self.folder.identity  # read by all processes together, before the first one is alone

    # --- the folder -----------------------------------------------------------------------------------------------

    def claim(self, *, overwrite: bool) -> None:
        """Make the folder this run's own.

        Raises:
            OutputExistsError: it is another's.
            DataError: what it holds is damaged.
        """
        found = self.folder.claim(overwrite=overwrite)
        if found == "same":
            return
        if found == "afresh":
            self._clear()
        elif found == "goes on":
            streams.remove(streams.join(self.output, MANIFEST))  # what is finished has another length now
        _write_json(self.folder.config_path, self.folder.settings)
        shares = {stage.name: msgspec.to_builtins(stage.shares) for stage in self.stages.stages if stage.shares}
        if shares:
            _write_json(streams.join(self.output, MIXTURE), shares)

    def tidy(self) -> None:
        """Remove what a killed run left half-written."""
        checkpointing.remove_unfinished(self.output)
        streams.remove_temporaries(streams.list_files(self.output))

    def _clear(self) -> None:
        streams.remove(streams.join(self.output, MANIFEST))
        checkpointing.remove_unfinished(self.output)
        for folder in checkpoints(self.output).values():
            checkpointing.remove(folder)
        for name in (LOG, CONFIG, MIXTURE, EVALUATIONS, CURVE):
            streams.remove(streams.join(self.output, name))

    # --- the loop -------------------------------------------------------------------------------------------------

    def go(
        self, progress: Progress | None, stop: Callable[[], bool] | None, note: Callable[[str], None] | None
    ) -> TrainResult:
        """Train what is left to train."""
        state, folder, records = self.folder.restore_point(each=_sharing(self.processes))
        newest = state.step if state else 0
        if folder is not None and newest == self.steps and self.folder.is_sealed():
            return self._result(records, folder, resumed_from=None, already_complete=True)
        if newest < self.steps:
            folder = self._train(records, state, folder, progress, stop, note)
        assert folder is not None
        self._rotate()
        if self.processes.is_first and len(records) == self.steps:
            self._seal(folder)
        return self._result(records, folder, resumed_from=newest or None, already_complete=False)

    def _train(
        self,
        records: list[StepRecord],
        state: CheckpointState | None,
        folder: str | None,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
        note: Callable[[str], None] | None,
    ) -> str:
        """Go on from the checkpoint in `folder`, to the end or until told to stop; the last checkpoint's folder.

        `records` are those of the steps before; the new ones are appended.
        """
        by_first(partial(checkpointing.check_room, self.output, self._parameters()), self.processes)
        evaluator = self._evaluator()
        if folder is None and self.config.init_from is not None:
            check_weights(self.config.init_from, each=_sharing(self.processes))
        training = Training(self.config, self.stages, self.processes, state=state, folder=folder)
        first = self.config.init_from
        parent = os.path.basename(folder) if folder else first and path_from_run(self.output, first)
        evaluations = [found for found in self._evaluations() if found.step <= len(records)]
        with (
            _log(self, records) as log,
            self._observers() as observers,
            ThreadPoolExecutor(max_workers=1) as ahead,
            Saver(
                self.output,
                self.processes,
                background=self.config.asynchronous_checkpoints,
                then=self._rotate,
            ) as saver,
        ):
            coming = training.fetch(ahead, len(records) + 1)
            for step in range(len(records) + 1, self.steps + 1):
                stage = self.stages.of(step)
                fetched = coming
                began = time.perf_counter()
                batch = fetched.result()
                waited = time.perf_counter() - began
                if step < self.steps:
                    coming = training.fetch(ahead, step + 1)
                record = training.step(stage, step, batch, waited)
                if state is not None and step == state.step + 1:
                    record = msgspec.structs.replace(record, changed=self._changed(state, stage))
                records.append(record)
                if log is not None:
                    log.write(record)
                    for observer in observers:
                        observer.log(values_of_step(record), step=step)
                    if progress is not None:
                        progress(record, self.steps)
                self._check_learning(records)
                if evaluator is not None and (step == self.steps or step % evaluator.config.every == 0):
                    with only_forward(training.model, self.processes):
                        evaluations.append(
                            evaluator.evaluate(
                                training.model, step=step, eos_id=self.shards.eos_id, processes=self.processes
                            )
                        )
                    for observer in observers:
                        observer.log(values_of_evaluation(evaluations[-1]), step=step)
                    self._write_evaluations(evaluations)
                    if note is not None and self.processes.is_first:
                        note(f"step {step:,}/{self.steps:,}  {evaluations[-1]}")
                wanted = saver.failed or (stop is not None and stop())
                stopping = step == self.steps or agree(wanted, self.processes)
                if stopping or step == stage.last or step % self.config.checkpoint_every == 0:
                    if log is not None:
                        log.sync()
                    folder = saver.save(
                        checkpointing.entries_of(training.model, training.optimizer),
                        self._state(training, stage, step, parent),
                    )
                    parent = os.path.basename(folder)
                if stopping:
                    break
        assert folder is not None
        return folder

    def _check_learning(self, records: list[StepRecord]) -> None:
        """Refuse to go on when too many steps in a row were skipped, or to end when all were.

        Raises:
            DolmaError: so it is; says why they were.
        """
        in_a_row = _in_a_row(records)
        if in_a_row < min(self.config.max_skipped_steps, self.steps):
            return
        why = "\n  ".join(_skipped(records[len(records) - in_a_row :]))
        raise DolmaError(
            f"nothing was learnt in {in_a_row:,} steps in a row, the last of them step {len(records):,}: {why}\n"
            "  `max_skipped_steps` is how many may be skipped in a row"
        )

    def _changed(self, state: CheckpointState, stage: Stage) -> dict[str, str]:
        """How the steps to come, which begin in a stage, are computed otherwise than those before a checkpoint."""
        theirs = next((stage_settings(state.config, s) for s in state.config.stages if s.name == stage.name), None)
        before = {name: getattr(theirs or state.config, name) for name in _NOTED} | {"processes": state.processes}
        now = {name: getattr(stage.settings, name) for name in _NOTED} | {"processes": self.processes.world_size}
        changed = {name: f"{before[name]} -> {now[name]}" for name in before if before[name] != now[name]}
        experts = stage.model.experts
        if "micro_batch_size" in changed and experts is not None and experts.load_balance_loss:
            changed["micro_batch_size"] += " (changes the loss: experts are balanced within each pass)"
        return changed

    def _state(self, training: Training, stage: Stage, step: int, parent: str | None) -> CheckpointState:
        """The state when a step has ended, on shards that are as they were."""
        for shards in self.stages.shards.values():
            shards.check_unchanged()
        return CheckpointState(
            step=step,
            steps=self.steps,
            tokens_seen=stage.tokens_at(step),
            stage=stage.name,
            identity=self.identity,
            code_version=dolma.__version__,
            config=self.config,
            model=stage.model,
            vocab_size=self.shards.vocab_size,
            tokenizer_sha256=self.shards.tokenizer_sha256,
            eos_id=self.shards.eos_id,
            learning_rate=stage.rate(step),
            shards={file.name: file.checksum for file in self.stages.files()},
            tokens=self.tokens,
            mixture=stage.shares,
            tokens_by_source=dict(sorted(training.seen.items())),
            losses=list(training.guard.losses),
            norms=list(training.guard.norms),
            parent=parent,
            processes=self.processes.world_size,
        )

    def _evaluator(self) -> Evaluator | None:
        inputs = eval_inputs(self.config, self.stages)
        if inputs is None:
            return None
        inputs.check(self.contents)
        by_first(self.contents.save, self.processes)
        return Evaluator(inputs)

    def _evaluations(self) -> list[Evaluation]:
        path = streams.join(self.output, EVALUATIONS)
        if not streams.exists(path):
            return []
        found: list[Evaluation] = []
        for number, line in enumerate(streams.read_bytes(path).splitlines(), 1):
            try:
                found.append(decode_json(line, Evaluation))
            except msgspec.DecodeError as error:
                raise DataError(
                    f"is no evaluation: {printable(error)}\n"
                    "  put the file back; or remove it: it then holds the evaluations of the steps to come",
                    file=path,
                    line=number,
                ) from error
        return found

    def _write_evaluations(self, evaluations: list[Evaluation]) -> None:
        if self.processes.is_first:
            lines = msgspec.json.Encoder().encode_lines(evaluations)
            streams.write_bytes(streams.join(self.output, EVALUATIONS), lines)

    @contextmanager
    def _observers(self) -> Iterator[list[Observer]]:
        if not self.processes.is_first:
            yield []
            return
        with observing(self.config, self.output, self.folder.settings) as observers:
            yield observers

    def _rotate(self) -> None:
        """Delete checkpoints that need not be kept: neither new, nor the end of a stage, nor permanent."""
        if not self.processes.is_first:
            return
        ends, every = {stage.last for stage in self.stages.stages}, self.config.permanent_every
        checkpointing.rotate(
            self.output,
            keep=self.config.keep_checkpoints,
            permanent=lambda step: step in ends or (every is not None and step % every == 0),
        )

    def _without_peak(self) -> Iterator[str]:
        name, dtype = self.processes.device_name, self.config.dtype
        if name and (self.config.peak_flops or peak_flops(name, dtype=dtype)) is None:
            yield (
                f"the log has tokens per second and no share of the peak (MFU): that of {printable(name)} in {dtype} "
                "is not known; give `peak_flops`"
            )

    def _parameters(self) -> int:
        return count_parameters(self.stages.stages[0].model, vocab_size=self.shards.vocab_size)

    # --- the record -----------------------------------------------------------------------------------------------

    def _seal(self, last: str) -> None:
        write_curve(streams.join(self.output, CURVE), read_metrics(self.folder.log), self._evaluations())
        written = (CONFIG, LOG, MIXTURE, EVALUATIONS, CURVE)
        outputs = [file_there(self.output, name) for name in written if streams.exists(streams.join(self.output, name))]
        inputs = self.stages.files()
        made_by = FileSet(folder=self.output, stage="train", name="train", config=self.folder.settings, inputs=inputs)
        loaders = {stage.name: stage.loader for stage in self.stages.stages}
        notes = {
            "checkpoint": os.path.basename(last),
            "stages": {
                name: {
                    "windows": len(loader.instances),
                    "steps_per_epoch": loader.steps_per_epoch,
                    "tokens_outside_windows": sum(windows.dropped_tokens for windows in loader.instances.populations),
                }
                for name, loader in loaders.items()
            },
            "checkpoints": [os.path.basename(folder) for folder in checkpoints(self.output).values()],
            "warnings": list(self.stages.warnings()),
        }
        write_manifest(self.output, manifest_of(made_by, outputs=outputs, ledger={}, notes=notes))

    def _result(
        self, records: list[StepRecord], last: str, *, resumed_from: int | None, already_complete: bool
    ) -> TrainResult:
        losses = [record.loss for record in records]
        n_ends = min(_ENDS, max(1, len(losses) // 2))
        return TrainResult(
            first_loss=_mean(losses[:n_ends]),
            last_loss=_mean(losses[-n_ends:]),
            steps=len(records),
            tokens=records[-1].tokens,
            parameters=self._parameters(),
            checkpoint=last,
            log=self.folder.log,
            warnings=(
                *self.stages.warnings(),
                *doubtful_weights(self.config.init_from, self.shards),
                *self._without_peak(),
                *_skipped(records),
            ),
            resumed_from=resumed_from,
            already_complete=already_complete,
            stopped=len(records) < self.steps,
        )


@contextmanager
def _log(run: _Run, records: list[StepRecord]) -> Iterator[MetricsLog | None]:
    """The log, in the process that writes it."""
    if not run.processes.is_first:
        yield None
        return
    with MetricsLog(run.folder.log, keep=records) as log:
        yield log


def _write_json(path: str, value: Any) -> None:
    streams.write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _mean(losses: list[float]) -> float:
    finite = [loss for loss in losses if math.isfinite(loss)]
    return sum(finite) / len(finite) if finite else math.nan


def _in_a_row(records: list[StepRecord]) -> int:
    """How many of the last steps were skipped, without one between them that was not."""
    return next((n for n, record in enumerate(reversed(records)) if not record.skipped), len(records))


def _skipped(records: list[StepRecord]) -> list[str]:
    """What is said at the end of a run about steps that were skipped."""
    masked = [record.step for record in records if record.skipped and not record.labels]
    others = [record.step for record in records if record.skipped and record.labels]
    said = []
    if others:
        last = _in_a_row(records)
        since = f"; of them the last {last:,}, so the model is that of step {len(records) - last:,}" if last else ""
        said.append(
            f"{len(others):,} of {len(records):,} steps were skipped, because loss or gradient were not finite or far "
            f"above those before (first: step {others[0]:,}){since}; a lower `learning_rate` or a longer warm-up may "
            "help"
        )
    if masked:
        said.append(
            f"{len(masked):,} of {len(records):,} steps were skipped, because all labels of their batches are masked "
            f"(first: step {masked[0]:,}); look at the label masks, and at `repetition_filter`"
        )
    return said
