"""Compiled code is kept, and kept only for these very sources. Run: `pytest tests/kernels/test_compiled.py`."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from dolma.kernels import compiled


def test_the_package_imports_neither_numba_nor_numpy():
    program = "import sys, dolma.kernels; sys.exit(bool({'numba', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """Kernel files that import one another: a -> b -> c, and d beside them."""
    for name, text in {"a": "b", "b": "c", "c": None, "d": None}.items():
        (tmp_path / f"{name}.py").write_text(f"from dolma.kernels.{text} import x\n" if text else "x = 1\n")
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    return tmp_path


@pytest.mark.parametrize("changed", ["a", "b", "c"])
def test_the_stamp_changes_with_the_file_and_all_it_imports(sources, changed):
    before = compiled._digest.__wrapped__(sources / "a.py")
    (sources / f"{changed}.py").write_text("x = 2\n")
    assert compiled._digest.__wrapped__(sources / "a.py") != before


def test_the_stamp_stays_when_another_kernel_file_changes(sources):
    before = compiled._digest.__wrapped__(sources / "a.py")
    (sources / "d.py").write_text("x = 2\n")
    assert compiled._digest.__wrapped__(sources / "a.py") == before


PROGRAM = """
import sys
import numpy as np
import module
out = np.zeros(1, np.int64)
print(module.twice(np.full(1, int(sys.argv[1])), out), out[0], "numba" in sys.modules)
"""
KERNEL = """
from dolma.kernels.compiled import inlined, kernel

@inlined
def factor(x):
    return 2

@kernel
def twice(array, out):
    out[0] = array[0] * factor(array[0])
    return array[0] + 1, True, 0.5
"""


@pytest.fixture
def printed(tmp_path):
    """What a process of its own prints that calls a kernel, kept in this test's folder."""
    (tmp_path / "module.py").write_text(KERNEL)

    def run(value, folder="kept"):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / folder), "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-B", "-c", PROGRAM, str(value)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    return run


def test_a_kernel_that_was_compiled_before_is_called_without_numba(printed):
    assert printed(4) == "(5, True, 0.5) 8 True"
    assert printed(5) == "(6, True, 0.5) 10 False"


def test_code_of_other_sources_is_not_called(printed, tmp_path):
    printed(4)
    (tmp_path / "module.py").write_text(KERNEL.replace("return 2", "return 3"))
    assert printed(4) == "(5, True, 0.5) 12 True"


def test_code_that_is_damaged_is_not_called(printed, tmp_path):
    printed(4)
    (kept,) = (tmp_path / "kept").iterdir()
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert printed(4) == "(5, True, 0.5) 8 True"


def test_where_nothing_can_be_written_kernels_are_compiled_in_each_process(printed, tmp_path):
    (tmp_path / "file").write_text("")
    assert printed(4, folder="file") == printed(4, folder="file") == "(5, True, 0.5) 8 True"


@compiled.kernel
def of_many_kinds(pair, flag, number, small, table, out):
    out[0] = len(pair[0]) + len(pair[1])
    out[1] = number
    out[2] = table[1, 0] if flag else small


@pytest.mark.parametrize("flag", [True, False])
def test_arguments_of_every_kind_arrive(flag):
    out, table = np.zeros(3), np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2]
    of_many_kinds((np.zeros(2), np.zeros(3, np.uint8)), flag, 1.5, np.uint8(200), table, out)
    assert out.tolist() == [5, 1.5, 3 if flag else 200]
    assert of_many_kinds((np.zeros(2), np.zeros(3, np.uint8)), flag, 7, np.uint8(200), table, out) is None
    assert out[1] == 7


def test_text_buffers_become_read_only_views_of_the_same_memory():
    utf8, offsets = np.frombuffer(b"abc", np.uint8).copy(), np.array([0, 3])
    text, bounds = compiled.flat_text(utf8, offsets)
    assert np.shares_memory(text, utf8)
    assert not text.flags.writeable
    assert not bounds.flags.writeable
    assert utf8.flags.writeable


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 3, 1, 3], [], [[0, 3]]])
def test_offsets_that_are_no_boundaries_of_the_text_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        compiled.flat_text(np.frombuffer(b"abc", np.uint8), np.array(offsets, np.int64))
