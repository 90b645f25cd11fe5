"""The report of a stage. Run: pytest tests/runner/test_report.py"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dolma.runner.ledger import Ledger
from dolma.runner.report import StageReport


@pytest.fixture
def report() -> StageReport[dict[str, int]]:
    ledger = Ledger()
    ledger.take("web", documents=3, bytes=30)
    ledger.keep("web", documents=3, bytes=30)
    return StageReport(
        stage="tag", name="tag", folder="out", ledger=ledger, manifests=["out/m"], outputs=1, bytes=9, details={"n": 1}
    )


def test_a_report_reads_as_one_line(report: StageReport[dict[str, int]]) -> None:
    line = "tag: 3 documents in, 3 out; 1 file, 9 bytes in out"
    assert (str(report), repr(report)) == (line, f"<StageReport {line}>")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"complete_before": True}, "tag: nothing to do, out is complete and unchanged"),
        ({"done": "8 steps"}, "tag: 8 steps"),
        ({"folder": ""}, "tag: 3 documents in, 3 out"),
        ({"name": "page", "done": "all"}, "tag page: all"),
    ],
)
def test_the_line_says_how_the_stage_ended(report: StageReport[dict[str, int]], changes: dict, line: str) -> None:
    assert str(replace(report, **changes)) == line


def test_a_report_is_plain_values_and_json(report: StageReport[dict[str, int]]) -> None:
    found = report.to_dict()
    assert (found["stage"], found["details"], found["ledger"]["accounts"]["web"]["out"]["documents"]) == (
        "tag",
        {"n": 1},
        3,
    )
    assert json.loads(report.to_json()) == found
