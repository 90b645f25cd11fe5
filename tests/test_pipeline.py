"""From a recipe to its stages. Run: pytest tests/test_pipeline.py"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dolma.cli.main import run
from dolma.config import dump_recipe, make_recipe, read_recipe
from dolma.data.manifest import read_manifest
from dolma.errors import ConfigError
from dolma.graph import graph_of
from dolma.pipeline import check, doubts, made_again, waits_for, write_recipe, writes_within_output

TOKENIZER = str(Path(__file__).parents[1] / "data" / "sample" / "tokenizer.json")


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A recipe file over two documents, with an output folder and these further keys."""

    def write(**values: object) -> Path:
        documents = tmp_path / "documents" / "a.jsonl"
        documents.parent.mkdir(exist_ok=True)
        lines = [{"id": str(i), "text": "one two three " * (i + 1)} for i in range(3)]
        documents.write_text("".join(json.dumps(line) + "\n" for line in lines))
        path = tmp_path / "recipe.yaml"
        defaults = {"documents": [str(documents)], "output": str(tmp_path / "out")}
        path.write_bytes(msgspec.yaml.encode(defaults | values))
        return path

    return write


STAGES: dict[str, dict[str, object]] = {
    "tag": {"taggers": ["length"]},
    "dedupe": {"by": "text"},
    "mix": {"keep": ["length.words > 3"], "drop": ["dedupe.duplicate"]},
    "tokenize": {"tokenizer": TOKENIZER},
    "stat": {},
}


# --- a resolved recipe ------------------------------------------------------------------------------------------------


def test_a_resolved_recipe_reads_back_equal(recipe: Callable[..., Path], tmp_path: Path) -> None:
    found = read_recipe(str(recipe(**STAGES)))
    (tmp_path / "resolved.yaml").write_bytes(dump_recipe(found))
    assert read_recipe(str(tmp_path / "resolved.yaml")) == found


def test_the_quickstart_reads_back_equal(tmp_path: Path) -> None:
    found = read_recipe(str(Path(__file__).parents[1] / "configs" / "quickstart.yaml"))
    (tmp_path / "resolved.yaml").write_bytes(dump_recipe(found))
    assert read_recipe(str(tmp_path / "resolved.yaml")) == found


