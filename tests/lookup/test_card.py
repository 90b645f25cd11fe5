"""Dataset cards. Run: `pytest tests/lookup/test_card.py`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from .conftest import RECIPE, ROOT, Ask


def test_the_front_matter_is_yaml_with_what_hugging_face_reads(ask: Ask) -> None:
    text = ask("card", "--name", "Whales: a corpus").out
    front = yaml.safe_load(text.split("---")[1])
    assert front["pretty_name"] == "Whales: a corpus" and front["size_categories"] == ["n<1K"]
    assert front["license"] == "other"


def test_the_numbers_are_those_of_the_ledgers(ask: Ask) -> None:
    text = ask("card").out
    assert "5 documents, " in text and "The corpus holds 3 of 5 documents that were read, some of them several" in text
    assert "| books | 1 | 1 |" in text and "| web | 4 | 4 |" in text
    assert "| size: words | 1 | 10 | 20.00% |" in text
    assert "| pii.email | replaced by \\|\\|\\|MAIL\\|\\|\\| | mix |" in text
    assert "The corpus was not searched for items of benchmarks." in text


def test_licences_are_counted_by_source(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record["metadata"] = {"license": "CC0-1.0", "lang": "en"}
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace(str(tmp_path / "out"), str(tmp_path / "other")))
    assert ask("run", str(other), "--workers", "1").exit_code == 0
    text = ask("card", "--set", f"output={tmp_path / 'other'}").out
    assert "CC0-1.0 (4) |" in text and "| en | 4 |" in text and "1 document state no licence." in text


def test_the_name_of_a_stage_is_code_as_it_is(command: Ask, recipe: Path, tmp_path: Path) -> None:
    settings = {
        "documents": yaml.safe_load(recipe.read_text())["documents"],
        "output": str(tmp_path / "named"),
        "stages": {"the_lengths": {"tag": {"taggers": ["length"]}}, "my_mix": {"mix": {"keep": ["length.words > 5"]}}},
    }
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(settings))
    assert command("run", str(tmp_path / "named.yaml"), "--workers", "1").exit_code == 0
    assert "## What `mix my_mix` removed" in command("card", "-c", str(tmp_path / "named.yaml")).out


def test_the_recipe_of_a_card_runs(ask: Ask, tmp_path: Path) -> None:
    text = ask("card").out
    written = yaml.safe_load(text.split("````yaml\n")[1].split("````")[0])
    assert {key: written[key] for key in RECIPE} == RECIPE
    assert "output" not in written and str(ROOT) in written["tokenize"]["tokenizer"]


def test_a_hostile_source_stays_text(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    record = {"id": "1", "text": "one two three four five six seven", "source": "<script>|x\n# no"}
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace(str(tmp_path / "out"), str(tmp_path / "other")))
    assert ask("run", str(other), "--workers", "1").exit_code == 0
    text = ask("card", "--set", f"output={tmp_path / 'other'}").out
    assert "<script>" not in text and "\n# no" not in text
    assert "&lt;script&gt;\\|x\\\\n# no" in text


def test_a_card_is_written_to_a_file(ask: Ask, tmp_path: Path) -> None:
    result = ask("card", "-o", str(tmp_path / "README.md"))
    assert result.exit_code == 0
    assert (tmp_path / "README.md").read_text() == ask("card").out


def test_a_recipe_that_has_not_run_has_no_card(ask: Ask, tmp_path: Path) -> None:
    result = ask("card", "--set", f"output={tmp_path / 'nothing'}")
    assert result.exit_code == 2 and "has no finished mix to describe" in result.output
