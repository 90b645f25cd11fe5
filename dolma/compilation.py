"""Compiling ahead: what the stages of a recipe will call is called on a few small documents, and the code is kept.

For a container image, or for a cluster whose nodes share no home folder: else each of them compiles for up to a minute
when it first meets a stage. The code lies beside the package, or under `NUMBA_CACHE_DIR`, and is that of one kind of
processor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from dolma.config import Fields, NamedStage, Recipe, make_recipe
from dolma.data import streams
from dolma.errors import DolmaError
from dolma.graph import graph_of
from dolma.pipeline import run_node
from dolma.runner.compiling import METADATA, TEXTS
from dolma.runner.options import RunOptions
from dolma.runner.progress import NullReporter, Reporter
from dolma.stages import PACKAGES, Node, Running, find_stage, function_of

CACHE = "NUMBA_CACHE_DIR"
"""The environment variable that says where compiled code is kept."""


class _Progress(NullReporter):
    """Tells how far a stage is, and nothing of what it finds in the small documents."""

    def __init__(self, reporter: Reporter) -> None:
        self.doing, self.start = reporter.doing, reporter.start  # type: ignore[method-assign]
        self.advance, self.finish = reporter.advance, reporter.finish  # type: ignore[method-assign]


@contextmanager
def code_kept_in(folder: str | None) -> Iterator[str]:
    """While entered, compiled code is kept in this folder, if one is given; the setting that later finds it there.

    Raises:
        WriteError: the folder cannot be written to: Numba would keep nothing, and say nothing.
    """
    before = os.environ.get(CACHE)
    if folder is not None:
        with streams.writing(folder):
            os.makedirs(folder, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        os.environ[CACHE] = os.path.abspath(folder)
    try:
        yield "" if folder is None else f"{CACHE}={os.environ[CACHE]}"
    finally:
        if folder is not None:
            os.environ.pop(CACHE)
            os.environ.update({} if before is None else {CACHE: before})


def compile_ahead(recipe: Recipe, *, reporter: Reporter | None = None) -> Iterator[tuple[str, str]]:
    """For each stage of the recipe but training, its name, and what has kept it from being run, "" for nothing.

    The stages run in a folder that is removed. One that cannot use the small documents, as a rule on a field of the
    corpus cannot, is compiled as far as it came.
    """
    with tempfile.TemporaryDirectory(prefix="dolma-compile-") as folder:
        documents = os.path.join(folder, "documents", "sample.jsonl")
        # Each is an item of a benchmark, too.
        lines = [
            msgspec.json.encode({"id": str(i), "text": text, "answer": text[:40], "metadata": METADATA})
            for i, text in enumerate(TEXTS)
        ]
        streams.write_bytes(documents, b"\n".join(lines) + b"\n")
        small = msgspec.structs.replace(
            recipe,
            documents=[documents],
            exclude=[],
            output=os.path.join(folder, "out"),
            attributes=None,
            quarantine=None,
            fields=Fields(),
            stages={name: _of_names(stage, recipe.stages) for name, stage in recipe.stages.items()},
        )
        running = Running(options=RunOptions(workers=1), reporter=_Progress(reporter or NullReporter()))
        for node in graph_of(small):
            if node.stage.writes == "checkpoints":
                continue
            try:
                for _ in run_node(_by_itself(node, documents), running):
                    pass
                yield node.name, ""
            except DolmaError as error:
                yield node.name, str(error).partition("\n")[0]


def _of_names(stage: NamedStage, names: Container[str]) -> NamedStage:
    """The stage without what it reads by pattern or folder."""
    read = {key: getattr(stage, key) for key in ("documents", "attributes", "tokens")}
    kept = {
        key: [name for name in ([said] if isinstance(said, str) else said) if name in names] or None
        for key, said in read.items()
        if said is not None
    }
    return msgspec.structs.replace(stage, **kept)


def _by_itself(node: Node, documents: str) -> Node:
    """The stage with these documents for its items, without sources and without what else they are compared with."""
    changed: dict[str, Any] = {"sources": {}, "reference": None, "since": None, "reuse": None, "reference_filter": None}

    def of(config: Any) -> Any:
        if isinstance(config, list):
            return list(map(of, config))
        here = {key: value for key, value in changed.items() if getattr(config, key, None)}
        if getattr(config, "items", None):
            here["items"] = [documents]
        return msgspec.structs.replace(config, **here)

    return replace(node, config=of(node.config))


def everything() -> Recipe:
    """A recipe with all stages that compile, and sections that need all of their kernels."""
    sections = {name: find_stage(name).kernels for name in PACKAGES}
    return make_recipe(
        {
            name: function_of(section)() if isinstance(section, str) else section
            for name, section in sections.items()
            if section is not None
        }
    )
