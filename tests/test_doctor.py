"""What a recipe needs. Run: pytest tests/test_doctor.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from dolma import requirements
from dolma.cli.main import run
from dolma.cli.terminal import show_findings
from dolma.config import make_recipe
from dolma.doctor import examine, try_place
from dolma.errors import ConfigError
from dolma.requirements import Finding, missing_of_extra

TAGGER = """
from dolma.data.columns import DocInt
from dolma.taggers.catalogue import Need

class Needy:
    \"\"\"Needs things.\"\"\"
    name, version, outputs = "needy", 1, {"n": DocInt("nothing")}
    needs = (%s,)
    def __call__(self, batch):
        raise AssertionError
"""


def recipe_with(tmp_path: Path, need: str, metadata: dict[str, object], **more: object):
    (tmp_path / "needy.py").write_text(TAGGER % need)
    (tmp_path / "documents").mkdir()
    record = {"id": "1", "text": "a", "source": "s", "metadata": metadata}
    (tmp_path / "documents/a.jsonl").write_text(json.dumps(record) + "\n")
    values = {"documents": [str(tmp_path / "documents/*.jsonl")], "tag": {"taggers": [str(tmp_path / "needy.py")]}}
    return make_recipe(values | more)


URL = 'Need(kind="metadata", name="metadata.url", get="give the field by `field`")'


def problems(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if not found.ok]


def test_a_field_that_is_there_is_no_problem(tmp_path: Path):
    found = examine(recipe_with(tmp_path, URL, {"url": "https://a.example"}))
    assert problems(found) == []
    assert any("metadata metadata.url" in one.what for one in found)


def test_a_field_that_is_absent_is_named_with_the_file_and_what_to_do(tmp_path: Path):
    (found,) = problems(examine(recipe_with(tmp_path, URL, {"title": "x"})))
    assert "metadata.url" in found.what and "a.jsonl" in found.what
    assert found.get == "give the field by `field`"


def test_another_field_that_does_as_well_is_no_problem(tmp_path: Path):
    need = URL.replace("get=", 'others=("metadata.href",), get=')
    assert problems(examine(recipe_with(tmp_path, need, {"href": "https://a.example"}))) == []


def test_a_missing_extra_comes_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(requirements, "_installed", lambda package: False)
    (found,) = problems(examine(recipe_with(tmp_path, 'Need(kind="extra", name="ray", get="")', {})))
    assert found.what.endswith("extra ray (ray)")
    assert found.get == "pip install 'dolma[ray]'"


def test_an_extra_that_nobody_declares_is_an_error():
    with pytest.raises(ConfigError, match="no extra 'rey'"):
        missing_of_extra("rey")


def test_every_extra_of_a_built_in_tagger_is_declared():
    from dolma.taggers.catalogue import catalogue

    extras = {need.name for entry in catalogue() for need in entry.needs if need.kind == "extra"}
    for extra in extras:
        missing_of_extra(extra)


def test_an_unknown_tagger_is_a_problem_and_the_rest_is_looked_at(tmp_path: Path):
    recipe = recipe_with(tmp_path, URL, {"url": "x"}, tokenize={"tokenizer": str(tmp_path / "none.json")})
    recipe = make_recipe(
        {
            "documents": recipe.documents,
            "tag": {"taggers": ["gophr", "length"]},
            "tokenize": {"tokenizer": str(tmp_path / "none.json")},
        }
    )
    found = examine(recipe)
    assert [one.what.split(":")[0] for one in problems(found)] == ["tagger gophr", f"tokenizer {tmp_path}/none.json"]
    assert any(one.what == "tagger length" and one.ok for one in found)


@pytest.mark.parametrize(
    ("tagger", "get"),
    [
        ("transformer", "--set 'tag.taggers=[{use: transformer, options: {path: ...}}]'"),
        ({"use": "transformer", "options": {"path": "fineweb-edu-classifier"}}, "dolma fetch fineweb-edu-classifier"),
        ({"use": "perplexity", "options": {"path": "kenlm-wikipedia-en"}}, "run `dolma fetch kenlm-wikipedia-en`"),
        ({"use": "perplexity", "options": {"path": "{here}/documents/a.jsonl"}}, "pip install 'dolma[perplexity]'"),
    ],
)
def test_a_model_that_is_missing_comes_with_what_gets_it(tmp_path: Path, monkeypatch, tagger, get):
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "kenlm", None)
    recipe = recipe_with(tmp_path, URL, {"url": "x"})
    given = json.loads(json.dumps(tagger).replace("{here}", str(tmp_path)))
    (found,) = problems(examine(make_recipe({"documents": recipe.documents, "tag": {"taggers": [given]}})))
    assert get in found.get


def test_no_documents_is_a_problem(tmp_path: Path):
    (found,) = problems(
        examine(make_recipe({"documents": [str(tmp_path / "*.jsonl")], "tag": {"taggers": ["length"]}}))
    )
    assert found.what == "documents"


def test_a_tokenizer_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    added = {"id": 9, "content": "</s>", "special": True, "normalized": False}
    added |= dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    model = {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1}, "unk_token": "<unk>"}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [added], "model": model}))
    (found,) = [one for one in examine(make_recipe({"tokenize": {"tokenizer": str(path)}})) if "tokenizer" in one.what]
    assert not found.ok and "the added token '</s>' is 9, tokenizers" in found.get


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    assert all(found.ok for found in try_place(str(tmp_path / "new")))
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_reading_only_is_named() -> None:
    found = {one.what.partition(" ")[0]: one for one in try_place("https://host.invalid/a")}
    assert [name for name, one in found.items() if one.ok] == []
    assert "it is for reading only" in found["write"].what
    assert found["write"].get == "give a local folder, s3://, gs:// or azure://"
    assert found["remove"].get == "first make writing work"


def test_where_everything_is_written(tmp_path: Path) -> None:
    values = {"output": str(tmp_path / "out"), "dedupe": {"name": "d"}, "quarantine": str(tmp_path / "bad")}
    said = [found.what for found in examine(make_recipe(values))]
    for folder in ("out", "bad"):
        (line,) = [one for one in said if f"goes to {tmp_path}/{folder}" in one]
        assert line.endswith(" GB free")
    assert any(one.startswith("memory: ") for one in said) and any(one.startswith("open files: ") for one in said)


def test_a_remote_place_that_was_not_tried_is_said_to_be_so() -> None:
    said = [found.what for found in examine(make_recipe({"output": "s3://bucket/out", "dedupe": {"name": "d"}}))]
    (line,) = [one for one in said if "goes to s3://" in one]
    assert line.endswith("; not tried: `dolma doctor s3://bucket/out/attributes` does")


def test_files_that_are_left_out_are_said(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    (tmp_path / "documents" / "b.jsonl").write_text('{"id": "2", "text": "b"}\n')
    found = examine(make_recipe({"documents": [f"{tmp_path}/documents/*"], "exclude": ["b.jsonl"]}))
    assert found[0].what.startswith("documents: 1 file; left out: 1 excluded (")


# --- settings ---------------------------------------------------------------------------------------------------------


def books(tmp_path: Path, **more: object):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.jsonl").write_text('{"id": "1", "text": "a", "source": "books"}\n')
    values = {"documents": [str(tmp_path / "books")], "output": str(tmp_path / "out"), "tag": {"taggers": ["length"]}}
    return make_recipe(values | more)


@pytest.mark.parametrize(
    ("more", "what", "get"),
    [
        ({"mix": {"keep": ["lenght.words > 3"]}}, "$.mix.keep[0]: no attribute 'lenght.words'", "did you mean"),
        ({"mix": {"keep": ["length.wordz > 3"]}}, "$.mix.keep[0]: no attribute 'length.wordz'", "did you mean"),
        ({"mix": {"sources": {"books": {"share": 0.5}}}}, "$.mix.sources: the shares add up to 0.5, expected 1", ""),
        ({"mix": {"sources": {"bookz": {"share": 1}}}}, "$.mix.sources.bookz: no document of the corpus", "'books'?"),
        ({"fields": {"id": "idd"}}, "documents", "did you mean 'id'?"),
    ],
)
def test_what_a_run_would_refuse_is_a_problem(tmp_path: Path, more: dict[str, object], what: str, get: str):
    (found,) = problems(examine(books(tmp_path, **more)))
    assert found.what.startswith(what) and get in found.get


def test_settings_that_fit_are_said_to(tmp_path: Path):
    found = examine(books(tmp_path, mix={"keep": ["length.words > 3"], "sources": {"books": {"share": 1}}}))
    assert problems(found) == []
    assert any(one.what.startswith("settings") for one in found)


def test_a_device_that_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch", reason="torch is not installed (dolma[train])")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    tokens = {"tokenize": {"tokenizer": "data/sample/tokenizer.json"}}
    train = {"model": "olmo2_quickstart", "steps": 1, "sequence_length": 8, "batch_size": 1, "device": "cuda"}
    (found,) = problems(examine(books(tmp_path, **tokens, train=train)))
    assert found.what == "train: device cuda" and found.get.startswith("take `device: cpu`")


@pytest.mark.parametrize("command", ["doctor", "verify"])
def test_a_recipe_may_stand_where_a_folder_does(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_bytes(msgspec.yaml.encode({"documents": ["nowhere/*.jsonl"], "output": "out"}))
    by_option, said_by_option = run([command, "-c", "recipe.yaml"]), capsys.readouterr()
    by_place, said_by_place = run([command, "recipe.yaml"]), capsys.readouterr()
    assert by_option == by_place != 0
    assert "nowhere" in said_by_place.out + said_by_place.err
    assert said_by_option.err == said_by_place.err
    assert run([command, "recipe.yaml", "-c", "other.yaml"]) == 2
    assert "two recipes" in capsys.readouterr().err


def test_advice_of_several_lines_is_lines(capsys: pytest.CaptureFixture[str]):
    show_findings([Finding(what="x", ok=False, get="one\n  two"), Finding(what="y", ok=False)])
    assert capsys.readouterr().out == "missing  x\n         one\n         two\nmissing  y\n"
