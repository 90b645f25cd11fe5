"""Rules against attribute schemas, and what missing values do. Run: pytest tests/mixers/test_rules.py"""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma.config import MixConfig, convert
from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, DocInt
from dolma.data.documents import Reading
from dolma.dedupers.minhash import OUTPUTS as DOCUMENT_OUTPUTS
from dolma.dedupers.windows import PARAGRAPH_OUTPUTS
from dolma.errors import ConfigError, DataError
from dolma.mixers.catalogue import _OF_DEDUPE, _OF_PARAGRAPHS, Catalogue
from dolma.mixers.rules import RuleSet, compile_rules, typed


def compiled(corpus: Any, **config: Any) -> RuleSet:
    """The rules of a mix over the corpus."""
    made = convert(config, MixConfig, path="$.mix")
    dataset = corpus.dataset()
    return compile_rules(made, Catalogue.of(dataset, dataset.shards(), made, reading=Reading()))


@pytest.fixture
def tagged(corpus: Any) -> Any:
    """Two documents with every kind of output."""
    corpus.write_texts("web", ["one", "two"])
    corpus.tag("web", n=[1, 2], x=[0.1, 0.2], flag=[True, False], label=["a", "b"], spans=[[], []])
    corpus.tag("web", set="other", n=[1, 2])
    return corpus


def test_only_the_columns_that_rules_name_are_read(tagged: Any) -> None:
    rules = compiled(tagged, keep=["my.n > 1 AND my.x < 1", "document.bytes > 0"], spans=[{"attribute": "my.spans"}])
    assert {name: sorted(outputs) for name, outputs in rules.outputs.items()} == {
        "document": ["bytes"],
        "my": ["n", "spans", "x"],
    }
    assert rules.sets == ["my"]


def test_names_are_found_whatever_their_case(tagged: Any) -> None:
    assert compiled(tagged, keep=["MY.N > 1"]).columns_of("my") == ["n"]


def test_compiled_rules_can_be_sent_to_a_worker(tagged: Any) -> None:
    rules = compiled(tagged, keep=["my.n > 1"], drop=["my.flag"])
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_the_order_is_keep_drop_spans(tagged: Any) -> None:
    rules = compiled(tagged, spans=[{"attribute": "my.spans"}], drop=["my.flag"], keep=["my.n\n  > 1"])
    assert rules.labels == ["keep: my.n > 1", "drop: my.flag", "spans: my.spans"]


# --- groups ----------------------------------------------------------------------------------------------------------

GROUPS: dict[str, Any] = {
    "gopher": {"keep": {"many": "my.n > 1"}, "drop": ["my.flag"]},
    "books": {"drop": {"few": "my.n < 2"}, "sources": ["books"]},
}


def test_groups_come_after_keep_and_drop_and_names_stand_for_rules(tagged: Any) -> None:
    rules = compiled(tagged, rules=GROUPS, keep=["my.x < 1"], spans=[{"attribute": "my.spans"}])
    assert rules.labels == ["keep: my.x < 1", "gopher: many", "gopher: drop: my.flag", "books: few", "spans: my.spans"]
    assert [rule.path for rule in rules.rules[1:4]] == [
        "$.mix.rules.gopher.keep.many",
        "$.mix.rules.gopher.drop[0]",
        "$.mix.rules.books.drop.few",
    ]


def test_one_condition_may_stand_in_two_groups(tagged: Any) -> None:
    groups = {"a": {"keep": ["my.n > 1"]}, "b": {"keep": ["my.n > 1"]}}
    assert compiled(tagged, rules=groups).labels == ["a: keep: my.n > 1", "b: keep: my.n > 1"]


