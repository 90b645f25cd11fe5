"""`pytest tests/mixers/test_catalogue.py`: which attributes rules may name, and what is said of others."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from dolma.config import MixConfig, read_recipe
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError
from dolma.graph import graph_of
from dolma.mixers.mix import mix
from dolma.pipeline import check
from dolma.runner.options import RunOptions


@pytest.fixture
def documents(tmp_path: Path) -> str:
    """A document file in no folder called `documents`."""
    (tmp_path / "web").mkdir()
    path = tmp_path / "web" / "a.jsonl"
    path.write_text('{"id": "p", "text": "one"}\n{"id": "q", "text": "two"}\n')
    return str(path)


def test_rules_about_documents_alone_need_no_place_of_attributes(documents: str, tmp_path: Path) -> None:
    config = MixConfig(keep=["document.id <> 'q'", "document.bytes > 0"], format=".jsonl")
    mix(Dataset(documents=(documents,)), config, output=str(tmp_path / "out"), options=RunOptions(workers=1))
    assert (tmp_path / "out/documents/a.jsonl").read_text() == '{"source":"web","id": "p", "text": "one"}\n'


def test_a_rule_about_an_attribute_needs_its_place(documents: str, tmp_path: Path) -> None:
    said = (
        f"{re.escape(str(tmp_path))}/attributes/length would be a guess\n  say where attributes lie with `--attributes"
    )
    with pytest.raises(ConfigError, match=said):
        mix(Dataset(documents=(documents,)), MixConfig(keep=["length.words > 1"]), output=str(tmp_path / "out"))


@pytest.mark.parametrize("rule", [{"keep": ["pii.n > 1"]}, {"spans": [{"attribute": "pii.email", "replace": "Y"}]}])
def test_an_attribute_of_documents_that_are_still_to_be_mixed_is_named(
    documents: str, tmp_path: Path, rule: dict[str, object]
) -> None:
    stages = {"c": {"mix": {}}, "d": {"mix": rule, "documents": "c"}}
    path = tmp_path / "recipe.yaml"
    path.write_bytes(msgspec.yaml.encode({"documents": [documents], "output": str(tmp_path / "out"), "stages": stages}))
    said = r"no attribute 'pii\.\w+'\n  attributes: none\n  add a stage that measures these documents, and name it in"
    with pytest.raises(ConfigError, match=said) as raised:
        check(graph_of(read_recipe(str(path))))
    assert raised.value.path.startswith("$.stages.d.mix.")
