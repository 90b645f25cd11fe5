"""The drawing of losses. Run: `pytest tests/training/test_curve.py`."""

from __future__ import annotations

import math

from dolma.training.curve import loss_lines
from dolma.training.metrics import StepRecord


def _record(step: int, loss: float, **by_source: float) -> StepRecord:
    return StepRecord(
        step=step,
        stage="train",
        tokens=step,
        labels=1,
        loss=loss,
        z_loss=0.0,
        loss_by_source=by_source,
        grad_norm=1.0,
        lr=0.1,
        skipped=False,
        batch="",
        tokens_per_second=1.0,
    )


def test_losses_that_are_not_finite_are_left_out_of_every_line() -> None:
    records = [_record(1, 2.0, web=math.nan, books=2.0), _record(2, math.inf, web=1.0), _record(3, 1.0, web=math.inf)]
    assert loss_lines(records) == {
        "loss": [(1.0, 2.0), (3.0, 1.0)],
        "loss of books": [(1.0, 2.0)],
        "loss of web": [(2.0, 1.0)],
    }
