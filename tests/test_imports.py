"""Imports are free. Run: pytest tests/test_imports.py"""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

HEAVY = ("numba", "torch", "pyarrow", "duckdb", "numpy", "fasttext", "tokenizers", "ray", "boto3", "rich")
HEAVY += ("kenlm", "sentencepiece", "onnxruntime", "transformers", "pandas", "pyarrow.parquet", "pyarrow.compute")
IMPORT = "import dolma"
HELP = "from dolma.cli.main import run\nassert run(['--help']) == 0"
SECONDS = 0.150


def in_subprocess(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def processor_seconds(code: str) -> float:
    """The least of seven runs. Unlike the time on a clock it hardly grows when the machine has other work."""
    costs = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = in_subprocess(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(costs)


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_loads_nothing_heavy(code):
    found = in_subprocess(f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_takes_under_150_milliseconds_more_than_python(code):
    assert processor_seconds(code) - processor_seconds("pass") < SECONDS


def loaded_by(*arguments: str) -> set[str]:
    """The heavy packages that a command loads, which ends with status 0."""
    code = f"import sys\nfrom dolma.cli.main import run\nassert run({list(arguments)!r}) == 0\n"
    found = in_subprocess(f"{code}print(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert found.returncode == 0, found.stderr
    return set(found.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("list",), ("list", "gopher", "--json"), ("list", "--markdown")])
def test_listing_taggers_loads_none(arguments):
    assert loaded_by(*arguments) <= {"rich"}  # of which only the widths of characters


def test_a_run_with_nothing_to_do_loads_no_arrays_no_compiler_and_no_engine(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.jsonl").write_text('{"id": "1", "text": "some words"}\n' * 20)
    arguments = ("tag", "-t", "length", "--documents", str(tmp_path / "documents" / "a.jsonl"))
    loaded_by(*arguments)  # compiles what was never compiled
    assert loaded_by(*arguments) <= {"rich"}
    assert loaded_by(*arguments, "--overwrite", "--max-document-bytes", "1000").isdisjoint(
        {"numba", "duckdb", "torch", "pandas"}
    )


def test_a_wrong_name_of_a_model_is_refused_before_torch_is_loaded(tmp_path):
    pytest.importorskip("torch")
    arguments = ["train", "--model", "wrong", "--tokens", str(tmp_path), "--output", str(tmp_path / "out")]
    code = f"import sys\nfrom dolma.cli.main import run\nassert run({arguments!r}) == 2\nprint('torch' in sys.modules)"
    found = in_subprocess(code)
    assert (found.returncode, found.stdout) == (0, "False\n"), found.stderr
    assert "no model 'wrong'" in found.stderr