def test_a_misspelt_name_in_a_group_is_told_with_its_path(tagged: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^\$.mix.rules.gopher.keep.many: no attribute 'my.lable'\n  did you mean 'my.label'"
    ):
        compiled(tagged, rules={"gopher": {"keep": {"many": "my.lable > 1"}}})


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ({"a": {}}, r"^\$.mix.rules.a: has no rules\n  give it `keep` or `drop`"),
        (
            {"a": {"keep": ["my.n > 1"], "sources": []}},
            r"^\$.mix.rules.a.sources: `sources` is empty, so the rules are about no",
        ),
        ({"a": {"keep": {"x": "my.n > 1"}, "drop": {"x": "my.flag"}}}, r"^\$.mix.rules.a: has two rules called 'x'"),
        (
            {"strata": {"keep": {"x": "my.n > 1"}}},
            r"^\$.mix.rules: `rules` has a group 'strata', which reports call other rules",
        ),
        (
            {"drop": {"keep": ["my.n > 1"]}},
            r"^\$.mix.rules: `rules` has a group 'drop', which reports call other rules",
        ),
        ({"a": {"keep": {"x/y": "my.n > 1"}}}, r"^\$.mix.rules.a: `name of a rule` 'x/y' has"),
        ({"a/b": {"keep": ["my.n > 1"]}}, r"^\$.mix.rules: `rules` 'a/b' has"),
        ({"a": {"kep": ["my.n > 1"]}}, r"^\$.mix.rules.a.kep: unknown key\n  did you mean 'keep'"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(tagged: Any, groups: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        compiled(tagged, rules=groups)


def test_an_unknown_output_names_the_nearest(tagged: Any) -> None:
    with pytest.raises(ConfigError) as found:
        compiled(tagged, keep=["my.n > 1", "my.lable = 'a'"])
    documents = tagged.folder / "*" / "documents" / "**" / "*"
    assert str(found.value) == (
        "$.mix.keep[1]: no attribute 'my.lable'\n"
        f"  did you mean 'my.label'?  attributes under {tagged.folder}/web: my (5), other (1)\n"
        f"  run `dolma tag --taggers my --documents '{documents}'` if it has not been computed yet"
    )


def test_an_unknown_set_tells_the_command_that_makes_it(tagged: Any) -> None:
    with pytest.raises(ConfigError, match=r"no attribute 'gopher.word_count'\n  attributes under .*my \(5\)") as found:
        compiled(tagged, drop=["gopher.word_count > 1"])
    assert found.value.path == "$.mix.drop[0]"
    assert "run `dolma tag --taggers gopher --documents" in str(found.value)


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("dedupe.duplicate", "dolma dedupe --documents"),
        ("dedupe.fraction > 0.5", "dolma dedupe --by paragraphs --documents"),
        ("exact.duplicate", "dolma dedupe --name exact --documents"),
        ("parts.n_duplicates > 1", "dolma dedupe --by paragraphs --name parts --documents"),
        ("parts.n_sentences > 1", "dolma dedupe --method windows --by sentences --name parts --documents"),
    ],
)
def test_what_dedupe_makes_is_not_looked_for_in_a_tagger(corpus: Any, rule: str, command: str) -> None:
    corpus.write_texts("web", ["one"])
    with pytest.raises(ConfigError) as found:
        compiled(corpus, drop=[rule])
    assert command in str(found.value)


def test_what_dedupe_makes_is_known_by_its_outputs() -> None:
    assert DOCUMENT_OUTPUTS.keys() | PARAGRAPH_OUTPUTS.keys() - {"spans"} | {"n_sentences"} == _OF_DEDUPE
    assert PARAGRAPH_OUTPUTS.keys() - {"spans"} == _OF_PARAGRAPHS