# --- what can be seen to be wrong before data is read ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tag": {"taggers": ["lenght"]}}, "no tagger 'lenght'; did you mean 'length'?"),
        ({**STAGES, "mix": {"keep": ["length.words"]}}, r"\$\.mix\.keep\[0\].* expected BOOLEAN"),
        ({**STAGES, "mix": {"drop": ["dedupe.duplcate"]}}, r"\$\.mix\.drop\[0\].*\n.*did you mean 'dedupe.duplicate'"),
        ({**STAGES, "mix": {"spans": [{"attribute": "length.words"}]}}, "is int, expected spans"),
        ({"tokenize": {"tokenizer": "no-such.json"}}, r"no-such\.json"),
        ({"train": {"model": "olmo2_quickstrat"}}, "did you mean 'olmo2_quickstart'"),
        (
            {"train": {"sources": {"a": {"tokens": "tests/dta", "share": 1}}}},
            r"\$\.train\.sources\.a\.tokens: no such folder of token shards: tests/dta\n  did you mean 'data'",
        ),
        ({"documents": ["nowhere/*.jsonl"], "stat": {}}, r"no document file matches 'nowhere/\*\.jsonl'"),
    ],
)
def test_a_wrong_recipe_is_refused(recipe: Callable[..., Path], values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(graph_of(read_recipe(str(recipe(**values)))))


def test_a_right_recipe_is_not(recipe: Callable[..., Path]) -> None:
    check(graph_of(read_recipe(str(recipe(**STAGES)))))


def test_a_misspelt_source_is_found_before_anything_is_tagged(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path.name
    path = recipe(**(STAGES | {"mix": {"sources": {source[:-1] + "x": {"repeat": 2}}}}))
    assert run(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"no document of the corpus is of this source\n  did you mean '{source}'?" in said
    assert not (tmp_path / "out").exists()


def test_a_source_without_a_share_is_found_before_anything_is_tagged(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(**(STAGES | {"mix": {"sources": {tmp_path.name: {"share": 1.0}}}}))
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        out.write('{"id": "more", "text": "one two", "source": "web"}\n')
    assert run(["run", str(path)]) == 2
    assert "source 'web' has no share, but other sources have\n  give it one" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_source_that_the_first_documents_lack_is_said_to_be_left_out_by_the_limit(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(**(STAGES | {"mix": {"sources": {"web": {"repeat": 2}}}}))
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        out.write('{"id": "more", "text": "one two", "source": "web"}\n')
    assert run(["run", str(path), "--limit", "2"]) == 2
    said = capsys.readouterr().err
    assert "$.mix.sources.web: of the first 2 documents, which `limit` leaves, none is of this source\n" in said
    assert "  raise `limit`" in said
    assert not (tmp_path / "out").exists()
    assert run(["run", str(path)]) == 0


def test_what_no_beginning_of_a_file_tells_is_found_after_the_first_pass(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(**(STAGES | {"mix": {"sources": {"late": {"repeat": 2}, "nowhere": {"repeat": 2}}}}))
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        for i in range(1500):
            out.write(json.dumps({"id": f"long-{i}", "text": "word " * 1000}) + "\n")
        out.write(json.dumps({"id": "late", "text": "one two three", "source": "late"}) + "\n")
    assert len(doubts(graph_of(read_recipe(str(path))))) == 2
    assert run(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert "warning: $.mix.sources.late: no folder of documents is called so" in said
    assert "error: $.mix.sources.nowhere: no document of the corpus is of this source" in said
    assert (tmp_path / "out" / "attributes" / "length" / "_manifest.json").exists()
    assert not (tmp_path / "out" / "attributes" / "dedupe").exists()


def test_a_share_that_no_rule_could_leave_enough_for_is_found_after_the_first_pass(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = {"unit": "documents", "sources": {tmp_path.name: {"share": 1.0}}, "total": 9}
    assert run(["run", str(recipe(**(STAGES | {"mix": mix})))]) == 2
    assert "has 3 documents of 84 bytes before the rules, 3 documents at `max_repeat: 1`" in capsys.readouterr().err
    assert not (tmp_path / "out" / "attributes" / "dedupe").exists()


def test_a_mix_of_its_own_knows_the_sources_from_its_attributes(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(**(STAGES | {"mix": STAGES["mix"] | {"drop": [], "sources": {"nowhere": {"repeat": 2}}}}))
    assert run(["tag", "-c", str(path)]) == 0
    assert run(["mix", "-c", str(path), "--dry-run"]) == 2
    assert "$.mix.sources.nowhere: no document of the corpus is of this source" in capsys.readouterr().err


# --- runs ------------------------------------------------------------------------------------------------------------


def test_what_a_stage_waits_for(recipe: Callable[..., Path]) -> None:
    path = recipe(**STAGES)
    graph = graph_of(read_recipe(str(path)))
    waiting = {"mix": ["tag", "dedupe"], "tokenize": ["mix"], "stat": ["tag", "dedupe", "tokenize"]}
    assert {node.name: before for node in graph if (before := waits_for(graph, node))} == waiting
    assert run(["tag", "-c", str(path)]) == 0
    assert waits_for(graph, graph["mix"]) == ["dedupe"]
    assert run(["run", str(path)]) == 0
    assert [waits_for(graph, node) for node in graph] == [[], [], [], [], []]


def test_a_run_and_its_single_commands_write_the_same(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(**STAGES)
    (tmp_path / "whole").mkdir()
    assert run(["run", str(path)]) == 0
    whole = outputs(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "kept")
    for stage in STAGES:
        assert run([stage, "-c", str(path)]) == 0
    assert outputs(tmp_path / "out") == whole


def outputs(folder: Path) -> dict[str, bytes]:
    """What lies below a folder, recipes and what is remembered of inputs left aside."""
    left_out = ("recipe.yaml", "_recipe.yaml", ".inputs.json")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in left_out]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_ends_at_the_first_stage_that_fails(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(**STAGES)
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        out.write("no JSON\n")
    assert run(["run", str(path)]) == 3
    assert not (tmp_path / "out" / "mixed").exists()
    assert run(["run", str(path), "--on-error", "skip"]) == 4
    assert not (tmp_path / "out" / "mixed").exists()


def test_a_run_may_leave_out_as_many_records_as_allowed(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(**STAGES)
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        out.write("no JSON\n")
    assert run(["run", str(path), "--on-error", "skip", "--max-errors", "1"]) == 0
    manifest = read_manifest(str(tmp_path / "out" / "tokens"))
    assert manifest is not None
    assert manifest.ledger["accounts"][tmp_path.name]["taken"]["documents"] == 2


def test_a_deleted_output_is_made_again_and_nothing_else(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(**STAGES)
    assert run(["run", str(path)]) == 0
    before = outputs(tmp_path / "out")
    gone = tmp_path / "out" / "attributes" / "length" / "a.jsonl.parquet"
    kept = tmp_path / "out" / "mixed" / "documents" / "a.jsonl.zst"
    written = kept.stat().st_mtime_ns
    gone.unlink()
    assert run(["run", str(path)]) == 0
    assert outputs(tmp_path / "out") == before
    assert kept.stat().st_mtime_ns == written


# --- what a run may replace ------------------------------------------------------------------------------------------


def test_a_new_folder_is_ours_and_gets_the_recipe(tmp_path: Path) -> None:
    found = make_recipe({"output": str(tmp_path / "out")})
    assert write_recipe(found)
    assert read_recipe(str(tmp_path / "out" / "recipe.yaml")) == found


def test_a_folder_with_something_else_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert not write_recipe(make_recipe({"output": str(tmp_path)}))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_run_killed_while_it_wrote_its_recipe_leaves_the_folder_ours_and_no_trace(tmp_path: Path) -> None:
    left = tmp_path / "out" / ".recipe.yaml.4242-7.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    assert write_recipe(make_recipe({"output": str(left.parent)}))
    assert [path.name for path in left.parent.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [(None, True), ("out/attributes", True), ("./out/x/../a", True), ("shared", False), ("output", False)],
)
def test_attributes_outside_the_output_folder_are_not_ours(attributes: str | None, expected: bool) -> None:
    stages = {"tag": {"taggers": ["length"]}, "mix": {}}
    graph = graph_of(make_recipe({"output": "out", "attributes": attributes, **stages}))
    assert writes_within_output(graph["tag"]) is expected
    assert writes_within_output(graph["mix"])


def test_a_run_never_replaces_attributes_that_other_runs_may_use(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = str(tmp_path / "shared")
    values = {"attributes": shared, "dedupe": {"by": "text"}}
    assert run(["run", str(recipe(**values))]) == 0
    before = outputs(tmp_path / "shared")
    values["dedupe"] = {"by": "text", "min_words": 2}
    assert run(["run", str(recipe(**values))]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert outputs(tmp_path / "shared") == before


def test_a_run_replaces_its_own_outputs_of_other_settings(recipe: Callable[..., Path], tmp_path: Path) -> None:
    assert run(["run", str(recipe(dedupe={"by": "text"}))]) == 0
    assert run(["run", str(recipe(dedupe={"by": "text", "min_words": 2}))]) == 0
    manifest = read_manifest(str(tmp_path / "out" / "attributes" / "dedupe"))
    assert manifest is not None
    assert "min_words" in json.dumps(manifest.config)


def test_a_run_replaces_no_finished_mix_unasked(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", str(recipe(**STAGES))]) == 0
    before = outputs(tmp_path / "out")
    changed = STAGES | {"mix": STAGES["mix"] | {"keep": ["length.words > 6"]}}
    path = str(recipe(**changed))
    capsys.readouterr()
    assert run(["run", path]) == 2
    assert capsys.readouterr().err == (
        "error: finished outputs would be replaced\n"
        f'  mix, {tmp_path}/out/mixed: keep now lacks ["length.words > 3"] and has ["length.words > 6"]\n'
        f"  tokenize, {tmp_path}/out/tokens: its documents are mixed again\n"
        "  `--overwrite` replaces them; another `--output` keeps them\n"
    )
    assert run(["run", path, "--dry-run"]) == 0
    assert f"replaced: mix, {tmp_path}/out/mixed: keep now lacks" in capsys.readouterr().err
    assert outputs(tmp_path / "out") == before
    assert run(["run", path, "--overwrite"]) == 0
    assert "replaced: tokenize" in capsys.readouterr().err
    assert outputs(tmp_path / "out") != before


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dedupe": {"by": "text", "min_words": 2}}, "its attributes 'dedupe' are made again: min_words was 0, now 2"),
        (
            {"tag": {"taggers": [{"use": "length"}], "max_document_bytes": 99}},
            "'length' are made again: max_document",
        ),
        ({"on_error": "skip"}, 'on_error was "fail", now "skip"'),
    ],
)
def test_what_makes_a_mix_again_is_seen_before_anything_runs(
    recipe: Callable[..., Path], tmp_path: Path, changes: dict, why: str
) -> None:
    assert run(["run", str(recipe(**STAGES))]) == 0
    before = outputs(tmp_path / "out")
    path = str(recipe(**(STAGES | changes)))
    assert why in made_again(graph_of(read_recipe(path)))["mix"]
    assert run(["run", path]) == 2
    assert outputs(tmp_path / "out") == before


def test_attributes_of_a_finished_mix_stay_where_documents_have_changed_and_kept_their_size(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(recipe(**STAGES))
    assert run(["run", path]) == 0
    before = outputs(tmp_path / "out")
    documents = tmp_path / "documents" / "a.jsonl"
    documents.write_text(documents.read_text().replace("two", "six"))
    assert run(["run", path]) == 2
    assert "input 'a.jsonl' is changed\n  `--overwrite` " in capsys.readouterr().err
    assert outputs(tmp_path / "out") == before
    assert run(["run", path, "--overwrite"]) == 0
    assert outputs(tmp_path / "out") != before


def test_attributes_that_no_finished_mix_is_of_are_made_again(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = str(recipe(**STAGES))
    assert run(["run", path, "--only", "tag"]) == 0
    before = outputs(tmp_path / "out")
    documents = tmp_path / "documents" / "a.jsonl"
    documents.write_text(documents.read_text().replace("two", "six"))
    assert run(["run", path]) == 0
    assert outputs(tmp_path / "out") != before


def test_a_changed_document_makes_all_again(recipe: Callable[..., Path], tmp_path: Path) -> None:
    path = recipe(**STAGES)
    assert run(["run", str(path)]) == 0
    with (tmp_path / "documents" / "a.jsonl").open("a") as out:
        out.write(json.dumps({"id": "new", "text": "four more words here"}) + "\n")
    assert made_again(graph_of(read_recipe(str(path))))["mix"] == "input 'a.jsonl' changed"
    assert run(["run", str(path)]) == 2
    assert run(["run", str(path), "--overwrite"]) == 0


def test_one_tagger_more_replaces_nothing(recipe: Callable[..., Path]) -> None:
    assert run(["run", str(recipe(**STAGES))]) == 0
    assert run(["run", str(recipe(**(STAGES | {"tag": {"taggers": ["length", "compression"]}})))]) == 0


def test_a_first_and_a_second_run_replace_nothing(recipe: Callable[..., Path]) -> None:
    graph = graph_of(read_recipe(str(recipe(**STAGES))))
    assert made_again(graph) == {}
    assert run(["run", str(recipe(**STAGES))]) == 0
    assert made_again(graph) == {}
