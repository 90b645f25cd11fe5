"""Recipes, flags over recipes, and what is refused before any data is read. Run: pytest tests/cli/test_options.py"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from dolma.cli.options import _split, parse_assignment
from dolma.errors import ConfigError
from dolma.runner.options import shard_of
from dolma.runner.report import StageReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Dolma

NOWHERE = "nowhere/documents/*.jsonl"


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A recipe file with these keys."""

    def write(**values: object) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


def documents(corpus: Path) -> str:
    return f"{corpus}/*/documents/*.jsonl"


# --- recipe ----------------------------------------------------------------------------------------------------------


def test_the_recipe_may_be_named_before_the_command(dolma: Dolma, corpus: Path, recipe: Callable[..., Path]) -> None:
    path = recipe(documents=[documents(corpus)], tag={"taggers": ["length"]})
    assert dolma("-c", path, "tag").status == 0
    assert (corpus / "books" / "attributes" / "length" / "a.jsonl.parquet").exists()


def test_the_recipe_may_be_named_after_the_command(dolma: Dolma, corpus: Path, recipe: Callable[..., Path]) -> None:
    path = recipe(documents=[documents(corpus)], tag={"taggers": ["length"]})
    assert dolma("tag", "-c", path).status == 0


def test_the_same_recipe_may_be_named_twice(dolma: Dolma, corpus: Path, recipe: Callable[..., Path]) -> None:
    path = recipe(documents=[documents(corpus)], tag={"taggers": ["length"]})
    assert dolma("-c", path, "tag", "-c", path).status == 0


def test_two_recipes_are_refused(dolma: Dolma, recipe: Callable[..., Path]) -> None:
    ended = dolma("-c", recipe(), "tag", "-c", "other.yaml")
    assert ended.status == 2
    assert "two recipes" in ended.err
    assert "other.yaml" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --tokens A --tokens B", "--tokens is given twice: A, B\n  several folders are `sources` in a recipe"),
        ("train --tokens A plan --tokens B recipe.yaml", "--tokens is given twice: A, B"),
        ("mix --attributes A --attributes A", "--attributes is given twice: A, A\n  give one of them"),
        ("dedupe --by link --by body", "--by is given twice: link, body"),
        ("stat --on-error skip --on-error fail", "--on-error is given twice: skip, fail"),
        ("mix --seed 1 --seed=2 --seed 3", "--seed is given 3 times: 1, 2, 3"),
        ("tag -c a.yaml -c b.yaml", "--config is given twice: a.yaml, b.yaml"),
        ("-c a.yaml -c b.yaml tag", "--config is given twice: a.yaml, b.yaml"),
        ("tokenize --shuffle --no-shuffle", "--shuffle and --no-shuffle are both given\n  give one of them"),
        ("mix --set seed=1 --set seed=2", "`seed` is given twice: 1, 2\n  give one of them, by its option or by --set"),
        ("mix --seed 1 --set seed=2", "`seed` is given twice: 1, 2"),
    ],
)
def test_a_second_value_does_not_win_over_the_first(dolma: Dolma, arguments: str, said: str) -> None:
    ended = dolma(*arguments.split())
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


def test_an_option_of_a_switch_may_be_given_again(dolma: Dolma, corpus: Path) -> None:
    assert dolma("stat", "--documents", documents(corpus), "-q", "-q", "--dry-run", "--dry-run").status == 0


def test_run_takes_its_recipe_as_argument_or_option(dolma: Dolma, recipe: Callable[..., Path]) -> None:
    path = recipe(documents=[NOWHERE])
    by_argument, by_option = dolma("run", path), dolma("run", "-c", path)
    assert by_argument == by_option
    assert "the recipe has no stage" in by_argument.err
    assert "two recipes" in dolma("run", path, "-c", "other.yaml").err


def test_run_without_an_output_folder_is_refused(dolma: Dolma, recipe: Callable[..., Path], corpus: Path) -> None:
    ended = dolma("run", recipe(documents=[documents(corpus)], stat={}))
    assert ended.status == 2
    assert "the recipe names no output folder" in ended.err
    assert "--output DIR" in ended.err


def test_a_recipe_that_is_not_there(dolma: Dolma) -> None:
    ended = dolma("tag", "-c", "no-such.yaml")
    assert ended.status == 2
    assert "no-such.yaml: cannot read the recipe: No such file or directory" in ended.err


