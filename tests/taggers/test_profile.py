"""Where the time of a tag run went. No figure is looked at. Run: `pytest tests/taggers/test_profile.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma.config import TagConfig
from dolma.data.dataset import Dataset
from dolma.runner.options import RunOptions
from dolma.taggers.profile import Stopwatch, profile_of
from dolma.taggers.tag import tag


def test_profiles_add_up() -> None:
    one, two = Stopwatch(), Stopwatch()
    for watch in (one, two):
        watch.documents, watch.bytes = 5, 1_000_000
        watch.add("reading", 1.0)
        watch.add("tagger slow", 2.0)
        watch.add("tagger quick", 0.5)
        watch.add("view words", 0.5)
    two.add("writing", 1.0)
    profile = profile_of([one.payload(), two.payload()], elapsed=4.5)
    assert (profile.documents, profile.bytes, profile.seconds, profile.elapsed) == (10, 2_000_000, 9.0, 4.5)
    assert [(row.kind, row.name, row.seconds) for row in profile.rows] == [
        ("reading", "reading", 2.0),
        ("view", "words", 1.0),
        ("tagger", "slow", 4.0),
        ("tagger", "quick", 1.0),
        ("writing", "writing", 1.0),
    ]
    assert profile.rows[2].share == pytest.approx(4 / 9)
    assert profile.rows[2].megabytes_per_second == 0.5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_tells_reading_views_taggers_and_writing_apart(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "web" / "documents"
    folder.mkdir(parents=True)
    for i in range(3):
        (folder / f"{i}.jsonl").write_text("".join(json.dumps({"text": "some words " * n}) + "\n" for n in range(20)))
    dataset, config = Dataset(documents=(f"{folder}/*",)), TagConfig(taggers=["length", "gopher"])
    report = tag(dataset, config, options=RunOptions(workers=workers))
    profile = report.details.profile
    assert profile is not None
    assert (profile.documents, profile.bytes) == (60, 3 * 11 * 190)
    assert {(row.kind, row.name) for row in profile.rows} >= {
        ("reading", "reading"),
        ("view", "word_spans"),
        ("tagger", "length"),
        ("tagger", "gopher"),
        ("writing", "writing"),
    }
    assert sum(row.seconds for row in profile.rows) == pytest.approx(profile.seconds)
    shown = json.loads(report.to_json())
    assert shown["details"]["profile"]["documents"] == 60
    assert tag(dataset, config, options=RunOptions(workers=1)).details.profile is None
