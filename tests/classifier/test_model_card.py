"""`MODEL.json`. Run: pytest tests/classifier/test_model_card.py"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dolma.classifier.model_card import Settings, read_card
from dolma.errors import ConfigError


@pytest.fixture
def model(trained, tmp_path) -> Path:
    """A copy of the model and its report."""
    for suffix in (".bin", ".bin.json"):
        shutil.copyfile(trained.with_suffix(suffix), tmp_path / f"quality{suffix}")
    return tmp_path / "quality.bin"


def rewritten(model: Path, **changes: object) -> None:
    path = Path(f"{model}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_report_has_settings_counts_and_figures(model, tiny):
    report = read_card(str(model))
    assert report is not None
    assert report.settings == tiny
    assert [(row.label, row.found, row.trained + row.held_out) for row in report.classes] == [
        ("good", 40, 40),
        ("bad", 60, 40),
    ]
    assert report.held_out.documents == sum(row.held_out for row in report.classes)
    assert [row.label for row in report.held_out.labels] == ["good", "bad"]


def test_settings_make_the_choice():
    assert Settings().choice().per_class is None
    assert Settings(per_class=3, seed=4).choice().per_class == 3


def test_none_is_there(model):
    Path(f"{model}.json").unlink()
    assert read_card(str(model)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": "x"}'])
def test_a_damaged_one_is_refused(model, text):
    Path(f"{model}.json").write_text(text)
    with pytest.raises(ConfigError, match=r"quality\.bin\.json is not the report .*\n  train the model again"):
        read_card(str(model))


def test_one_of_another_format_is_refused(model):
    rewritten(model, format=2)
    with pytest.raises(ConfigError, match="its format is 2, expected 1\n"):
        read_card(str(model))


def test_one_of_another_model_is_refused(model):
    rewritten(model, checksum="00")
    with pytest.raises(ConfigError, match="it is about a model with the checksum 00, and this one has "):
        read_card(str(model))