def test_no_attributes_at_all_is_said(corpus: Any) -> None:
    corpus.write_texts("web", ["one"])
    with pytest.raises(ConfigError, match=r"attributes under .*: none"):
        compiled(corpus, keep=["my.n > 1"])


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("label = 'a'", r"did you mean 'my.label'\?"),
        ("n > 1", r"did you mean 'my.n' or 'other.n'\?"),
        ("lable = 'a'", r"did you mean 'my.label'\?"),
        ("my > 1", "is an attribute set, expected one of its outputs\n  my.n, my.x, my.flag, my.label, my.spans"),
        ('my.label = "a"', r"no attribute 'a': a name is `tagger.output` \(a string takes single quotes\)"),
        (
            "document.words > 1",
            r"has a value in 'words'; they have: id, source, text\n  the document itself has",
        ),
        ("document.txt = 'a'", r"has a value in 'txt'; they have: id, source, text\n  did you mean 'document.text'\?"),
        ("documnt.bytes > 1", "no attribute 'documnt.bytes'\n  did you mean 'document.bytes'"),
        ("source = 'web'", r"did you mean 'document.source'\?"),
    ],
)
def test_a_name_that_is_no_output_is_explained(tagged: Any, rule: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as found:
        compiled(tagged, keep=[rule])
    assert found.value.path == "$.mix.keep[0]"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("my.n", r"`my.n` is BIGINT, expected BOOLEAN\n  compare it, such as `my.n > 0`"),
        ("my.n > 5, my.n < 9", r"expected BOOLEAN\n  join conditions by AND or OR"),
        ("my.label", "is VARCHAR, expected BOOLEAN"),
        ("1 = 1", "names no attribute, so it says the same of every document"),
        ("sum(my.n) > 1", "adds up over documents"),
        ("my.n > (SELECT 1)", "subquery"),
        ("my.n >", "no SQL expression"),
        (
            "my.spans > 3",
            r"`my.spans`, which is a list, with `3`.*\n  say how many it has: `len\(my.spans\) > 3`",
        ),
        ("len(my.n) = 0", "No function matches"),
        ("my.n.deeper > 1", "Cannot extract field|Could not find|Binder|struct"),
    ],
)
def test_what_is_no_rule_is_refused_before_any_data_is_read(tagged: Any, rule: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as found:
        compiled(tagged, drop=["my.flag", rule])
    assert found.value.path == "$.mix.drop[1]"


def test_a_rule_about_a_vector_is_refused(corpus: Any) -> None:
    corpus.write_texts("web", ["one", "two"])
    corpus.tag("web", set="other", n=[1, 2], vector=[[1, 2], None])
    why = r"other.vector is a vector, of which no number says something by itself\n  .*--by other.vector --name near"
    with pytest.raises(ConfigError, match=why) as found:
        compiled(corpus, keep=["other.n > 0"], drop=["other.vector[1] > 0"])
    assert found.value.path == "$.mix.drop[0]"
    assert corpus.mix(keep=["other.n > 1"]).ledger.total().out.documents == 1
    with pytest.raises(ConfigError, match=r"'other.vector' is vector, expected a number"):
        compiled(corpus, metadata={"v": "other.vector"})


def test_the_same_rule_twice_is_refused(tagged: Any) -> None:
    with pytest.raises(ConfigError, match=r"\$.mix.keep\[1\]: `my.n  > 1` stands twice, at \$.mix.keep\[0\] too"):
        compiled(tagged, keep=["my.n > 1", "my.n  > 1"])


def test_a_span_edit_needs_spans(tagged: Any) -> None:
    with pytest.raises(ConfigError, match=r"'my.n' is int, expected spans\n  these are: my.spans") as found:
        compiled(tagged, spans=[{"attribute": "my.n"}])
    assert found.value.path == "$.mix.spans[0].attribute"


def test_attribute_sets_can_be_limited(tagged: Any) -> None:
    with pytest.raises(ConfigError, match=r"attributes under .*: other \(1\)"):
        compiled(tagged, keep=["my.label = 'a'"], attributes=["other"])


def test_a_limit_to_a_set_that_is_not_there_is_refused(tagged: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"\$.mix.attributes\[1\]: no attributes called 'othr'\n  did you mean 'other'"
    ):
        compiled(tagged, keep=["my.n > 1"], attributes=["my", "othr"])


def test_a_set_called_document_is_refused(tagged: Any) -> None:
    tagged.tag("web", set="document", n=[1, 2])
    with pytest.raises(ConfigError, match="an attribute set is called 'document', which rules use"):
        compiled(tagged, keep=["my.n > 1"])


# --- evaluation ------------------------------------------------------------------------------------------------------


def holds(rules: RuleSet, n: list[int | None]) -> list[list[bool]]:
    batch = TextBatch.of(["text"] * len(n), path="a.jsonl", lines=np.arange(7, 7 + len(n)))
    return rules.holds(batch, rules.with_own(batch, {"my": {"n": pa.array(n, pa.int64())}})).tolist()


@pytest.mark.parametrize(
    ("missing", "kind", "expected"),
    [
        ("keep", "keep", [False, True, True]),
        ("drop", "keep", [False, True, False]),
        ("keep", "drop", [True, False, True]),
        ("drop", "drop", [True, False, False]),
    ],
)
def test_what_null_means_is_up_to_the_recipe(tagged: Any, missing: str, kind: str, expected: list[bool]) -> None:
    rules = compiled(tagged, **{kind: ["my.n > 1"]}, missing=missing)
    assert holds(rules, [1, 2, None]) == [expected]


def test_null_is_an_error_by_default(tagged: Any) -> None:
    rules = compiled(tagged, keep=["my.n < 9", "my.n > 0"])
    with pytest.raises(DataError) as found:
        holds(rules, [1, 2, None])
    assert str(found.value) == (
        "a.jsonl:9: the rule `keep: my.n < 9` is NULL for document '2' (my.n is missing)\n"
        "  the rule is $.mix.keep[0]; `missing: keep` or `missing: drop` says what that means, "
        "or COALESCE(..., value) in the rule"
    )


def test_a_rule_that_looks_for_null_is_not_null(tagged: Any) -> None:
    assert holds(compiled(tagged, drop=["my.n IS NULL"]), [1, None]) == [[True, False]]


def test_false_and_null_is_false(tagged: Any) -> None:
    assert holds(compiled(tagged, keep=["my.n > 1 AND length(document.id) > 9"]), [None]) == [[False]]


def test_nan_is_null() -> None:
    assert typed(pa.array([1.0, math.nan, None]), DocFloat("x")).to_pylist() == [1.0, None, None]


def test_another_integer_type_is_read_as_declared() -> None:
    assert typed(pa.chunked_array([pa.array([1], pa.int8()), pa.array([2], pa.int8())]), DocInt("n")) == pa.array(
        [1, 2]
    )


def test_the_document_has_columns_too(tagged: Any) -> None:
    rules = compiled(tagged, keep=["document.bytes = 2", "document.source = 'a'", "document.id = '1'"])
    batch = TextBatch.of(["é", "xyz"], sources=["a", "b"])
    assert rules.holds(batch, rules.with_own(batch, {})).tolist() == [[True, False], [True, False], [False, True]]


@pytest.mark.parametrize("missing", ["error", "keep", "drop"])
def test_rules_of_a_source_leave_other_documents_alone(tagged: Any, missing: str) -> None:
    group = {"keep": ["CAST(document.id AS INTEGER) < my.n"], "sources": ["it's", "b"]}
    rules = compiled(tagged, rules={"some": group}, missing=missing)
    batch = TextBatch.of(["t"] * 4, ids=["x", "1", "1", "y"], sources=["a", "it's", "b", "c"])
    assert rules.holds(
        batch, rules.with_own(batch, {"my": {"n": pa.array([None, 5, 0, None], pa.int64())}})
    ).tolist() == [[True, True, False, True]]


def test_null_in_a_group_is_an_error_that_names_the_rule(tagged: Any) -> None:
    rules = compiled(tagged, rules={"gopher": {"keep": {"many": "my.n > 1"}}})
    with pytest.raises(
        DataError, match=r"the rule `gopher: many` is NULL .*\n  the rule is \$.mix.rules.gopher.keep.many"
    ):
        holds(rules, [None])


def test_an_evaluation_error_names_the_document(tagged: Any) -> None:
    rules = compiled(tagged, keep=["my.n > 0", "CAST(document.id AS INTEGER) >= 0"])
    batch = TextBatch.of(["t"] * 50, ids=[*map(str, range(30)), "x", *map(str, range(19))], path="a.jsonl")
    with pytest.raises(DataError) as found:
        rules.holds(batch, rules.with_own(batch, {"my": {"n": pa.array(range(1, 51))}}))
    assert str(found.value).startswith(
        "a.jsonl:31: the rule `keep: CAST(document.id AS INTEGER) >= 0` cannot be evaluated for document 'x': "
        "Could not convert string 'x' to INT32"
    )
    assert "TRY_CAST" in str(found.value)


def test_no_rules_keep_everything() -> None:
    rules = RuleSet(rules=(), missing="error", outputs={})
    assert rules.holds(TextBatch.of(["a", "b"]), {}).shape == (0, 2)
