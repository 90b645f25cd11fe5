"""JSON that is no document. Run: `pytest tests/data/test_json_text.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.data.json_text import decode_json
from dolma.data.manifest import read_manifest
from dolma.data.tokens import read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.models.sequence_classifier import read_facts
from dolma.runner.journal import read_header

HOSTILE = [b"[" * 100_000, b'{"a": ' * 100_000, b'{"config": "\xff"}', b"", b"\0"]


@pytest.mark.parametrize("raw", HOSTILE)
def test_what_cannot_be_read_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(raw)


@pytest.mark.parametrize("raw", HOSTILE)
@pytest.mark.parametrize(
    ("read", "name"),
    [(read_manifest, "manifest.json"), (read_token_manifest, "tokens.json"), (read_header, ".journal/run.json")],
)
def test_records_of_ours_that_cannot_be_read_are_named(
    read: Callable[[str], Any], name: str, raw: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=name):
        read(str(tmp_path))


@pytest.mark.parametrize("raw", HOSTILE)
def test_the_configuration_of_a_model_that_cannot_be_read_is_named(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"is no config\.json"):
        read_facts(path)


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ({"id2label": 2}, "id2label"),
        ({"id2label": {"0": ["a"]}}, "id2label"),
        ({"num_labels": 10**12}, "num_labels"),
        ({"model_type": ["bert"]}, "model_type"),
        ({"pad_token_id": "0"}, "pad_token_id"),
        ({"pad_token_id": 2**63}, "pad_token_id"),
        ({"max_position_embeddings": "512"}, "max_position_embeddings"),
    ],
)
def test_a_value_of_another_kind_in_the_configuration_of_a_model_is_named(
    content: dict[str, Any], at: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(msgspec.json.encode(content))
    with pytest.raises(ConfigError, match=rf"is no config\.json: Expected .* at `\$\.{at}"):
        read_facts(path)
