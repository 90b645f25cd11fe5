"""Two versions of a corpus. Run: `pytest tests/lookup/test_diff.py`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.lookup.diff import diff

from .conftest import ROOT, Ask

VERSIONS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y", "ß"])), min_size=1, max_size=8)


def written(folder: Path, documents: list[tuple[str, str]]) -> str:
    folder.mkdir()
    lines = [json.dumps({"id": id, "text": text, "source": "s"}) for id, text in documents]
    (folder / "x.jsonl").write_text("".join(line + "\n" for line in lines))
    return str(folder)


def expected(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> dict[str, int]:
    """The counts, by multisets."""
    same = Counter(a) & Counter(b)
    only_a, only_b = Counter(a) - same, Counter(b) - same
    ids_a, ids_b = (Counter(id for id, _ in only.elements()) for only in (only_a, only_b))
    changed = ids_a & ids_b
    return {"same": same.total(), "changed": changed.total(), "a": len(a), "b": len(b)}


@settings(max_examples=60, deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_counts_are_those_of_multisets(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = diff(written(Path(folder, "a"), a), written(Path(folder, "b"), b))
    (one,) = found.sources
    counts = {kind: getattr(one, kind).documents for kind in ("same", "changed", "a", "b")}
    assert counts == expected(a, b)
    assert one.a.documents == sum(getattr(one, kind).documents for kind in ("same", "changed", "renamed", "lost"))
    assert one.b.documents == sum(getattr(one, kind).documents for kind in ("same", "changed", "renamed", "gained"))
    assert found.equal == (Counter(a) == Counter(b))


def test_a_text_under_a_new_id_is_renamed(tmp_path: Path) -> None:
    a = written(tmp_path / "a", [("1", "one"), ("2", "two"), ("3", "three")])
    b = written(tmp_path / "b", [("1", "one"), ("two", "two"), ("3", "drei"), ("4", "four")])
    found = diff(a, b)
    assert found.examples == {"changed": ["3"], "renamed": ["2 -> two"], "lost": [], "gained": ["4"]}
    assert found.sources[0].gained.bytes == 4


def as_json(ask: Ask, *arguments: str) -> dict[str, Any]:
    result = ask("diff", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_a_mix_says_why_it_lacks_a_document(ask: Ask, tmp_path: Path) -> None:
    found = as_json(ask, str(tmp_path / "web"), str(tmp_path / "out" / "mixed"))
    assert found["reasons"]["lost"] == {"size: words": 1, "drop: exact.duplicate": 1}
    assert found["reasons"]["gained"] == {"there less often": 2}
    assert found["examples"]["changed"] == ["mail"]  # its address was replaced
    (web, books) = sorted(found["sources"], key=lambda one: one["source"] != "web")
    assert web["same"]["documents"] == 1 and books["gained"]["documents"] == 1


def test_two_recipes_differ_in_settings_and_documents(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    text = recipe.read_text().replace("length.words > 5", "length.words > 1")
    other.write_text(text.replace(str(tmp_path / "out"), str(tmp_path / "other")))
    assert ask("run", str(other), "--workers", "1").exit_code == 0
    found = as_json(ask, str(recipe), str(other))
    assert [one["key"] for one in found["settings"]] == ["mix.rules.size.keep.words", "output"]
    assert found["reasons"]["gained"] == {"size: words": 2}
    assert found["examples"]["gained"] == ["short", "short"]


def test_token_shards_are_compared_by_tokens(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    tokens = str(tmp_path / "out" / "tokens")
    copy = str(tmp_path / "copy")
    shutil.copytree(tokens, copy)
    found = as_json(ask, tokens, copy)
    assert all(one["same"] == one["a"] == one["b"] and one["a"]["tokens"] > 0 for one in found["sources"])
    assert "both have the same documents" in ask("diff", tokens, copy).output


def test_shards_of_two_formats_have_the_same_documents(ask: Ask, tmp_path: Path) -> None:
    other = str(tmp_path / "parquet")
    result = ask("tokenize", "--format", "parquet", "--output", other, "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "both have the same documents" in ask("diff", str(tmp_path / "out" / "tokens"), other).output


def test_a_document_whose_later_part_differs_is_not_the_same(command: Ask, tmp_path: Path) -> None:
    folders = []
    for name, end in (("a", "nine"), ("b", "ten")):
        path = tmp_path / name / "web" / "documents" / "x.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"id": "1", "text": f"one two three four five six seven eight {end}"}) + "\n")
        given = ("--tokenizer", str(ROOT / "data" / "sample" / "tokenizer.json"), "--documents", str(path))
        cut = ("--max-tokens-per-shard", "5", "--split-long-documents", "--workers", "1")
        folders.append(str(tmp_path / name / "tokens"))
        assert command("tokenize", *given, *cut, "--output", folders[-1]).exit_code == 0
    found = diff(*folders)
    assert found.sources[0].changed.tokens > 0 and not found.equal


def test_damaged_decisions_are_named(ask: Ask, tmp_path: Path) -> None:
    (path,) = (tmp_path / "out" / "mixed" / "decisions").rglob("web/*.parquet")
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    result = ask("diff", str(tmp_path / "web"), str(tmp_path / "out" / "mixed"))
    assert result.exit_code == 3 and f"{path}: corrupt file: " in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{out}/tokens", "{out}/mixed"), "has tokens, "),
        (("{out}/nothing", "{out}/mixed"), "no such file or folder"),
        (("{recipe}", "{out}/mixed"), "one is a recipe, the other is not"),
    ],
)
def test_what_cannot_be_compared_is_said(
    ask: Ask, recipe: Path, tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    a, b = (one.format(out=tmp_path / "out", recipe=recipe) for one in arguments)
    result = ask("diff", a, b)
    assert result.exit_code == 2 and said in result.output


def test_recipes_whose_text_is_in_another_field_are_compared(command: Ask, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    lines = [json.dumps({"key": str(i), "body": f"text {i}"}) + "\n" for i in range(3)]
    (tmp_path / "documents" / "a.jsonl").write_text("".join(lines))
    recipes = []
    for name, least in {"a": 0, "b": 100}.items():
        recipe = tmp_path / f"{name}.yaml"
        settings = {
            "documents": [str(tmp_path / "documents" / "*")],
            "output": str(tmp_path / name),
            "fields": {"text": "body", "id": "key"},
            "mix": {"min_length": least},
        }
        recipe.write_text(json.dumps(settings))
        recipes.append(str(recipe))
        assert command("run", str(recipe), "--workers", "1").exit_code == 0
    result = command("diff", *recipes, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.out)["examples"]["lost"] == ["0", "1", "2"]
