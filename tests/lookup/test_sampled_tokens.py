"""Tokens against the texts that they were made of. Run: pytest tests/lookup/test_sampled_tokens.py"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dolma.config import make_recipe
from dolma.data import streams
from dolma.data.tokens import read_rows, read_token_manifest, write_token_manifest
from dolma.lookup.sampled_tokens import compare_sample
from tests.lookup.conftest import ROOT, Ask

NOTHING = make_recipe({}, {})
TEXTS = ["Whales are mammals.", "  Ships sail <|endoftext|> on the sea. ", "ein dritter Text, länger als die anderen"]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return path


def tokenized(command: Ask, documents: Path, *arguments: str, tokenizer: str = "") -> str:
    out = str(documents.parents[2] / "tokens")
    file = tokenizer or str(ROOT / "data" / "sample" / "tokenizer.json")
    given = ("--tokenizer", file, "--documents", str(documents), "--output", out, "--workers", "1", *arguments)
    result = command("tokenize", *given)
    assert result.exit_code == 0, result.output
    return out


def test_tokens_are_those_of_their_texts(documents: Path, command: Ask) -> None:
    found = compare_sample(tokenized(command, documents), NOTHING, sample=10, seed=0)
    assert (found.compared, found.only_encoded, found.problems) == (3, 0, [])


@pytest.mark.parametrize(
    "arguments",
    [("--strip",), ("--bos", "<|endoftext|>"), ("--group-by", "source"), ("--no-shuffle",)],
)
def test_what_the_recipe_does_to_texts_is_done_to_them(documents: Path, command: Ask, arguments: tuple[str]) -> None:
    found = compare_sample(tokenized(command, documents, *arguments), NOTHING, sample=10, seed=0)
    assert (found.compared, found.only_encoded, found.problems) == (3, 0, [])


@pytest.mark.parametrize("arguments", [(), ("--strip",)])
def test_shards_that_were_put_into_others_are_compared(
    documents: Path, command: Ask, arguments: tuple[str, ...]
) -> None:
    out = str(documents.parents[2] / "other")
    tokens = tokenized(command, documents, *arguments)
    assert command("tokenize", "reshard", tokens, "--output", out, "--workers", "1").exit_code == 0
    found = compare_sample(out, make_recipe({"documents": [str(documents)]}, {}), sample=10, seed=0)
    assert (found.compared, found.only_encoded, found.problems) == (3, 0, [])


def test_parts_are_encoded_again(documents: Path, command: Ask) -> None:
    out = tokenized(command, documents, "--split-long-documents", "--max-tokens-per-shard", "10")
    found = compare_sample(out, NOTHING, sample=100, seed=0)
    assert found.problems == [] and found.compared > found.only_encoded > 1


def test_texts_that_a_tokenizer_changes_are_encoded_again(documents: Path, command: Ask) -> None:
    content = json.loads((ROOT / "data" / "sample" / "tokenizer.json").read_bytes())
    content["normalizer"] = {"type": "Lowercase"}
    tokenizer = documents.parents[2] / "lower.json"
    tokenizer.write_text(json.dumps(content))
    found = compare_sample(tokenized(command, documents, tokenizer=str(tokenizer)), NOTHING, sample=10, seed=0)
    assert (found.compared, found.only_encoded, found.problems) == (3, 3, [])


def test_a_changed_token_is_found_though_all_checksums_fit(documents: Path, command: Ask) -> None:
    out = tokenized(command, documents)
    path = Path(out) / "part-00000.npy"
    ids = np.fromfile(path, "<u2")
    row = read_rows(str(path)).to_pylist()[1]
    ids[row["start"] + 2] ^= 1
    ids.tofile(path)
    described = read_token_manifest(out)
    shards = [msgspec.structs.replace(described.shards[0], xxh3=streams.checksum(str(path)))]
    write_token_manifest(out, msgspec.structs.replace(described, shards=shards))
    (problem,) = compare_sample(out, NOTHING, sample=10, seed=0).problems
    assert (
        f"are not those of the text at {documents}:{row['line']}: they differ from token {row['start'] + 2}" in problem
    )


def test_a_file_that_changed_since_is_not_compared(documents: Path, command: Ask) -> None:
    out = tokenized(command, documents)
    documents.write_text(documents.read_text().replace("Whales", "Wolves"))
    (problem,) = compare_sample(out, NOTHING, sample=10, seed=0).problems
    assert f"{documents}: is not a file that {out} was made from, or it has changed since" in problem


def test_the_sample_is_that_of_the_seed(documents: Path, command: Ask) -> None:
    out = tokenized(command, documents)
    result = command("verify", out, "--sample", "2", "--seed", "5", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.out)["notes"] == [f"{out}: 2 documents compared with their texts"]


def test_a_sample_without_token_shards_is_refused(recipe: Path, command: Ask) -> None:
    result = command("verify", str(recipe.parent / "out" / "mixed"), "--sample", "2")
    assert result.exit_code == 2 and "`--sample` is for token shards, and there are none" in result.output
