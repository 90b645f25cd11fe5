"""Compiled code is kept, and kept only for these very sources. Run: `pytest tests/kernels/test_compiled.py`."""

from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest

from dolma.kernels import compiled


@compiled.kernel
def add_one(array, out):
    for i in range(len(array)):
        out[i] = array[i] + 1


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


def test_the_stamp_is_what_numba_compares():
    # If a version of Numba renames this, old code could be run after an upgrade: then find the new name.
    assert add_one.made._cache._cache_file._source_stamp == compiled._digest(compiled.Path(__file__))


def test_where_nothing_can_be_written_kernels_are_compiled_without_a_cache(monkeypatch):
    njit = numba.njit

    def no_folder(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", no_folder)
    monkeypatch.setattr(compiled, "KERNELS", [])

    @compiled.kernel
    def twice(array, out):
        out[0] = array[0] * 2

    out = np.zeros(1, np.int64)
    twice(np.full(1, 4), out)
    assert out.tolist() == [8]


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
