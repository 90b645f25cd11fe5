"""What became of a document. Run: `pytest tests/lookup/test_why.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Ask


def stations(ask: Ask, *arguments: str) -> list[dict[str, Any]]:
    result = ask("why", *arguments, "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.out)
    return list(found)


def test_a_dropped_document_has_its_rule_and_the_value(ask: Ask) -> None:
    (raw,) = stations(ask, "short")
    (verdict,) = raw["verdicts"]
    assert verdict["reason"] == "rules"
    assert verdict["fired"] == [{"rule": "size: words", "sql": "length.words > 5", "values": {"length.words": 2}}]


def test_a_copy_has_the_document_that_is_kept(ask: Ask, tmp_path: Path) -> None:
    (raw,) = stations(ask, "copy")
    (copies,) = raw["copies"]
    assert copies["kept_id"] == "keep" and copies["kept_at"] == f"{tmp_path}/web/documents/a.jsonl:1"
    assert [fired["rule"] for fired in raw["verdicts"][0]["fired"]] == ["drop: exact.duplicate"]


def test_a_kept_document_is_found_by_its_id_though_that_looks_like_a_place(command: Ask, tmp_path: Path) -> None:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    path.parent.mkdir(parents=True)
    documents = [("a.jsonl:2", "one text"), ("other", "another"), ("copy", "one text")]
    path.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in documents))
    settings = {"documents": [str(path)], "output": str(tmp_path / "out"), "dedupe": [{"name": "exact"}]}
    (tmp_path / "r.json").write_text(json.dumps(settings))
    assert command("run", str(tmp_path / "r.json"), "--workers", "1").exit_code == 0
    result = command("why", "copy", "-c", str(tmp_path / "r.json"), "--json")
    (copies,) = json.loads(result.out)[0][0]["copies"]
    assert (copies["kept_id"], copies["kept_at"]) == ("a.jsonl:2", f"{path}:1")


def test_a_document_is_followed_through_both_copies_to_its_tokens(ask: Ask, tmp_path: Path) -> None:
    raw, first, second = stations(ask, "mail")
    mixed = f"{tmp_path}/out/mixed/documents/web/a.jsonl.zst"
    assert raw["verdicts"][0]["written"] == [f"{mixed}:3", f"{mixed}:4"]
    assert raw["verdicts"][0]["edits"] == 1
    assert [first["id"], second["id"]] == ["mail", "mail#2"]
    ends = [(one["tokens"][0]["start"], one["tokens"][0]["end"]) for one in (first, second)]
    assert len({end - start for start, end in ends}) == 1 and ends[0] != ends[1]


def test_file_and_line_name_a_document_too(ask: Ask, tmp_path: Path) -> None:
    by_line = stations(ask, f"{tmp_path}/web/documents/a.jsonl:2")
    assert by_line == stations(ask, "short") == stations(ask, "web/documents/a.jsonl:2")


def test_a_copy_that_only_the_mix_has_is_found_there(ask: Ask) -> None:
    (mixed,) = stations(ask, "mail#2")
    assert mixed["stage"] == "mix" and mixed["tokens"]


@pytest.mark.parametrize("shape", [{"shuffle": True}, {"shuffle": True, "parts": 2}])
def test_shuffled_documents_are_found(ask: Ask, shape: dict[str, Any]) -> None:
    options = [part for key, value in shape.items() for part in ("--set", f"mix.{key}={json.dumps(value)}")]
    # Another mix than the finished one: its own folder.
    result = ask("mix", *options, "--overwrite", "--workers", "1")
    assert result.exit_code == 0, result.output
    raw, *mixed = stations(ask, "mail", *options)
    assert {one["id"] for one in mixed} == {"mail", "mail#2"}
    assert raw["verdicts"][0]["copies"] == 2


def test_an_absent_id_ends_with_near_ones(ask: Ask) -> None:
    result = ask("why", "shorts")
    assert result.exit_code == 2
    assert "no document of this corpus has the id 'shorts'\n  did you mean short?" in result.output


def test_what_has_not_run_is_said(ask: Ask, tmp_path: Path) -> None:
    import shutil

    shutil.rmtree(tmp_path / "out" / "tokens")
    shutil.rmtree(tmp_path / "out" / "mixed")
    (raw,) = stations(ask, "keep")
    assert raw["verdicts"] == [] and raw["attributes"]["length"]["words"] == 13
    assert raw["unknown"][0].startswith("mix has not decided on it")


def test_a_training_run_that_is_not_there_is_said_on_one_line(ask: Ask) -> None:
    result = ask("why", "keep", "--set", "train={model: olmo2_quickstart, steps: 2}")
    assert result.exit_code == 0, result.output
    assert "has no checkpoint: give the folder of a training run; " in result.output and "\\n" not in result.output


def test_attributes_of_other_documents_are_refused(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "web" / "documents" / "a.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("".join(line + "\n" for line in lines[1:]))
    result = ask("why", "short")
    assert result.exit_code == 3
    assert "it is of other documents: run the stage that wrote it again" in result.output


def test_an_index_changes_no_verdict_of_verify_and_no_stage_runs_again(ask: Ask, recipe: Path) -> None:
    stations(ask, "mail")
    assert ask("verify", str(recipe.parent / "out")).exit_code == 0
    again = ask("run", str(recipe), "--workers", "1")
    assert again.exit_code == 0 and "nothing to do: every stage is complete" in again.output


def test_a_hostile_id_does_nothing_to_the_terminal(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "web" / "documents" / "b.jsonl"
    path.write_text(
        json.dumps({"id": "x\u001b[2J\u202e", "text": "\u001b]0;title\u0007 text", "source": "[bold]"}) + "\n"
    )
    for command in ("why", "show"):
        result = ask(command, f"{path}:1")
        assert result.exit_code == 0
        assert not {"\x1b", "\u202e", "\x07"} & set(result.output)
        assert "x\\x1b[2J\\u202e" in result.output


def test_more_documents_of_one_id_than_are_shown_are_said(command: Ask, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "one", "text": "x"}\n' * 21)
    assert (
        "more documents have the id 'one': these are the first 20"
        in command("show", "one", "--documents", str(path)).output
    )
