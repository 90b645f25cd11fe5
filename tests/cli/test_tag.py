"""`dolma tag`: profile, limits, errors. Run: pytest tests/cli/test_tag.py"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Dolma


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "web" / "documents"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"id": "a", "text": "one two"}\n{"id": "b", "text": "one two three"}\n')
    return folder


def test_a_profile_is_a_table_after_the_outcome(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tag", "-t", "length", "--documents", corpus, "--profile")
    assert ended.status == 0, ended.err
    kinds = [line.split()[0] for line in ended.out.splitlines() if line.strip()]
    assert [kind for kind in kinds if kind in ("reading", "tagger", "writing")] == ["reading", "tagger", "writing"]
    assert "2 documents" in ended.out
    again = dolma("tag", "-t", "length", "--documents", corpus, "--profile")
    assert "profile: nothing was left to run" in again.out


def test_json_holds_the_profile_and_the_errors(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tag", "-t", "length", "--documents", corpus, "--json", "--max-document-bytes", 10)
    assert ended.status == 0, ended.err
    shown = json.loads(ended.out)
    ledger = shown["ledger"]
    assert sum(account["taken"]["documents"] for account in ledger["accounts"].values()) == 2
    assert ledger["errors"] == {"length: size limit": 1}
    assert [row["name"] for row in shown["details"]["profile"]["rows"] if row["kind"] == "tagger"] == ["length"]


def test_documents_without_values_are_a_warning_that_names_the_attribute(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tag", "-t", "length", "--documents", corpus, "--max-document-bytes", 10)
    assert ended.status == 0
    assert "warning: length: size limit: no values for 1 document; length.error says why" in ended.err


def test_a_tagger_that_ends_its_process_is_an_error_with_one_worker_too(
    dolma: Dolma, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "import os\nfrom dolma.data.columns import DocInt\nfrom dolma.taggers.tagger import document_tagger\n\n"
        "@document_tagger(name='own', n=DocInt('never'))\ndef own(text):\n    os._exit(0)\n"
    )
    ended = dolma("tag", "-t", tmp_path / "own.py", "--documents", corpus, "--workers", 1)
    assert ended.status == 1
    assert "a worker process ended by itself (exit status 0) here twice" in ended.err


def test_json_stands_alone_whatever_taggers_and_workers_print(corpus: Path, tmp_path: Path) -> None:
    (corpus / "b.jsonl").write_text('{"id": "c", "text": "three"}\n')
    (tmp_path / "own.py").write_text(
        "import os\nfrom dolma.data.columns import DocInt\nfrom dolma.taggers.tagger import document_tagger\n\n"
        "print('imported')\n\n"
        "@document_tagger(name='own', n=DocInt('one'))\ndef own(text):\n"
        "    print('called')\n    os.write(1, b'raw\\n')\n    return {'n': 1}\n"
    )
    command = ["tag", "-t", "own.py", "--documents", str(corpus), "--json", "--workers", "2"]
    code = [sys.executable, "-m", "dolma", *command]
    ended = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["outputs"] == 2
    assert ended.stderr.count("raw\n") == 3 and "imported\n" in ended.stderr and "called\n" in ended.stderr