def test_a_recipe_that_is_no_yaml_names_the_line(dolma: Dolma, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\ndocuments: [a\ntag: {taggers: [length]}\n")
    ended = dolma("tag", "-c", path)
    assert ended.status == 2
    assert f"{path}:3: not valid YAML" in ended.err


def test_a_key_given_twice_is_refused(dolma: Dolma, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\nseed: 2\n")
    ended = dolma("tag", "-c", path)
    assert ended.status == 2
    assert "the key 'seed' stands twice" in ended.err


# Keys are checked before documents are looked for: `NOWHERE` matches nothing, and no message says so.
WRONG = {
    "unknown key": ({"tagg": {}}, "$.tagg: unknown key\n  did you mean 'tag'?"),
    "unknown key of a stage": ({"mix": {"keeep": []}}, "$.mix.keeep: unknown key\n  did you mean 'keep'?"),
    "unknown key in a list": (
        {"mix": {"spans": [{"attribute": "pii.email", "replac": "x"}]}},
        "$.mix.spans[0].replac: unknown key\n  did you mean 'replace'?",
    ),
    "unknown key of a source": ({"mix": {"sources": {"a": {"shar": 1}}}}, "$.mix.sources.a.shar: unknown key"),
    "wrong type": ({"seed": "one"}, "$.seed"),
    "wrong type in a list": ({"mix": {"keep": [1]}}, "$.mix.keep[0]"),
    "not one of": ({"mix": {"missing": "ignore"}}, "$.mix.missing"),
    "no tagger": ({"tag": {"taggers": []}}, "`taggers` is empty"),
    "experiment without its format": (
        {"tag": {"taggers": ["length"], "experiment": "x"}},
        "`attributes_format: dolma1`",
    ),
    "share above 1": ({"mix": {"sources": {"a": {"share": 2}}}}, "`share` is 2"),
    "format": ({"mix": {"format": "csv"}}, "`format` is 'csv'"),
    "two dedupes of a name": ({"dedupe": [{"by": "text"}, {"by": "paragraphs"}]}, "are called 'dedupe'"),
    "documents under another mode": ({"dedupe": {"paragraphs": {"x": 1}}}, "$.dedupe.paragraphs: unknown key"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_recipe_is_refused_before_data_is_looked_for(
    dolma: Dolma, recipe: Callable[..., Path], kind: str
) -> None:
    values, message = WRONG[kind]
    path = recipe(documents=[NOWHERE], **values)
    ended = dolma("run", path, "--output", "never")
    assert ended.status == 2
    assert f"error: {path}:" in ended.err
    assert message in ended.err
    assert "nowhere" not in ended.err


def test_a_rule_over_an_unknown_attribute_stops_a_run_before_anything_is_tagged(
    dolma: Dolma, recipe: Callable[..., Path], corpus: Path
) -> None:
    path = recipe(
        documents=[documents(corpus)],
        output=str(corpus / "out"),
        tag={"taggers": ["length"]},
        mix={"keep": ["length.wrds > 1"]},
    )
    ended = dolma("run", path)
    assert ended.status == 2
    assert "$.mix.keep[0]" in ended.err
    assert "did you mean 'length.words'?" in ended.err
    assert not (corpus / "out" / "attributes").exists()


# --- flags -----------------------------------------------------------------------------------------------------------


def test_a_flag_overrides_one_key_and_leaves_the_others(
    dolma: Dolma, corpus: Path, recipe: Callable[..., Path]
) -> None:
    path = recipe(
        documents=[documents(corpus)],
        attributes=str(corpus / "a"),
        dedupe={"by": "text", "name": "exact", "min_words": 3},
    )
    assert dolma("dedupe", "-c", path, "--min-words", "5").status == 0
    written = yaml.safe_load((corpus / "a" / "exact" / "_recipe.yaml").read_text())
    assert written["dedupe"]["min_words"] == 5
    assert written["dedupe"]["name"] == "exact"


def test_set_overrides_any_key(dolma: Dolma, corpus: Path) -> None:
    ended = dolma(
        "tag", "--set", "tag.taggers=[length, pii]", "--set", f"documents=['{documents(corpus)}']",
        "--set", f"attributes={corpus / 'a'}",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert sorted(path.name for path in (corpus / "a").iterdir()) == ["length", "pii"]


def test_set_of_an_unknown_key_is_refused(dolma: Dolma) -> None:
    ended = dolma("tag", "--set", "tag.tager=[length]")
    assert ended.status == 2
    assert "$.tag.tager: unknown key\n  did you mean 'taggers'?" in ended.err


@pytest.mark.parametrize("text", ["mix.missing", "=drop", ""])
def test_set_without_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        parse_assignment(text)


def test_set_reads_yaml(dolma: Dolma) -> None:
    assert parse_assignment("mix.sources={a: {repeat: 1.5}}") == {"mix.sources": {"a": {"repeat": 1.5}}}
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_assignment("mix.keep=[a")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_of_n_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected I/N with 1 <= I <= N"):
        shard_of(text)


def test_parts_of_a_run_finish_it_together(dolma: Dolma, corpus: Path) -> None:
    arguments = ("tag", "-t", "length", "--documents", documents(corpus), "--attributes", corpus / "a")
    for i in (1, 2):
        assert dolma(*arguments, "--shard", f"{i}/2", "--no-wait").status == 5
        assert not (corpus / "a" / "length" / "_manifest.json").exists()
    assert dolma(*arguments, "--shard", "1/2").status == 0
    assert (corpus / "a" / "length" / "_manifest.json").exists()


def test_a_command_without_what_it_needs_says_which_flags(dolma: Dolma) -> None:
    ended = dolma("tag")
    assert ended.status == 2
    assert "nothing says what to tag\n  give --taggers and --documents, or `-c` a recipe with `tag:`" in ended.err


def test_a_command_without_what_it_needs_leaves_out_the_flags_that_are_given(dolma: Dolma) -> None:
    ended = dolma("train", "--tokens", "runs/a/tokens")
    assert ended.status == 2
    assert "nothing says what to train\n  give --model and --output, or `-c` a recipe with `train:`" in ended.err


def test_a_command_without_documents_says_which_flag(dolma: Dolma) -> None:
    ended = dolma("tag", "-t", "length")
    assert ended.status == 2
    assert "no documents given" in ended.err
    assert "--documents" in ended.err


def test_a_pattern_without_the_word_documents_shows_the_path_that_it_tried(dolma: Dolma, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"id": "1", "text": "x"}\n')
    ended = dolma("tag", "-t", "length", "--documents", tmp_path / "texts" / "*.jsonl")
    assert ended.status == 2
    assert f"{tmp_path}/attributes/length would be a guess" in ended.err
    assert "--attributes DIR" in ended.err


def test_an_output_that_is_set_is_that_of_the_recipe(dolma: Dolma, recipe: Callable[..., Path], corpus: Path) -> None:
    path = recipe(documents=[documents(corpus)], output=str(corpus / "a"), mix={"keep": ["document.bytes > 1"]})
    assert dolma("mix", "-c", path).status == 0
    assert dolma("mix", "-c", path, "--set", f"output={corpus / 'b'}").status == 0
    assert dolma("mix", "-c", path, "--output", corpus / "c").status == 0
    assert all((corpus / folder / "manifest.json").exists() for folder in ("a/mixed", "b/mixed", "c"))


def test_mix_without_an_output_folder_says_so(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("mix", "--keep", "document.bytes > 1", "--documents", documents(corpus))
    assert ended.status == 2
    assert "--output DIR" in ended.err


def test_quarantine_without_a_folder_says_so(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tag", "-t", "length", "--documents", documents(corpus), "--on-error", "quarantine")
    assert ended.status == 2
    assert "--quarantine DIR" in ended.err


@pytest.mark.parametrize("stage", ["stat", "dedupe"])
def test_stat_and_dedupe_need_nothing_but_documents(dolma: Dolma, corpus: Path, stage: str) -> None:
    ended = dolma(stage, "--documents", documents(corpus))
    assert ended.status == 0, ended.err
    assert f"{stage}: 8 documents in" in ended.out


def test_an_exclude_that_leaves_nothing_out_is_said(dolma: Dolma, corpus: Path) -> None:
    arguments = ("stat", "--documents", documents(corpus), "--exclude", "b.jsonl", "--exclude", "c.jsnl")
    ended = dolma(*arguments)
    assert ended.status == 0
    assert "warning: --exclude 'c.jsnl' leaves nothing out" in ended.err
    assert "b.jsonl' leaves" not in ended.err


def test_names_may_be_given_in_one_word_or_several(dolma: Dolma, corpus: Path) -> None:
    arguments = ("tag", "-t", "length,gopher", "-t", "random_number_v1", "--documents", documents(corpus))
    assert dolma(*arguments, "--attributes", corpus / "a").status == 0
    assert {path.name for path in (corpus / "a").iterdir()} == {"length", "gopher", "random_number_v1"}


# --- dry runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["tag", "dedupe", "mix", "tokenize", "stat", "run", "train"])
def test_a_dry_run_touches_nothing(
    dolma: Dolma, corpus: Path, recipe: Callable[..., Path], snapshot: Callable[[Path], dict], stage: str
) -> None:
    tokenizer = Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json"
    path = recipe(
        documents=[documents(corpus)],
        output=str(corpus / "out"),
        tag={"taggers": ["length"]},
        dedupe={"by": "text"},
        mix={"keep": ["length.words > 3"], "drop": ["dedupe.duplicate"]},
        tokenize={"tokenizer": str(tokenizer)},
        train={"model": "olmo2_quickstart", "batch_size": 1, "sequence_length": 8},
        stat={},
    )
    if stage == "mix":
        assert dolma("tag", "-c", path).status == dolma("dedupe", "-c", path).status == 0
    if stage == "train":
        assert dolma("tokenize", "-c", path, "--set", "mix=null").status == 0
    before = snapshot(corpus)
    arguments = ["-c", path] if stage != "tokenize" else ["-c", path, "--set", "mix=null"]
    ended = dolma(stage, *arguments, "--dry-run")
    assert ended.status == 0, ended.err
    assert ": plan" in ended.out
    assert snapshot(corpus) == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--max-memory", "x"), "x is no size"),
        (("--max-memory", ""), " is no size"),
        (("--shard", "0/2"), "--shard 0/2: expected I/N"),
        (("--stall-after", "inf"), "stall_after is inf minutes"),
        (("--take-over", "3"), "take_over is 3, of 0 shards"),
    ],
)
def test_a_dry_run_of_a_run_refuses_what_the_run_would(
    dolma: Dolma, corpus: Path, recipe: Callable[..., Path], option: tuple[str, str], message: str
) -> None:
    path = recipe(documents=[documents(corpus)], output=str(corpus / "out"), tag={"taggers": ["length"]})
    ended = dolma("run", path, "--dry-run", *option)
    assert (ended.status, message in ended.err) == (2, True), ended.err


def test_numbers_of_an_evaluation_out_of_range(dolma: Dolma) -> None:
    ended = dolma("eval", "run", "--tokens", "a=tokens", "--length", str(1 << 63))
    assert ended.status == 2
    assert "`length` is 9223372036854775808, expected 2 to 16,777,216\n  give another number" in ended.err


def test_a_dry_run_of_mix_says_what_each_rule_drops(dolma: Dolma, corpus: Path) -> None:
    arguments = ("--documents", documents(corpus), "--attributes", corpus / "a")
    dolma("tag", "-t", "length", *arguments)
    ended = dolma("mix", "--keep", "length.words > 3", *arguments, "--output", corpus / "m", "--dry-run")
    assert "keep: length.words > 3" in ended.out
    rows = [line.split() for line in ended.out.splitlines() if line.startswith((" books", " web"))]
    assert [row for row in rows if row[1] == "in"] == [["books", "in", "4", "76"], ["web", "in", "4", "68"]]
    assert not (corpus / "m").exists()


def test_a_dry_run_of_a_run_says_what_waits_for_what(dolma: Dolma, corpus: Path, recipe: Callable[..., Path]) -> None:
    path = recipe(
        documents=[documents(corpus)],
        output=str(corpus / "out"),
        tag={"taggers": ["length"]},
        mix={"keep": ["length.words > 3"]},
        tokenize={"tokenizer": str(Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json")},
    )
    ended = dolma("run", path, "--dry-run")
    assert "mix: planned when tag is done" in ended.out
    assert "tokenize: planned when mix is done" in ended.out


def test_a_plan_has_one_row_per_tagger_however_many_files(dolma: Dolma, corpus: Path) -> None:
    ended = dolma(
        *("tag", "-t", "gopher", "-t", "length", "--documents", documents(corpus)),
        *("--attributes", corpus / "a", "--dry-run"),
    )
    rows = [line.split() for line in ended.out.splitlines() if line.startswith((" gopher ", " length "))]
    assert [(row[0], *row[-4:]) for row in rows] == [
        ("gopher", "2", "344", f"{corpus}/", f"{corpus}/a/gopher/"),
        ("length", "2", "344", f"{corpus}/", f"{corpus}/a/length/"),
    ]


def test_a_plan_as_json_has_the_whole_path_of_every_file(dolma: Dolma, corpus: Path) -> None:
    ended = dolma("tag", "-t", "gopher", "--documents", documents(corpus), "--dry-run", "--json")
    rows = json.loads(ended.out)["plan"]
    assert [(row["input"], row["output"]) for row in rows] == [
        (f"{corpus}/{name}", f"{corpus}/{source}/attributes/gopher/{file}.parquet")
        for name, source, file in (
            ("books/documents/a.jsonl", "books", "a.jsonl"),
            ("web/documents/b.jsonl", "web", "b.jsonl"),
        )
    ]


@pytest.mark.parametrize("stage", ["tag", "dedupe", "mix", "tokenize", "stat"])
def test_every_stage_prints_its_report_as_json(dolma: Dolma, corpus: Path, stage: str) -> None:
    more = {
        "tag": ["-t", "length"],
        "mix": ["--keep", "document.bytes > 1", "--output", corpus / "m"],
        "tokenize": [
            "--tokenizer",
            Path(__file__).parents[2] / "data" / "sample" / "tokenizer.json",
            "--output",
            corpus / "t",
        ],
    }
    ended = dolma(stage, "--documents", documents(corpus), *more.get(stage, []), "--json")
    assert ended.status == 0, ended.err
    shown = json.loads(ended.out)
    assert (shown["stage"], shown["complete_before"]) == (stage, False)
    assert set(shown) == {field.name for field in dataclasses.fields(StageReport)}


# --- the recipe beside the outputs -----------------------------------------------------------------------------------


def test_the_resolved_recipe_lies_beside_what_a_command_wrote(dolma: Dolma, corpus: Path) -> None:
    arguments = ("dedupe", "--documents", documents(corpus), "--attributes", corpus / "a", "--min-length", "2")
    assert dolma(*arguments).status == 0
    path = corpus / "a" / "dedupe" / "_recipe.yaml"
    values = yaml.safe_load(path.read_text())
    assert {key: value for key, value in values["dedupe"].items() if value is not None} == {
        "method": "exact", "by": "text", "name": "dedupe", "keep": "first", "max_removal": 0.9, "skip_empty": True,
        "min_length": 2, "min_words": 0, "attributes_format": "parquet",
    }  # fmt: skip
    assert values["on_error"] == "fail"


def test_the_resolved_recipe_reads_back_to_the_same_run(dolma: Dolma, corpus: Path) -> None:
    arguments = ("dedupe", "--documents", documents(corpus), "--attributes", corpus / "a")
    dolma(*arguments)
    ended = dolma("dedupe", "-c", corpus / "a" / "dedupe" / "_recipe.yaml")
    assert ended.status == 0, ended.err
    assert "nothing to do" in ended.out


def test_a_recipe_lost_to_a_kill_is_written_by_the_next_run(dolma: Dolma, corpus: Path) -> None:
    arguments = ("dedupe", "--documents", documents(corpus), "--attributes", corpus / "a")
    dolma(*arguments)
    path = corpus / "a" / "dedupe" / "_recipe.yaml"
    written = path.read_bytes()
    path.unlink()
    assert "nothing to do" in dolma(*arguments).out
    assert path.read_bytes() == written


# --- what is printed -------------------------------------------------------------------------------------------------


def test_stat_prints_tables(dolma: Dolma, corpus: Path) -> None:
    dolma("tag", "-t", "length", "--documents", documents(corpus), "--attributes", corpus / "a")
    ended = dolma("stat", "--documents", documents(corpus), "--attributes", corpus / "a")
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["total", "8", "144", "144", "28"] in rows
    assert any(row[:3] == ["length.words", "books", "4"] for row in rows)


def test_stat_prints_nothing_but_json_when_asked(dolma: Dolma, corpus: Path) -> None:
    found = json.loads(dolma("stat", "--documents", documents(corpus), "--json").out)["details"]
    assert found["total"]["documents"] == 8
    assert sorted(found["sources"]) == ["books", "web"]


def test_stat_without_an_output_folder_leaves_none(
    dolma: Dolma, corpus: Path, snapshot: Callable[[Path], dict]
) -> None:
    before = snapshot(corpus)
    ended = dolma("stat", "--documents", documents(corpus))
    assert ended.out.splitlines()[0] == "stat: 8 documents in, 8 out"
    assert snapshot(corpus) == before


def test_progress_is_shown_when_asked(dolma: Dolma, corpus: Path) -> None:
    arguments = ("tag", "-t", "length", "--documents", documents(corpus), "--attributes", corpus / "a")
    ended = dolma(*arguments, "--progress")
    assert ended.status == 0
    assert ended.out.count("\n") == 1


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--documents", "a.jsonl", "b.jsonl"], "the shell put 2 names in the place of a pattern: quote it, as in"),
        (["--taggers", "length", "gopher"], "repeat the option: `--taggers length --taggers gopher`"),
        (["mydata"], "documents are given by an option: `--documents 'mydata'`"),
        (["recipe.yaml"], "a recipe is given by an option: `-c recipe.yaml`"),
        (["--attributes", "my", "folder"], "--attributes takes one value; quote it if there are spaces"),
    ],
)
def test_words_too_many_are_explained(dolma: Dolma, arguments: list[str], hint: str) -> None:
    ended = dolma("tag", *arguments, "--dry-run")
    assert ended.status == 2
    assert hint in ended.err


def test_what_is_left_out_is_said_once(dolma: Dolma, corpus: Path) -> None:
    (corpus / "books" / "documents" / "state.json").write_text("{}")
    ended = dolma("stat", "--documents", corpus / "books", "--exclude", "nothing")
    assert ended.err.count(f"left out: 1 of Hugging Face's own ({corpus}/books/documents/state.json)\n") == 1
    assert ended.status == 0


def test_excluded_documents_are_not_read(dolma: Dolma, corpus: Path) -> None:
    (corpus / "books" / "documents" / "bad.json").write_text("{}")
    assert dolma("stat", "--documents", corpus / "books").status == 3
    ended = dolma("stat", "--documents", corpus / "books", "--exclude", "bad*")
    assert (ended.status, f"1 excluded ({corpus}/books/documents/bad.json)" in ended.err) == (0, True)


# --- outputs that lie below the documents ----------------------------------------------------------------------------


def test_the_attributes_beside_documents_are_none(dolma: Dolma, corpus: Path) -> None:
    for _ in range(2):
        ended = dolma("tag", "-t", "length", "--documents", corpus)
        assert (ended.status, ended.err.count("attributes/")) in ((0, 0), (0, 2)), ended.err
    assert "nothing to do" in ended.out


def test_attributes_in_a_folder_of_documents_are_none(dolma: Dolma, corpus: Path) -> None:
    for _ in range(2):
        ended = dolma("tag", "-t", "length", "--documents", corpus, "--attributes", corpus / "attr")
        assert ended.status == 0, ended.err
    assert "nothing to do" in ended.out
    assert dolma("stat", "--documents", corpus).status == 0


def test_a_run_may_write_below_its_documents(dolma: Dolma, corpus: Path, recipe: Callable[..., Path]) -> None:
    path = recipe(
        documents=[str(corpus)],
        output=str(corpus / "run"),
        tag={"taggers": ["length"]},
        mix={"keep": ["length.words >= 0"]},
        stat={},
    )
    for _ in range(2):
        ended = dolma("run", path)
        assert ended.status == 0, ended.err
    alone = dolma("stat", "--documents", corpus / "run" / "mixed")
    assert alone.status == 0, alone.err


def test_names_are_split_at_commas_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my,own.py").touch()
    given = ["gopher,mine.py,a/b.py:Tagger", "my,own.py", "my,own.py:Tagger"]
    assert _split(given) == ["gopher", "mine.py", "a/b.py:Tagger", "my,own.py", "my,own.py:Tagger"]
