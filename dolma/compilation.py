"""Compiling ahead: what the stages of a recipe will call is called on a few small documents, and the code is kept.

For a container image, or for a cluster whose nodes share no home folder: else each of them compiles for up to a minute
when it first meets a stage. The code lies beside the package, or under `NUMBA_CACHE_DIR`, and is that of one kind of
processor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from dolma.config import Recipe, make_recipe
from dolma.data import streams
from dolma.errors import DolmaError
from dolma.pipeline import Running, run_stage, stages_of
from dolma.runner.compiling import METADATA, TEXTS
from dolma.runner.options import RunOptions
from dolma.runner.progress import Reporter

CACHE = "NUMBA_CACHE_DIR"
"""The environment variable that says where compiled code is kept."""


@contextmanager
def code_kept_in(folder: str | None) -> Iterator[str]:
    """While entered, compiled code is kept in this folder, if one is given; the setting that later finds it there."""
    before = os.environ.get(CACHE)
    if folder is not None:
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
        lines = [
            msgspec.json.encode({"id": str(i), "text": text, "metadata": METADATA}) for i, text in enumerate(TEXTS)
        ]
        streams.write_bytes(documents, b"\n".join(lines) + b"\n")
        small = msgspec.structs.replace(
            recipe,
            documents=[documents],
            exclude=[],
            output=os.path.join(folder, "out"),
            attributes=None,
            quarantine=None,
            mix=None if recipe.mix is None else msgspec.structs.replace(recipe.mix, sources={}),
            train=None,
        )
        running = Running(options=RunOptions(workers=1), reporter=reporter)
        for stage in stages_of(small):
            try:
                for _ in run_stage(small, stage, running):
                    pass
                yield stage, ""
            except DolmaError as error:
                yield stage, str(error).partition("\n")[0]


def everything() -> Recipe:
    """A recipe with all built-in taggers that need nothing, and every other stage that compiles."""
    from dolma.taggers.names import BUILT_IN
    from dolma.taggers.registry import find
    from dolma.taggers.tagger import needs_of

    names = [name for name in BUILT_IN if all(need.kind == "metadata" for need in needs_of(find(name)))]
    return make_recipe(
        {
            "tag": {"taggers": names},
            "dedupe": [{"name": "copies"}, {"name": "paragraphs", "by": "paragraphs"}],
            "mix": {"spans": [{"attribute": "pii.email", "replace": "-"}]},
            "stat": {},
        }
    )
