"""`pytest tests/test_config.py`: recipes, and what is said about wrong ones."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dolma.config import DedupeConfig, Recipe, TagConfig, TaggerSpec, convert, dump_recipe, make_recipe, read_recipe
from dolma.errors import ConfigError

FULL: dict[str, Any] = {
    "documents": ["data/*/documents/*.gz"],
    "output": "runs/a",
    "attributes": "runs/a/attributes",
    "seed": 7,
    "workers": 2,
    "executor": "ray",
    "address": "auto",
    "on_error": "quarantine",
    "quarantine": "runs/a/bad",
    "max_errors": 3,
    "invalid_unicode": "error",
    "fields": {"text": "content", "id": "metadata.id", "source": "from"},
    "tag": {"taggers": ["length", {"use": "mine.py", "name": "mine", "options": {"k": [1, None, "ü"]}}]},
    "dedupe": [{"by": "text"}, {"by": "metadata.url", "name": "urls", "min_words": 5}],
    "mix": {
        "keep": ["length.words > 5 AND language.en >= 0.5"],
        "drop": ["dedupe.duplicate"],
        "missing": "drop",
        "spans": [{"attribute": "pii.email", "replace": "|||EMAIL|||", "min_score": 0.5}],
        "sources": {"books": {"share": 0.7, "max_repeat": 2.5}, "web pages": {"share": 0.3}},
        "unit": "documents",
        "total": 100,
        "min_length": 1,
        "attributes": ["length", "pii"],
        "format": ".parquet",
    },
    "tokenize": {"tokenizer": "t.json", "dtype": "uint32", "shuffle": False},
    "stat": {"bins": 5, "quantiles": [0.5]},
}


def wrong(values: dict[str, Any], **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_recipe(values, overrides, file="a.yaml")
    return str(caught.value)


# --- right ones ------------------------------------------------------------------------------------------------------


def test_a_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = make_recipe(FULL)
    path = tmp_path / "recipe.yaml"
    path.write_bytes(dump_recipe(recipe))
    assert read_recipe(str(path)) == recipe
    assert dump_recipe(read_recipe(str(path))) == dump_recipe(recipe)


def test_a_resolved_recipe_names_every_key() -> None:
    dumped = dump_recipe(Recipe()).decode()
    assert all(f"\n{key}:" in f"\n{dumped}" for key in Recipe.__struct_fields__)


def test_an_empty_file_is_an_empty_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# nothing yet\n")
    assert read_recipe(str(path)) == Recipe()


def test_flags_override_single_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("seed: 1\nmix:\n  missing: keep\n  min_length: 3\n")
    recipe = read_recipe(str(path), {"seed": 2, "mix.missing": "drop", "tag.taggers": ["length"]})
    assert (recipe.seed, recipe.tag) == (2, TagConfig(taggers=["length"]))
    assert recipe.mix is not None and (recipe.mix.missing, recipe.mix.min_length) == ("drop", 3)


def test_overriding_leaves_the_given_values_as_they_were() -> None:
    values = {"mix": {"missing": "keep"}}
    make_recipe(values, {"mix.missing": "drop", "seed": 2})
    assert values == {"mix": {"missing": "keep"}}


def test_a_flag_reaches_into_a_list_of_one() -> None:
    recipe = make_recipe({"dedupe": [{"name": "d"}]}, {"dedupe.by": "paragraphs"})
    assert recipe.dedupes == [DedupeConfig(name="d", by="paragraphs")]


def test_one_dedupe_section_or_several() -> None:
    assert make_recipe({}).dedupes == []
    assert make_recipe({"dedupe": {"by": "text"}}).dedupes == make_recipe({"dedupe": [{"by": "text"}]}).dedupes


def test_a_tagger_is_a_name_or_a_mapping() -> None:
    recipe = make_recipe({"tag": {"taggers": ["a", {"use": "b", "options": {"x": 1}}]}})
    assert recipe.tag == TagConfig(taggers=["a", TaggerSpec(use="b", options={"x": 1})])


def test_reading_a_recipe_loads_nothing_heavy() -> None:
    program = (
        "import sys, dolma.config as c; c.make_recipe({'seed': 1});"
        "print([m for m in ('numpy', 'numba', 'pyarrow', 'torch', 'duckdb') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# --- wrong keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taggers": []}, "a.yaml: $.taggers: unknown key\n  `taggers` belongs under `tag`: indent it there"),
        (
            {"steps": 3},
            "a.yaml: $.steps: unknown key\n  `steps` belongs under `train`: indent it there, or set `train.steps`",
        ),
        (
            {"stages": {"a": {"keep": []}}},
            "a.yaml: $.stages.a.keep: unknown key\n  `keep` belongs under `dedupe` or `mix`: indent it there, or set ",
        ),
        ({"sead": 1}, "a.yaml: $.sead: unknown key\n  did you mean 'seed'?"),
        (
            {"mix": {"sources": {"books": {"shere": 1}}}},
            "a.yaml: $.mix.sources.books.shere: unknown key\n  did you mean 'share'?",
        ),
        (
            {"mix": {"spans": [{"attribute": "a.b"}, {"atribute": "a.b"}]}},
            "a.yaml: $.mix.spans[1].atribute: unknown key\n  did you mean 'attribute'?",
        ),
        (
            {"tag": {"taggers": ["a", {"usee": "b"}]}},
            "a.yaml: $.tag.taggers[1].usee: unknown key\n  did you mean 'use'?",
        ),
        ({"dedupe": [{}, {"bye": "text"}]}, "a.yaml: $.dedupe[1].bye: unknown key\n  did you mean 'by'?"),
        ({"dedupe": {"bye": "text"}}, "a.yaml: $.dedupe.bye: unknown key\n  did you mean 'by'?"),
        ({"fields": {"zzz": "x"}}, "a.yaml: $.fields.zzz: unknown key\n  valid: id, source, text"),
        ({5: 1}, "a.yaml: $.5: unknown key\n  valid: "),
    ],
)
def test_unknown_keys_are_named_with_their_path(values: dict[str, Any], message: str) -> None:
    assert wrong(values).startswith(message)


def test_a_flag_with_an_unknown_key() -> None:
    assert wrong({}, **{"mix.mising": "drop"}).startswith("$.mix.mising: unknown key\n  did you mean 'missing'?")


# --- wrong values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": "x"}, '$.seed: expected a whole number, got the text "x"\n  write a whole number, such as 10'),
        ({"seed": -1}, "$.seed: `seed` is -1, expected 0 to 9223372036854775807"),
        ({"mix": {"keep": "a > 1"}}, '$.mix.keep: expected a list, got the text "a > 1"\n  write a list: ["a > 1"]'),
        ({"stat": {"quantiles": 0.5}}, "$.stat.quantiles: expected a list, got the number 0.5\n  write a list: [0.5]"),
        ({"documents": "data/*"}, '$.documents: expected a list, got the text "data/*"\n  write a list: ["data/*"]'),
        ({"mix": {"spans": {}}}, "$.mix.spans: expected a list, got a mapping\n  write a list: [...]"),
        (
            {"mix": {"sources": {"news": 2}}},
            "$.mix.sources.news: expected a mapping, got the number 2\n"
            "  write a mapping: `{share: ...}`, also max_repeat, repeat",
        ),
        ({"train": {"steps": "abc"}}, '$.train.steps: expected a whole number, got the text "abc"'),
        ({"output": ["a"]}, "$.output: expected a text, got a list\n  write one text, in quotes"),
        ({"mix": {"keep": ["a", 5]}}, "$.mix.keep[1]: expected a text, got the number 5"),
        (
            {"mix": {"sources": {"books": {"share": "half"}}}},
            '$.mix.sources.books.share: expected a number, got the text "half"',
        ),
        ({"mix": {"missing": "ignore"}}, "$.mix.missing: no value 'ignore' here; valid: drop, error, keep"),
        (
            {"tokenize": {"tokenizer": "t", "dtype": "uint8"}},
            "$.tokenize.dtype: no value 'uint8' here; ",
        ),
        ({"mix": [1]}, "$.mix: expected a mapping, got a list\n  write a mapping: `{keep: ...}`"),
        ({"tag": {}}, "$.tag: `taggers` is missing\n  add the key `taggers`: Tagger: a name from"),
        ({"tag": {"taggers": []}}, "$.tag.taggers: `taggers` is empty, expected at least one name; see `dolma list`"),
        ({"tag": {"taggers": [{"name": "x"}]}}, "$.tag.taggers[0]: `use` is missing\n  add the key `use`: "),
        ({"mix": {"sources": {"b": {"share": 2}}}}, "$.mix.sources.b.share: `share` is 2.0, expected 0 to 1"),
        (
            {"mix": {"sources": {"b": {"repeat": -1}}}},
            "$.mix.sources.b.repeat: `repeat` is -1, expected 0 to 1,000,000",
        ),
        (
            {"mix": {"spans": [{"attribute": "email"}]}},
            "$.mix.spans[0].attribute: `attribute` is 'email', expected `tagger.output`",
        ),
        ({"mix": {"format": "csv"}}, "$.mix.format: `format` is 'csv', expected a suffix "),
        (
            {"mix": {"format": ".jsonl/../../X.jsonl"}},
            "$.mix.format: `format` is '.jsonl/../../X.jsonl', expected a suffix ",
        ),
        (
            {"dedupe": {"name": "a/b"}},
            "$.dedupe.name: `name` 'a/b' has a separator of paths; expected a name without / ",
        ),
        (
            {"dedupe": {"name": "1st", "attributes_format": "dolma1"}},
            "$.dedupe.name: `name` '1st' begins with a digit, which the Dolma 1.x form does not allow",
        ),
        (
            {"tag": {"taggers": ["length"], "experiment": "4chan", "attributes_format": "dolma1"}},
            "$.tag.experiment: `experiment` '4chan' begins with a digit, which the Dolma 1.x form does not allow",
        ),
        ({"dedupe": {"min_words": -1}}, "$.dedupe.min_words: `min_words` is -1, expected 0 or more"),
        ({"dedupe": [{"by": "text"}, {"by": "x"}]}, "$: two `dedupe` sections are called 'dedupe'; give each a `name`"),
        ({"workers": 0}, "$.workers: `workers` is 0, expected at least 1"),
        ({"stat": {"bins": 0}}, "$.stat.bins: `bins` is 0, expected 1 to 100,000"),
        ({"stat": {"bins": 1 << 31}}, "$.stat.bins: `bins` is 2147483648, expected 1 to 100,000"),
        *(
            (
                {"mix": {"sources": {"a": {"repeat": odd}}}},
                f"$.mix.sources.a.repeat: `repeat` is {odd:g}, expected 0 to 1,000,000",
            )
            for odd in (-1.0, math.nan, math.inf, 1e7)
        ),
        *(
            (
                {"mix": {"spans": [{"attribute": "a.b", key: math.nan}]}},
                f"$.mix.spans[0].{key}: `{key}` is nan, expected",
            )
            for key in ("min_score", "max_score")
        ),
        ({"stat": {"quantiles": [0.5, 2]}}, "$.stat.quantiles: `quantiles` has 2.0, expected 0 to 1"),
        (
            {"tokenize": {"tokenizer": "t", "max_tokens_per_shard": 0}},
            "$.tokenize.max_tokens_per_shard: `max_tokens_per_shard` is 0, expected",
        ),
    ],
)
def test_wrong_values_are_named_with_their_path(values: dict[str, Any], message: str) -> None:
    assert wrong(values).startswith(f"a.yaml: {message}")


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"dedupe": [{}, {"name": "b"}]}, "dedupe.by", "$.dedupe: is a list, so `by` cannot be set in it by a flag"),
        ({"documents": ["a", "b"]}, "documents.x", "$.documents: is a list, so `x` cannot be set in it by a flag"),
        ({"seed": 1}, "seed.x.y", "$.seed: is a int, so `y` cannot be set in it by a flag"),
    ],
)
def test_a_flag_cannot_reach_into_what_has_no_keys(values: dict[str, Any], key: str, message: str) -> None:
    assert wrong(values, **{key: 1}) == f"a.yaml: {message}\n  give the whole of it in the recipe"


def test_values_without_a_file() -> None:
    with pytest.raises(ConfigError, match=r"^\$\.taggerz: unknown key"):
        convert({"taggerz": []}, TagConfig)


# --- wrong files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nmix: [\n", r":\d: not valid YAML: "),
        ("seed: 1\n  mix: 2\n", r":2: not valid YAML: mapping values are not allowed here"),
        ("seed: 1\nworkers: 2\nseed: 3\n", r":3: not valid YAML: the key 'seed' stands twice"),
        ("mix:\n  sources:\n    a: {share: 1}\n    a: {share: 0}\n", r":4: not valid YAML: the key 'a' stands twice"),
        ("- a\n- b\n", r": a recipe is a mapping of keys, this is a list"),
        ("just text\n", r": a recipe is a mapping of keys, this is a str"),
        ("seed: !!python/object:os.system 1\n", r":1: not valid YAML: !!python/object:os.system is not read here"),
        (
            'output: "a\\0b"\n',
            r":1: not valid YAML: a text has the character NUL, or half of .*\n  leave",
        ),
        ('seed: 1\nmix: {keep: ["\\ud800"]}\n', r":2: not valid YAML: a text has the character NUL, or half of a"),
        (
            'mix: {sources: {"\\udc80": {share: 1}}}\n',
            r":1: not valid YAML: a text has the character NUL, or half of a",
        ),
        ("mix:\n\tseed: 1\n", r":2: not valid YAML: found character .*\n  indent by spaces, not by tabs"),
        ("seed: 1\n---\nseed: 2\n", r":2: not valid YAML: but found another document\n  a recipe is one document"),
        ("seed: 1\noutput: \x1b[1m\n", r":2: not valid YAML: the character '\\x1b'\n  leave it out"),
        ("? [1]\n: 2\n", r":1: not valid YAML: a key is a sequence, expected a name"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml" + message):
        read_recipe(str(path))


def test_two_escapes_of_a_character_are_one_as_in_json(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text('output: "\\ud83d\\ude00"')
    assert read_recipe(str(path)).output == "\U0001f600"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"seed: \xff\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: cannot read the recipe: it is not UTF-8"):
        read_recipe(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml: cannot read the recipe: No such file or directory"):
        read_recipe(str(tmp_path / "a.yaml"))


def test_anchors_may_be_merged(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "mix:\n  sources:\n    a: &a {share: 0.5, max_repeat: 2}\n    b: &b {<<: *a, share: 0.25}\n    c: {<<: *b}\n"
    )
    mix = read_recipe(str(path)).mix
    assert mix is not None
    assert msgspec.to_builtins(mix.sources["b"]) == {"share": 0.25, "max_repeat": 2.0, "repeat": 1.0}


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return read_recipe(str(path))


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 40))
LONG_KEYS = (
    "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc:\n"
    + "".join(f"{' ' * i}? {'k' * 2_000}\n{' ' * i}:\n" for i in range(1, 60))
    + f"{' ' * 60}[{', '.join(['*b'] * 100)}]\n"
)
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 200,000 values, aliases followed"),
        (LONG_KEYS, "its keys are too long for how deep and how often they stand"),
        (MERGES, "more than 200,000 values, aliases followed"),
        ("documents: &a [*a]\n", "nested more than 64 deep, or an alias of what it stands in"),
        ("mix: &m\n  sources: {x: *m}\n", "nested more than 64 deep, or an alias of what it stands in"),
        ("seed: " + "[" * 10_000, "nested more than 64 deep"),
        ("seed: " + "{a: " * 10_000, "nested more than 64 deep"),
        ("seed: " + "9" * 5000, "has more than 64 bits"),
        ("seed: !!binary aGk=", "!!binary is not read here"),
        ("documents: !!set {a, b}", "!!set is not read here"),
        ("seed: !!int x", "invalid literal for int"),
        ("<<: 3\n", "`<<` takes a mapping, or a list of mappings"),
    ],
)
def test_what_yaml_can_do_to_a_reader_is_refused(text: str, message: str, tmp_path: Path) -> None:
    said = refused(tmp_path, text)
    assert said.startswith("a.yaml:") and message in said


def test_a_recipe_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it has more than 1,048,576 bytes"):
        read_recipe("/dev/zero")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: 2024-01-01", 'a.yaml:1: not valid YAML: `2024-01-01` is read as a date\n  quote it: "2024-01-01"'),
        ("output: 2024-99-99", "`2024-99-99` is read as a date"),
        ("seed: 1\nworkers: 010", "a.yaml:2: not valid YAML: `010` is read as a number of base 8\n  quote it"),
        ("workers: 1:30", "`1:30` is read as a number of base 60"),
        ("mix:\n  sources:\n    no: {share: 1}", 'a.yaml:3: not valid YAML: the key `no` is read as true or false'),
        ("mix: {sources: {2020: {share: 1}}}", 'the key `2020` is read as a number, expected a name\n  quote it'),
        ("seed: 1\ndocuments:\n- no", 'a.yaml:3: $.documents[0]: expected a text, got false\n  YAML reads `no` as'),
        ("output: on", "YAML reads `on` as true or false: quote it: \"on\""),
        ("output: 12", "YAML reads `12` as a number: quote it: \"12\""),
        ("documents: [~]", "YAML reads `~` as nothing: quote it: \"~\""),
        ("output: 1e3", "YAML reads `1e3` as a number: quote it: \"1e3\""),
        ("mix:\n  keep: []\n missing: drop", "a.yaml:3: not valid YAML: expected <block end>"),
        ("mix:\n  keep: []\n missing: drop", "indent the keys of one section by the same number of spaces"),
        ("mix:\n  keep:\n  - a\n  mising: drop", "a.yaml:4: $.mix.mising: unknown key"),
    ],
)  # fmt: skip
def test_a_value_that_yaml_reads_otherwise_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, text)


@pytest.mark.parametrize("text", ["documents: ['no']", "documents: [!!str no]", 'documents: ["no"]'])
def test_what_is_quoted_is_a_string(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text).documents == ["no"]


def test_plain_words_that_are_strings_stay_strings(tmp_path: Path) -> None:
    assert read(tmp_path, "documents: [y, n, e3, a-b, 08]").documents == ["y", "n", "e3", "a-b", "08"]


def test_a_flag_over_a_wrong_value_takes_its_place_away(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("mix: {missing: no}")
    with pytest.raises(ConfigError, match=r"^\$\.mix\.missing: expected a text, got the number 5"):
        read_recipe(str(path), {"mix.missing": 5})


def test_of_two_merged_mappings_the_first_one_wins(tmp_path: Path) -> None:
    mix = read(tmp_path, "mix:\n  sources:\n    a: {<<: [{share: 0.5}, {share: 1}], max_repeat: 3}\n").mix
    assert mix is not None
    assert msgspec.to_builtins(mix.sources["a"]) == {"share": 0.5, "max_repeat": 3.0, "repeat": 1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"processes": 3}, r"\$.processes: unknown key\n  did you mean 'workers'\?"),
        ({"destination": "x"}, r"\$.destination: unknown key\n  did you mean 'output'\?"),
        ({"work_dir": "x"}, r"\$.work_dir: unknown key\n  valid: address, attributes,"),
    ],
)
def test_a_key_of_another_tool_suggests_ours_or_none(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe(values)


@pytest.mark.parametrize("key", ["dedupe.by", "fields.text", "fields.id", "fields.source"])
@pytest.mark.parametrize("name", ['a"b', "metadata.a\\b", "a\x1b[31m"])
def test_a_field_that_no_decoder_takes_is_refused(key: str, name: str) -> None:
    with pytest.raises(ConfigError, match="has a quote, a backslash or a control character") as caught:
        make_recipe({}, {key: name})
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("key", ["documents", "exclude", "output", "attributes", "quarantine"])
def test_an_empty_path_is_refused(key: str) -> None:
    value = [""] if key in ("documents", "exclude") else ""
    with pytest.raises(ConfigError, match=f"`{key}` has an empty path; a variable of the shell may have no value"):
        make_recipe({key: value}, {})


@pytest.mark.parametrize(("text", "rate"), [("4e-4", 4e-4), ("1E3", 1000.0), ("+2.e+1", 20.0), (".5e-1", 0.05)])
def test_an_exponent_without_a_point_is_a_number(tmp_path: Path, text: str, rate: float) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"train: {{learning_rate: {text}}}\n")
    assert read_recipe(str(recipe), {}).train.learning_rate == rate


def test_a_quoted_number_with_an_exponent_is_a_text(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text('documents: ["4e-4"]\n')
    assert read_recipe(str(recipe), {}).documents == ["4e-4"]
