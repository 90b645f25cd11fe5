"""Before workers start, what they need is compiled, in one line. Run: `pytest tests/runner/test_compiling.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dolma.kernels.compiled import kernel
from dolma.runner.compiling import NOTE, compile_by_calling, sample_batch
from dolma.runner.progress import NullReporter

ROOT = Path(__file__).parents[2]


class Notes(NullReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def adding(by: int):
    """A kernel that no one has compiled, and the work that calls it."""

    @kernel
    def add(array, out):
        for i in range(len(array)):
            out[i] = array[i] + by

    return lambda batch: add(np.zeros(1, np.int64), np.zeros(1, np.int64))


def test_the_first_compilation_is_noted_and_no_other(tmp_path, monkeypatch):
    notes = Notes()
    work, other = adding(1), adding(2)
    compile_by_calling(notes, work, other)
    assert notes.notes in ([NOTE], [])  # [] where an earlier run of this test has left its code
    compile_by_calling(again := Notes(), work, other)
    assert again.notes == []


def test_a_line_is_printed_once_and_the_second_process_loads(tmp_path):
    script = tmp_path / "compiles.py"
    script.write_text(
        "import numpy as np\n"
        "from dolma.kernels.compiled import kernel\n"
        "from dolma.runner.compiling import compile_by_calling\n"
        "from dolma.runner.progress import NullReporter\n"
        "class Printing(NullReporter):\n"
        "    def note(self, text): print(text)\n"
        "@kernel\n"
        "def add(array, out):\n"
        "    out[0] = array[0] + 1\n"
        "@kernel\n"
        "def twice(array, out):\n"
        "    out[0] = array[0] * 2\n"
        "def both(batch):\n"
        "    add(np.zeros(1), np.zeros(1)), twice(np.ones(1), np.ones(1))\n"
        "compile_by_calling(Printing(), both)\n"
    )
    printed = [
        subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert printed == [NOTE + "\n", ""]


def test_a_work_that_fails_does_not_keep_others_from_being_called():
    called = []
    compile_by_calling(None, lambda batch: 1 / 0, called.append)
    assert [len(batch) for batch in called] == [len(sample_batch())]


@pytest.mark.parametrize("name", ["records", "metadata"])
def test_the_sample_has_what_readers_can_be_asked_for(name):
    batch = sample_batch()
    assert [isinstance(json.loads(one), dict) for one in getattr(batch, name)] == [True] * len(batch)
