"""Progress and notes of a call from Python: to the logger `dolma`, which a program shows, keeps or leaves alone."""

from __future__ import annotations

import logging
import time
from typing import Any

from dolma.runner.progress import Meter

LOGGER = logging.getLogger("dolma")
SECONDS = 10.0
"""The least time between two lines about one phase."""


class LogReporter:
    """Notes and phases at the level INFO; a `Reporter`."""

    def __init__(self) -> None:
        self._phase, self._meter, self._said = "", Meter(), 0.0

    def doing(self, text: str) -> None:
        LOGGER.debug("%s", text)

    def start(self, stage: str, tasks: int, bytes: int) -> None:
        self._phase, self._meter = stage, Meter(total_tasks=tasks, total_size=bytes)
        self._said = time.monotonic()

    def advance(self, documents: int = 0, bytes: int = 0, *, tasks: int = 0, size: int = 0) -> None:
        self._meter.advance(documents, bytes, tasks=tasks, size=size)
        if time.monotonic() - self._said >= SECONDS:
            self._said = time.monotonic()
            self._say()

    def finish(self) -> None:
        if self._meter.documents or self._meter.tasks:
            self._say()
        self._meter = Meter()

    def note(self, text: str) -> None:
        LOGGER.info("%s", text)

    def on_step(self, record: Any, steps: int) -> None:
        """A training step."""
        if record.step in (1, steps) or time.monotonic() - self._said >= SECONDS:
            self._said = time.monotonic()
            fields = {"step": record.step, "steps": steps, "loss": record.loss, "learning_rate": record.lr}
            LOGGER.info("step %d of %d, loss %.3f", record.step, steps, record.loss, extra={"fields": fields})

    def _say(self) -> None:
        meter = self._meter
        LOGGER.info(
            "%s: %d of %d tasks, %s documents, %.1f MB/s",
            self._phase,
            meter.tasks,
            meter.total_tasks,
            f"{meter.documents:,}",
            meter.bytes / 1e6 / meter.seconds if meter.seconds > 0 else 0.0,
            extra={
                "fields": {
                    "phase": self._phase,
                    "tasks": meter.tasks,
                    "of": meter.total_tasks,
                    "documents": meter.documents,
                    "bytes": meter.bytes,
                    "seconds": round(meter.seconds, 3),
                }
            },
        )
