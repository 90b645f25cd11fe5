"""The targets by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))
CORPUS = Path(__file__).parent.parent / "corpus"


def target(name: str) -> ModuleType:
    """The module of this target.

    It has `check(choices, folder)`, `CODE`, the files whose lines are counted, and where something must be made once,
    outside of the guard, `prepare()`.
    """
    return importlib.import_module(f"tests.fuzz.targets.{name}")


def corpus(name: str) -> list[Path]:
    """The committed inputs of a target."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
