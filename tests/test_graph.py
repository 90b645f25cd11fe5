"""From a recipe to the graph of its stages. Run: pytest tests/test_graph.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dolma.config import Recipe, Sections, dump_recipe, make_recipe
from dolma.errors import ConfigError
from dolma.graph import corpus_of, graph_of, node_of, reading_of
from dolma.stages import PACKAGES, find_stage

# --- sections --------------------------------------------------------------------------------------------------------


def test_sections_run_in_one_order_whatever_the_order_of_the_recipe() -> None:
    values = {"stat": {}, "mix": {}, "tag": {"taggers": ["length"]}}
    assert [node.name for node in graph_of(make_recipe(values))] == ["tag", "mix", "stat"]


def test_every_section_has_a_stage_of_its_name() -> None:
    assert [find_stage(name).name for name in PACKAGES] == list(PACKAGES) == list(Sections.__struct_fields__)


def test_attributes_lie_in_the_output_folder_unless_said_otherwise() -> None:
    assert corpus_of(make_recipe({"output": "out"})).attributes == "out/attributes"
    assert corpus_of(make_recipe({"output": "out", "attributes": "there"})).attributes == "there"
    assert corpus_of(make_recipe({})).attributes is None


def test_tokenize_reads_the_mix_when_there_is_one() -> None:
    values = {"documents": ["d"], "output": "out", "tokenize": {"tokenizer": "t.json"}}
    assert graph_of(make_recipe(values))["tokenize"].dataset.documents == ("d",)
    node = graph_of(make_recipe(values | {"mix": {}}))["tokenize"]
    assert (node.dataset.documents, node.reads) == (("out/mixed/documents",), ("mix",))


def test_a_stage_that_writes_needs_an_output_folder() -> None:
    node = node_of(make_recipe({"mix": {}}), "mix")
    with pytest.raises(ConfigError, match="`mix` needs to know where to write\n  give `--output DIR`"):
        _ = node.folder


def test_quarantine_lies_in_the_output_folder_unless_said_otherwise() -> None:
    assert reading_of(make_recipe({"output": "out", "on_error": "quarantine"})).quarantine == "out/quarantine"
    with pytest.raises(ConfigError, match="give `--quarantine DIR`"):
        reading_of(make_recipe({"on_error": "quarantine"}))


@pytest.mark.parametrize("output", ["https://x.invalid/o", "hf://datasets/a/b", "ftp://x.invalid/o"])
@pytest.mark.parametrize("name", ["tag", "dedupe", "mix", "tokenize", "stat"])
def test_an_output_that_can_only_be_read_is_refused_without_asking_for_it(name: str, output: str) -> None:
    sections = {"tag": TAG["tag"], "tokenize": {"tokenizer": "t.json"}}
    values = {"documents": ["d"], name: sections.get(name, {})}
    with pytest.raises(ConfigError, match=f"{output}.*: cannot write there; it is for reading only\n  give a local"):
        node_of(make_recipe(values | {"attributes": output}), name, output=output)
    with pytest.raises(ConfigError, match="it is for reading only"):
        graph_of(make_recipe(values | {"output": output}))


def test_attributes_beside_documents_that_can_only_be_read_are_refused() -> None:
    values = {"documents": ["https://x.invalid/documents/a.jsonl"]}
    with pytest.raises(ConfigError, match="it is for reading only"):
        graph_of(make_recipe(values | TAG))
    assert graph_of(make_recipe(values | TAG | {"attributes": "there"}))["tag"].output == "there"


def test_a_quarantine_that_can_only_be_read_is_refused() -> None:
    values = {"on_error": "quarantine", "quarantine": "https://x.invalid/q"}
    with pytest.raises(ConfigError, match="it is for reading only"):
        graph_of(make_recipe(values | {"stat": {}}))


@pytest.mark.parametrize("output", ["there", "there/", "./there/length/x", "a/../there/x"])
@pytest.mark.parametrize("name", ["mix", "tokenize", "stat"])
def test_a_folder_of_attributes_is_no_output_folder(name: str, output: str) -> None:
    section = {"tokenizer": "t.json"} if name == "tokenize" else {}
    recipe = make_recipe({"documents": ["d"], "attributes": "there", name: section})
    with pytest.raises(ConfigError, match="cannot be an output folder: attributes lie in there\n  give another output"):
        node_of(recipe, name, output=output)


def test_a_folder_of_attributes_beside_documents_is_no_output_folder() -> None:
    recipe = make_recipe({"documents": ["books/documents/*.gz"], "mix": {}})
    with pytest.raises(ConfigError, match="attributes lie in books/attributes"):
        node_of(recipe, "mix", output="books/attributes")
    assert node_of(recipe, "mix", output="books/mixed").folder == "books/mixed"


# --- stages with names -----------------------------------------------------------------------------------------------

TAG = {"tag": {"taggers": ["length"]}}
TWO_PASSES = {
    "page": TAG,
    "clean": {"mix": {"keep": ["length.words > 1"]}, "attributes": ["page"]},
    "again": {"tag": {"taggers": ["compression"]}, "documents": "clean"},
    "final": {"mix": {}, "documents": "clean", "attributes": "again"},
    "shards": {"tokenize": {"tokenizer": "t.json"}, "documents": "final"},
}


def recipe_of(stages: dict[str, Any], **values: Any) -> Recipe:
    return make_recipe({"documents": ["d/*.jsonl"], "output": "out", "stages": stages, **values})


def test_stages_run_after_those_that_they_read_however_they_are_listed() -> None:
    backwards = dict(reversed(TWO_PASSES.items()))
    assert [node.name for node in graph_of(recipe_of(backwards))] == list(TWO_PASSES)


def test_a_stage_writes_to_its_name_and_reads_where_others_have_written() -> None:
    graph = graph_of(recipe_of(TWO_PASSES))
    assert [node.folder for node in graph] == [f"out/{name}" for name in TWO_PASSES]
    found = {node.name: (node.dataset.documents, node.dataset.attributes, node.reads) for node in graph}
    assert found == {
        "page": (("d/*.jsonl",), "out/page", ()),
        "clean": (("d/*.jsonl",), "out/page", ("page",)),
        "again": (("out/clean/documents",), "out/again", ("clean",)),
        "final": (("out/clean/documents",), "out/again", ("clean", "again")),
        "shards": (("out/final/documents",), None, ("final",)),
    }


def test_what_is_not_said_is_as_without_names() -> None:
    stages = {
        "page": TAG,
        "copies": {"dedupe": {}},
        "clean": {"mix": {}},
        "shards": {"tokenize": {"tokenizer": "t.json"}},
        "model": {"train": {"model": "olmo2_quickstart"}},
        "counts": {"stat": {}},
    }
    graph = graph_of(recipe_of(stages))
    assert {node.name: node.reads for node in graph if node.reads} == {
        "clean": ("page", "copies"),
        "shards": ("clean",),
        "model": ("shards",),
        "counts": ("page", "copies", "shards"),
    }
    assert (graph["clean"].dataset.attributes, graph["clean"].dataset.further) == ("out/page", ("out/copies",))
    assert (graph["model"].tokens, graph["counts"].tokens) == (("out/shards",), ("out/shards",))


def test_patterns_and_folders_stand_beside_names() -> None:
    stages = TWO_PASSES | {"more": {"mix": {}, "documents": ["final", "e/*.gz"], "attributes": ["./measured"]}}
    dataset = graph_of(recipe_of(stages))["more"].dataset
    assert (dataset.documents, dataset.attributes) == (("out/final/documents", "e/*.gz"), "./measured")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"a": {"mix": {}, "documents": "b"}, "b": {"mix": {}, "documents": "a"}}, r"\$\.stages: .*`a` reads `b`, `b`"),
        ({"a": {"mix": {}, "documents": "a"}}, r"\$\.stages: stages read each other in a circle: `a` reads `a`"),
        (
            TWO_PASSES | {"end": {"mix": {}, "documents": "fnal"}},
            r"\$\.stages\.end\.documents: no stage 'fnal'.*'final'",
        ),
        (
            TWO_PASSES | {"end": {"mix": {}, "attributes": ["again", "pge"]}},
            r"\$\.stages\.end\.attributes\[1\]: no stage 'pge'; did you mean 'page'",
        ),
        (
            TWO_PASSES | {"end": {"mix": {}, "documents": "page"}},
            r"\.end\.documents: 'page' writes attributes, expected",
        ),
        (TWO_PASSES | {"more": {**TAG, "attributes": "page"}}, r"\$\.stages\.more\.attributes: `tag` reads no attrib"),
        (TWO_PASSES | {"Page": TAG}, r"\$\.stages\.Page: would write to the folder of stage 'page'"),
        ({"quarantine": TAG}, r"\$\.stages\.quarantine: would write to the folder of `quarantine` of the recipe"),
        ({"a/b": TAG}, r"\$\.stages\.a/b: the name of a stage "),
        (
            {"one": {"mix": {}}, "two": {"mix": {}}, "end": {"tokenize": {"tokenizer": "t"}}},
            r"not say .*: one, two",
        ),
        ({"a": {"documents": "d/*"}}, r"\$\.stages\.a: a stage has one of tag, .*; this has none"),
        ({"a": TAG | {"mix": {}}}, r"\$\.stages\.a: a stage has one of .*; this has tag and mix"),
        ({"a": {"tag": {"tagers": []}}}, r"\$\.stages\.a\.tag\.tagers: unknown key\n  did you mean 'taggers'"),
    ],
)
def test_stages_that_cannot_be_are_refused_with_the_keys_path(stages: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        graph_of(recipe_of(stages))


@pytest.mark.parametrize("key", ["quarantine", "attributes"])
@pytest.mark.parametrize("folder", ["./o/clean", "o/../o/clean/bad", "{here}/o/CLEAN/", "link/clean"])
def test_other_folders_of_a_recipe_do_not_lie_in_that_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("o")
    given = {"output": "o", key: folder.format(here=tmp_path)}
    with pytest.raises(ConfigError, match=rf"\$\.{key}: \S+ is or lies in the folder of stage 'clean', o/clean\n"):
        graph_of(recipe_of(TWO_PASSES, **given))


def test_a_quarantine_does_not_lie_in_the_folder_of_a_stage_without_a_name(tmp_path: Path) -> None:
    given = {"output": str(tmp_path), "quarantine": f"{tmp_path}/mixed/bad"}
    with pytest.raises(ConfigError, match=r"\$\.quarantine: \S+ is or lies in the folder of stage 'mix', "):
        graph_of(make_recipe({"documents": ["d/*"], "mix": {}, **given}))


def test_sections_do_not_stand_beside_stages() -> None:
    with pytest.raises(ConfigError, match="has `stages` and, beside them, `mix`; make that one of the stages"):
        recipe_of(TWO_PASSES, mix={})


@pytest.mark.parametrize("spans", [[], [{"attribute": "page.spans"}]])
def test_attributes_of_other_documents_are_refused_with_the_name_of_the_stage(spans: list[dict[str, str]]) -> None:
    edited = {"clean": {"mix": {"spans": spans}, "attributes": "page"}}
    stages = TWO_PASSES | edited | {"final": {"mix": {}, "documents": "clean", "attributes": ["again", "page"]}}
    with pytest.raises(ConfigError) as caught:
        graph_of(recipe_of(stages))
    assert caught.value.path == "$.stages.final.attributes[1]"
    assert "`page` has not measured what `final` reads, the documents of `clean`" in str(caught.value)
    assert ("`clean` edits their text, and spans that were measured before do not fit it" in str(caught.value)) == bool(
        spans
    )


def test_a_resolved_recipe_with_stages_reads_back_equal() -> None:
    found = recipe_of(TWO_PASSES)
    assert make_recipe(yaml.safe_load(dump_recipe(found))) == found


# --- parts of a graph ------------------------------------------------------------------------------------------------


def test_a_run_may_begin_at_a_stage() -> None:
    graph = graph_of(recipe_of(TWO_PASSES | {"counts": {"stat": {}, "tokens": "./t"}}))
    assert [node.name for node in graph.beginning("again")] == ["again", "final", "shards"]
    assert [node.name for node in graph.beginning("clean")] == ["clean", "again", "final", "shards"]
    assert [node.name for node in graph.only(["final", "page"])] == ["page", "final"]
    with pytest.raises(ConfigError, match="no stage 'fnal'; did you mean 'final'"):
        graph.only(["fnal"])


def test_a_graph_is_drawn_as_a_tree() -> None:
    assert graph_of(recipe_of(TWO_PASSES)).draw() == [
        "tokenize shards -> out/shards",
        "└─ mix final -> out/final",
        "   ├─ mix clean -> out/clean",
        "   │  ├─ tag page -> out/page",
        "   │  │  └─ d/*.jsonl",
        "   │  └─ d/*.jsonl",
        "   └─ tag again -> out/again",
        "      └─ mix clean, see above",
    ]


def test_an_empty_output_of_a_command_is_refused() -> None:
    recipe = make_recipe({"documents": ["a"], "stat": {}}, {})
    with pytest.raises(ConfigError, match="output is an empty path"):
        node_of(recipe, "stat", output="")
