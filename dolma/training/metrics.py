"""`metrics.jsonl`: one line per step, cut back to the restored step on resume."""

from __future__ import annotations

import math
import os
import tempfile
from types import TracebackType

import msgspec

from dolma.data import streams
from dolma.data.json_text import decode_json
from dolma.training.config import ModelConfig
from dolma.training.presets import count_parameters


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One optimiser step. All but the last four fields are the same in every run of one recipe.

    Numbers that are not finite are `null` in the file, and NaN when read back.
    """

    step: int  # over all stages
    stage: str
    tokens: int  # seen so far
    sequences: int = 0  # of the batch; more than windows while their length grows
    labels: int  # of the batch, those that are learnt from; of none, the step is skipped
    loss: float  # cross-entropy, mean over the batch's labels, nats per token
    z_loss: float  # weighted, as it enters the objective
    router_loss: float = 0.0  # of a mixture of experts: load balance and z, weighted
    loss_by_source: dict[str, float] = {}  # of a mixture of sources
    grad_norm: float  # before clipping
    lr: float
    skipped: bool  # nothing moved: see `SpikeGuard`
    changed: dict[str, str] = {}  # how it is computed otherwise than the step before, where a run is gone on with
    batch: str  # xxh3-64 of the windows' sources and numbers
    tokens_per_second: float
    flops_per_second: float = 0.0  # of all processes
    mfu: float | None = None  # share of the devices' peak, if that was given
    data_wait: float = 0.0  # share of the step's time spent waiting for its batch


TIMINGS = ("tokens_per_second", "flops_per_second", "mfu", "data_wait")


def flops_per_token(model: ModelConfig, *, vocab_size: int, length: int) -> int:
    """Floating-point operations of a training step per token: OLMo-core's formula.

    6 per parameter that is multiplied with (the head, not the embedding; of experts the active ones), and 12 per head,
    its width and each token seen.
    """
    parameters = count_parameters(model, vocab_size=vocab_size, embeddings=False, active=True)
    seen = sum(min(model.window_of(layer) or length, length) for layer in range(model.layers))
    return 6 * parameters + 12 * model.heads * model.head_width * seen


def read_metrics(path: str) -> list[StepRecord]:
    """The records of a log up to the first line that a kill cut short; none when there is no log."""
    if not streams.exists(path):
        return []
    lines = streams.read_bytes(path).split(b"\n")[:-1]
    records: list[StepRecord] = []
    for line in lines:
        try:
            fields = decode_json(line, dict)
            known = {name: math.nan if value is None else value for name, value in fields.items()}
            records.append(msgspec.convert(known, StepRecord))
        except msgspec.DecodeError:
            break
    return records


class MetricsLog:
    """Appends records; begins with those of earlier steps that a resumed run keeps.

    A remote one is kept on the local disk, and written whole when it is to stay.
    """

    def __init__(self, path: str, *, keep: list[StepRecord]) -> None:
        self._path, self._keep, self._remote = path, keep, streams.is_url(path)

    def __enter__(self) -> MetricsLog:
        kept = b"".join(msgspec.json.encode(record) + b"\n" for record in self._keep)
        streams.write_bytes(self._path, kept)
        with streams.writing(self._path):
            self._log = tempfile.TemporaryFile("a+b", 0) if self._remote else open(self._path, "ab", 0)
            if self._remote:
                self._log.write(kept)
        return self

    def write(self, record: StepRecord) -> None:
        """Append one step."""
        left = memoryview(msgspec.json.encode(record) + b"\n")
        with streams.writing(self._path):
            while left:
                left = left[self._log.write(left) :]

    def sync(self) -> None:
        """Return when all lines are on the disk: a checkpoint must not outlive the log that leads to it."""
        if self._remote:
            self._log.seek(0)
            streams.write_bytes(self._path, self._log.read())
            return
        with streams.writing(self._path):
            os.fsync(self._log.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
