"""`dolma tokenize` and the commands below it. Run: pytest tests/cli/test_tokenize.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Dolma

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TOKENIZER = SAMPLE / "tokenizer.json"


def test_the_plain_command_and_its_alias_still_encode(dolma: Dolma, corpus: Path) -> None:
    given = ("--tokenizer", TOKENIZER, "--documents", corpus / "*" / "documents" / "*.jsonl")
    for name in ("tokenize", "tokens"):
        assert dolma(name, *given, "--output", corpus / name).status == 0
    one, other = (corpus / name / "part-00000.npy" for name in ("tokenize", "tokens"))
    assert one.read_bytes() == other.read_bytes()


def test_commands_below_are_listed(dolma: Dolma) -> None:
    assert "compare" in dolma("tokens", "--help").out


def test_compare_prints_tables(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tokenize", "compare", TOKENIZER, "--documents", corpus / "*" / "documents" / "*.jsonl")
    assert (ended.status, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert "tokenizers on 8 documents, 144 bytes" in ended.out
    assert any(line[:2] == ["books", "1"] for line in lines)


def test_compare_as_json_has_every_figure(dolma: Dolma, corpus: Path) -> None:
    given = ("--documents", corpus / "*" / "documents" / "*.jsonl", "--all", "--json")
    found = json.loads(dolma("tokenize", "compare", TOKENIZER, TOKENIZER, *given).out)
    assert found["total"] == {"documents": 8, "bytes": 144, "words": 28}
    one, two = found["tokenizers"]
    assert one == two
    assert one["total"]["bytes_per_token"] == 144 / one["total"]["tokens"]


def test_compare_takes_all_documents_or_a_sample(dolma: Dolma, corpus: Path) -> None:
    given = ("--documents", corpus / "*" / "documents" / "*.jsonl", "--all", "--sample", "3")
    ended = dolma("tokenize", "compare", TOKENIZER, *given)
    assert ended.status == 2
    assert "--all and --sample 3 were given, expected one at most" in ended.err
