"""The short form of every fuzzing target; the long one is `python -m tests.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import once
from tests.fuzz.targets import NAMES, corpus

CASES = [(name, path) for name in NAMES for path in corpus(name)]


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name}-{path.name}" for name, path in CASES])
def test_the_committed_corpus(name: str, path: Path) -> None:
    once(name, path.read_bytes())


@pytest.mark.property
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_made_up_inputs(name: str, data: bytes) -> None:
    once(name, data)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_has_a_corpus(name: str) -> None:
    assert corpus(name)
