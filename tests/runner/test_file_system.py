"""What a full disk, folders that may not be read or written, and odd outputs say.

Run: pytest tests/runner/test_file_system.py

Each runs a command in a process of its own: limits and rights are of a process.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.tokens.conftest import added, byte_level

_CAPBSET_DROP = 24  # of prctl(2)
LIMIT = 20_000  # bytes that a file may have: more than any manifest here, less than any output


def write_corpus(home: Path) -> None:
    documents = home / "documents"
    documents.mkdir(parents=True)
    (home / "tokenizer.json").write_bytes(msgspec.json.encode(byte_level(added(256, "</s>"))))
    for name in ("a", "b"):
        # Text that does not compress: hexadecimal digits of digests.
        texts = [hashlib.sha512(f"{name}{i}".encode()).hexdigest() for i in range(1500)]
        lines = [msgspec.json.encode({"id": f"{name}{i}{text[:30]}", "text": text}) for i, text in enumerate(texts)]
        (documents / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "home")
    return tmp_path / "home"


def dolma(home: Path, *arguments: str, limit: Callable[[], Any] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dolma", *arguments],
        cwd=home,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


COMMANDS = {
    "tag": ["tag", "--taggers", "length", "--documents", "documents/*.jsonl", "--attributes", "attributes"],
    "dedupe": ["dedupe", "--documents", "documents/*.jsonl", "--attributes", "attributes"],
    "mix": ["mix", "--documents", "documents/*.jsonl", "--output", "out", "--set", "mix.format=.jsonl.gz"],
    "parquet": ["mix", "--documents", "documents/*.jsonl", "--output", "out", "--set", "mix.format=.parquet"],
    "tokenize": ["tokenize", "--tokenizer", "tokenizer.json", "--documents", "documents/*.jsonl", "--output", "out"],
}  # fmt: skip


def outputs(home: Path) -> dict[str, bytes]:
    found = [path for folder in ("attributes", "out") for path in sorted((home / folder).rglob("*"))]
    files = (path for path in found if path.is_file() and path.name != ".inputs.json")
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("name", "workers"),
    [("tag", 1), ("tag", 2), ("dedupe", 1), ("mix", 1), ("parquet", 1), ("tokenize", 2)],
)
def test_a_full_disk_names_the_output_and_the_rerun_goes_on(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, name: str, workers: int
) -> None:
    command = [*COMMANDS[name], "--workers", str(workers)]
    full = dolma(corpus, *command, limit=small_files)
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    first, hint, *_ = full.stderr[full.stderr.index("error: ") :].splitlines()
    assert first.startswith(("error: attributes/", "error: out/")), full.stderr
    assert first.endswith("cannot be written: File too large")
    assert hint.startswith("  make room, or have it written elsewhere")
    assert not [path for path in outputs(corpus) if path.endswith("manifest.json")]

    assert dolma(corpus, *command).returncode == 0
    other = tmp_path_factory.mktemp("other") / "home"
    write_corpus(other)
    assert dolma(other, *command).returncode == 0
    assert outputs(corpus) == outputs(other)


# --- rights ----------------------------------------------------------------------------------------------------------


def without_privilege() -> None:
    """Takes from root what lets it pass over rights (capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(_CAPBSET_DROP, capability, 0, 0, 0)


def test_a_folder_that_may_not_be_written_is_named(corpus: Path) -> None:
    out = corpus / "out"
    out.mkdir(mode=0o555)
    corpus.chmod(0o555)
    result = dolma(corpus, *COMMANDS["tokenize"], limit=without_privilege)
    corpus.chmod(0o755)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert "error: out: cannot write there: Permission denied" in result.stderr


def test_a_file_that_may_not_be_read_is_named(corpus: Path) -> None:
    (corpus / "documents/b.jsonl").chmod(0)
    result = dolma(corpus, *COMMANDS["tokenize"], limit=without_privilege)
    assert (result.returncode, "Traceback" in result.stderr) == (3, False), result.stderr
    assert "error: documents/b.jsonl: cannot read: Permission denied" in result.stderr


# --- odd outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["file", "file/below", "file/far/below"])
def test_an_output_that_is_a_file_or_below_one_is_named(corpus: Path, output: str) -> None:
    (corpus / "file").write_text("x")
    arguments = [word if word != "out" else output for word in COMMANDS["tokenize"]]
    result = dolma(corpus, *arguments)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert f"error: {output}" in result.stderr
    assert (corpus / "file").read_text() == "x"


def test_a_name_that_is_not_utf8_is_shown_and_refused(corpus: Path) -> None:
    os.rename(corpus / "documents/b.jsonl", os.fsencode(corpus / "documents") + b"/b\xff.jsonl")
    result = dolma(corpus, *COMMANDS["tokenize"])
    assert (result.returncode, "Traceback" in result.stderr) == (3, False), result.stderr
    assert "b\\xff.jsonl" in result.stderr or "b\\udcff.jsonl" in result.stderr


@pytest.mark.parametrize("option", ["--output", "--documents", "--tokenizer"])
def test_an_argument_that_is_not_utf8_is_shown_and_refused(corpus: Path, option: str) -> None:
    arguments = list(COMMANDS["tokenize"])
    arguments[arguments.index(option) + 1] = os.fsdecode(b"x\xff")
    result = dolma(corpus, *arguments)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert "x\\udcff" in result.stderr or "x\\xff" in result.stderr
