"""Compiling what taggers need before a run begins: by this process from the one end, by a second one from the other.

To compile all taggers takes a minute of one core, and Numba compiles on one core. What it has compiled it keeps in
files, so a second process that goes through the taggers backwards halves the wait. It may be ended at any time.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.runner.compiling import compile_by_calling
from dolma.runner.options import cpu_count
from dolma.runner.progress import Reporter
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import find, is_built_in, tagger_of_process
from dolma.taggers.tagger import Tagger, needs_of

WORTH_A_PROCESS = 6
"""Taggers; fewer share most of their kernels, and a process takes two seconds to import them."""


def compile_kernels(specs: Sequence[TaggerSpec], reporter: Reporter | None = None) -> None:
    """Compile what these taggers need, before workers do; a line to the reporter if there is anything to compile.

    Of built-in taggers only: one's own may do anything when called. Nor of those whose work is done by a package of an
    extra, which may have a large model to load, and compiles nothing.
    """
    ours = [(spec, tagger_of_process(spec)) for spec in specs if is_built_in(spec)]
    called = [(spec, tagger) for spec, tagger in ours if _compiles(tagger)]
    second = _SecondProcess([spec for spec, _ in reversed(called)])
    try:
        compile_by_calling(reporter, characters_of, *(tagger for _, tagger in called), at_first=second.start)
    finally:
        second.end()


def all_kernels() -> dict[str, Any]:
    """The section of a recipe with all built-in taggers that need nothing but metadata."""
    return {"taggers": [name for name in BUILT_IN if all(need.kind == "metadata" for need in needs_of(find(name)))]}


def characters_of(batch: TextBatch) -> npt.NDArray[np.int64]:
    """Code points of each document, which the Dolma 1.x form of attributes needs."""
    from dolma.kernels.views import code_points

    return batch.view(code_points)


def _compiles(tagger: Tagger) -> bool:
    return all(need.kind != "extra" for need in needs_of(tagger))


class _SecondProcess:
    """Compiles what these taggers need, if they are many and a core is free. What it says is dropped."""

    def __init__(self, specs: Sequence[TaggerSpec]) -> None:
        self._specs = specs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if len(self._specs) < WORTH_A_PROCESS or cpu_count() < 2 or not sys.executable:
            return
        # Not a child of `multiprocessing`: that would import the main program again.
        command, none = [sys.executable, "-c", _PROGRAM], subprocess.DEVNULL
        with contextlib.suppress(OSError):  # where there can be no process, this one compiles all
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=none, stderr=none)
            assert self._process.stdin is not None
            with self._process.stdin as stdin:
                stdin.write(msgspec.json.encode({"path": sys.path, "specs": self._specs}))

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


_PROGRAM = """
import json, sys
given = json.load(sys.stdin)
sys.path[:] = given["path"]
from dolma.taggers.compiling import compile_kernels_of
compile_kernels_of(given["specs"])
"""


def compile_kernels_of(specs: list[dict[str, Any]]) -> None:
    """What the second process does."""
    compile_by_calling(None, *(tagger_of_process(spec) for spec in msgspec.convert(specs, list[TaggerSpec])))
