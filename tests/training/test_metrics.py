"""The step log. Run: pytest tests/training/test_metrics.py"""

from __future__ import annotations

import math

import msgspec
import pytest

from dolma.training.metrics import MetricsLog, StepRecord, read_metrics
from dolma.training.trainer import train


def record(step: int, loss: float = 2.5) -> StepRecord:
    return StepRecord(
        step=step,
        stage="train",
        tokens=64 * step,
        labels=64,
        loss=loss,
        z_loss=0.0,
        grad_norm=1.0,
        lr=1e-3,
        skipped=not math.isfinite(loss),
        batch="00",
        tokens_per_second=1.0,
    )


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(str(path), keep=[record(1), record(2)]) as opened:
        opened.write(record(3))
    return path


def test_the_log_begins_with_the_records_kept(log):
    assert [found.step for found in read_metrics(str(log))] == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"step":4,"tok', b'{"step":4,"tok\n{"step":5}\n', b"\0" * 40 + b"\n"])
def test_reading_ends_before_the_line_that_a_kill_cut_short(log, torn):
    log.write_bytes(log.read_bytes() + torn)
    assert [found.step for found in read_metrics(str(log))] == [1, 2, 3]


def test_there_is_no_record_where_there_is_no_log(tmp_path):
    assert read_metrics(str(tmp_path / "metrics.jsonl")) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_null_in_the_file_and_nan_when_read(tmp_path, loss):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(str(path), keep=[]) as opened:
        opened.write(record(1, loss))
    assert b'"loss":null' in path.read_bytes()
    assert math.isnan(read_metrics(str(path))[0].loss)


def test_the_share_of_the_peak_is_logged_where_the_peak_is_given(tokens, config, tmp_path):
    given = msgspec.structs.replace(config, peak_flops=1e12)
    train(given, tokens=tokens, output=str(tmp_path / "run"))
    for found in read_metrics(str(tmp_path / "run" / "metrics.jsonl")):
        assert found.mfu == pytest.approx(found.flops_per_second / 1e12)
