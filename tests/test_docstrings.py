"""`pytest tests/test_docstrings.py`: every example in a docstring runs and says what it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings
from pathlib import Path

import pytest

import dolma

EXTRAS = {"torch", "ray", "safetensors"}  # modules that need them are tested where they are installed
SKIPPED = {"dolma.__main__"}


def modules() -> list[str]:
    """Every module of the package, those behind links too."""
    found = pkgutil.walk_packages([str(Path(dolma.__path__[0]))], prefix="dolma.", onerror=lambda name: None)
    return sorted({module.name for module in found} - SKIPPED)


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS:
            raise
        pytest.skip(f"{error.name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        failed, _ = doctest.testmod(module)
    assert failed == 0


def test_all_packages_are_found() -> None:
    assert {"dolma.data.streams", "dolma.taggers.length", "dolma.mixers.sampling", "dolma.dedupers.exact"} <= set(
        modules()
    )
