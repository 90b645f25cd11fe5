"""Curate pretraining data and train an OLMo-family model on it.

Importing `dolma` loads nothing; a name of `PUBLIC` is imported when it is first used. Every other name of the package
may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolma.api.corpus import Corpus
    from dolma.api.frame import Frame
    from dolma.api.stages import dedupe, mix, run, stat, tag, takedown, tokenize, train, verify
    from dolma.api.training import eval, export, plan, soup
    from dolma.data.batch import TextBatch
    from dolma.data.columns import DocBool, DocFloat, DocInt, DocText, DocVector, Spans
    from dolma.errors import ConfigError, DataError, DolmaError
    from dolma.runner.report import StageReport
    from dolma.taggers.tagger import document_tagger

__version__ = "2.0.0.dev0"

PUBLIC = {
    "tag": "dolma.api.stages",
    "dedupe": "dolma.api.stages",
    "mix": "dolma.api.stages",
    "tokenize": "dolma.api.stages",
    "train": "dolma.api.stages",
    "stat": "dolma.api.stages",
    "run": "dolma.api.stages",
    "takedown": "dolma.api.stages",
    "verify": "dolma.api.stages",
    "plan": "dolma.api.training",
    "export": "dolma.api.training",
    "soup": "dolma.api.training",
    "eval": "dolma.api.training",
    "StageReport": "dolma.runner.report",
    "Corpus": "dolma.api.corpus",
    "Frame": "dolma.api.frame",
    "document_tagger": "dolma.taggers.tagger",
    "TextBatch": "dolma.data.batch",
    "DocInt": "dolma.data.columns",
    "DocFloat": "dolma.data.columns",
    "DocBool": "dolma.data.columns",
    "DocText": "dolma.data.columns",
    "DocVector": "dolma.data.columns",
    "Spans": "dolma.data.columns",
    "DolmaError": "dolma.errors",
    "ConfigError": "dolma.errors",
    "DataError": "dolma.errors",
}
"""The public names, and the module that each is in."""

__all__ = [
    "ConfigError",
    "Corpus",
    "DataError",
    "DocBool",
    "DocFloat",
    "DocInt",
    "DocText",
    "DocVector",
    "DolmaError",
    "Frame",
    "Spans",
    "StageReport",
    "TextBatch",
    "dedupe",
    "document_tagger",
    "eval",
    "export",
    "mix",
    "plan",
    "run",
    "soup",
    "stat",
    "tag",
    "takedown",
    "tokenize",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = PUBLIC.get(name) or _home_of_stage(name)
    if home is None:
        raise AttributeError(f"module 'dolma' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def _home_of_stage(name: str) -> str | None:
    """Where the function of a stage is made that is not among the public names."""
    return "dolma.api.stages" if name in importlib.import_module("dolma.stages").PACKAGES else None


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
