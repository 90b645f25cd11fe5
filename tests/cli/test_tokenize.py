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


# --- mix and reshard -------------------------------------------------------------------------------------------------


def tokenized(dolma: Dolma, corpus: Path, source: str) -> Path:
    given = ("--tokenizer", TOKENIZER, "--documents", corpus / source / "documents" / "*.jsonl")
    assert dolma("tokenize", *given, "--output", corpus / "tokens" / source).status == 0
    return corpus / "tokens" / source


def test_mix_prints_what_is_asked_of_each_source(dolma: Dolma, corpus: Path) -> None:
    sources = [f"{name}={tokenized(dolma, corpus, name)}" for name in ("books", "web")]
    given = ("tokenize", "mix", *sources, "--share", "books=0.5", "--share", "web=0.5", "--max-repeat", "2")
    dry = dolma(*given, "--output", corpus / "mixed", "--dry-run")
    assert (dry.status, (corpus / "mixed").exists()) == (0, False)
    assert any(line.split()[:1] == ["books"] and line.split()[3] == "0.5" for line in dry.out.splitlines())
    ended = dolma(*given, "--output", corpus / "mixed", "--workers", "1")
    assert ended.status == 0
    assert "tokenize mix: 8 documents in" in ended.out
    assert dolma("verify", corpus / "mixed").status == 0


def test_mix_as_json_is_the_report(dolma: Dolma, corpus: Path) -> None:
    source = f"books={tokenized(dolma, corpus, 'books')}"
    ended = dolma("tokenize", "mix", source, "--repeat", "books=2", "--json", "-o", corpus / "m", "--workers", "1")
    found = json.loads(ended.out)
    assert found["ledger"]["accounts"]["books"]["written"]["documents"] == 8
    assert found["details"]["tokens"]["books"] == found["ledger"]["accounts"]["books"]["written"]["tokens"]


def test_reshard_makes_as_many_shards_as_asked_for(dolma: Dolma, corpus: Path) -> None:
    tokens = tokenized(dolma, corpus, "books")
    given = ("tokenize", "reshard", tokens, "--shards", "3", "--no-shuffle", "-o", corpus / "three")
    ended = dolma(*given, "--workers", "1")
    assert (ended.status, len(list((corpus / "three").glob("*.npy")))) == (0, 3)


def test_reshard_shows_a_plan(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tokenize", "reshard", tokenized(dolma, corpus, "books"), "-o", corpus / "x", "--dry-run")
    assert (ended.status, (corpus / "x").exists()) == (0, False)
    assert "part-00000.npy" in ended.out


def test_train_prints_figures_and_writes_a_tokenizer(dolma: Dolma, corpus: Path) -> None:
    given = ("--documents", corpus / "*" / "documents" / "*.jsonl", "--vocab-size", "270", "--workers", "1")
    ended = dolma("tokenize", "train", *given, "-o", corpus / "tokenizer")
    assert ended.status == 0
    assert "by source" in ended.out and ended.out.endswith(f"in {corpus / 'tokenizer'}: 270 tokens\n")
    assert dolma("verify", corpus / "tokenizer").status == 0
    assert (corpus / "tokenizer" / "tokenizer.json").exists()
