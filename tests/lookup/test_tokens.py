"""From a token to its document and back. Run: pytest tests/lookup/test_tokens.py"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dolma.data.tokens import read_rows
from tests.lookup.conftest import ROOT, Ask


@pytest.fixture
def tokens(recipe: Path) -> Path:
    """The token shards of the recipe."""
    return recipe.parent / "out" / "tokens"


def position_of(tokens: Path, id: str) -> int:
    """The first token of a document."""
    return next(row["start"] for row in read_rows(f"{tokens}/part-00000.npy").to_pylist() if row["id"] == id)


def traced(command: Ask, place: str, *arguments: str) -> dict[str, Any]:
    result = command("trace", place, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_a_token_is_followed_through_the_mix_to_its_document(tokens: Path, command: Ask) -> None:
    position = position_of(tokens, "mail#2") + 1
    found = traced(command, f"{tokens}/part-00000.npy:{position}")
    document = found["document"]
    assert (document["id"], document["source"], document["path"]) == ("mail#2", "web", "web/a.jsonl.zst")
    assert (found["at"], found["position"], found["unknown"]) == (1, position, [])
    assert (found["before"] + found["text"] + found["after"]).startswith("Write to |||MAIL||| about the ships")
    encoded, raw = found["places"]
    assert encoded.startswith(f"{tokens.parent}/mixed/documents/web/a.jsonl.zst:")
    assert raw == f"{tokens.parent.parent}/web/documents/a.jsonl:4"
    assert found["attributes"]["length"]["words"] == 10
    assert [span["start"] for span in found["attributes"]["pii"]["email"]] == [9]


def test_shards_that_were_moved_alone_say_what_is_not_known(tokens: Path, tmp_path: Path, command: Ask) -> None:
    moved = shutil.copytree(tokens, tmp_path / "elsewhere" / "tokens")
    found = traced(command, f"{moved}/part-00000.npy:0")
    assert found["document"]["path"] and found["places"] == []
    assert "nothing says which documents" in found["unknown"][0]


def test_documents_that_are_given_are_looked_at(tokens: Path, tmp_path: Path, command: Ask) -> None:
    moved = shutil.copytree(tokens, tmp_path / "elsewhere" / "tokens")
    documents = tokens.parent / "mixed" / "documents"
    found = traced(command, f"{moved}/part-00000.npy:0", "--documents", str(documents))
    assert found["unknown"] == [] and found["places"][0].startswith(str(documents))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (":999999", "there is no token 999,999 in "),
        ("", "is no place in a shard: expected SHARD:POSITION"),
        (":x", "is no place in a shard: expected SHARD:POSITION"),
    ],
)
def test_what_is_no_place_is_refused(tokens: Path, command: Ask, place: str, message: str) -> None:
    result = command("trace", f"{tokens}/part-00000.npy{place}")
    assert result.exit_code == 2 and message in result.output


def test_a_token_of_a_shard_without_rows_is_refused(tokens: Path, command: Ask) -> None:
    for suffix in (".parquet", ".csv.gz"):
        (tokens / f"part-00000{suffix}").unlink()
    result = command("trace", f"{tokens}/part-00000.npy:0")
    assert result.exit_code == 3 and "has no document rows beside it" in result.output


def test_a_document_is_found_in_the_shards(tokens: Path, command: Ask) -> None:
    result = command("trace", "--document", "mail#2", "--tokens", str(tokens), "--json")
    (found,) = map(json.loads, result.out.splitlines())
    assert found["start"] == position_of(tokens, "mail#2") and found["shard"] == f"{tokens}/part-00000.npy"
    result = command("trace", "--document", "mail#3", "--tokens", str(tokens))
    assert result.exit_code == 2 and "no document in these shards has the id 'mail#3'" in result.output


def test_a_part_of_a_grouped_document_is_named(tmp_path: Path, command: Ask) -> None:
    path = tmp_path / "books" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": "long", "text": "one two three four five six seven eight nine"}) + "\n")
    arguments = ("--tokenizer", str(ROOT / "data" / "sample" / "tokenizer.json"), "--group-by", "source")
    cut = ("--max-tokens-per-shard", "5", "--split-long-documents", "--workers", "1")
    out = tmp_path / "tokens"
    assert command("tokenize", *arguments, *cut, "--documents", str(path), "--output", str(out)).exit_code == 0
    places = list(
        map(json.loads, command("trace", "--document", "long", "--tokens", str(out), "--json").out.splitlines())
    )
    assert len(places) > 1 and [place["part"] for place in places] == list(range(len(places)))
    found = traced(command, f"{places[1]['shard']}:1")
    assert found["at"] == places[0]["end"] + 1 and found["document"] == places[1]
    assert found["places"] == [f"{path}:1"]


@pytest.mark.parametrize("arguments", [(), ("--step", "1"), ("--document", "a"), ("x.npy:1", "--document", "a")])
def test_a_question_and_where_to_look_are_needed(arguments: tuple[str, ...], command: Ask) -> None:
    result = command("trace", *arguments)
    assert result.exit_code == 2
    assert "give one of SHARD:POSITION" in result.output or "nothing says where to look" in result.output
