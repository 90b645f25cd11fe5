"""Looking at what a dedupe has joined. Run: `pytest tests/dedupe/test_inspection.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from dolma.cli.main import dolma
from dolma.data.dataset import Dataset
from dolma.dedupers.inspection import Change, Pair, inspect
from dolma.errors import ConfigError

if TYPE_CHECKING:
    from .conftest import Corpus

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture
def found(corpus: Corpus) -> Corpus:
    """Two clusters, of similarities 9/11 and 8/12, over two files, and a document without a copy."""
    corpus.write_texts("a.jsonl", [" ".join(WORDS), "nothing like that", "x " + " ".join(WORDS[:9])])
    corpus.write_texts("b.jsonl", ["A b c d e f g h i j", "a b c d e f g h k l"])
    corpus.dedupe(method="minhash", word_ngrams=1, bands=40, rows=1, threshold=0.5, name="near")
    return corpus


def dataset(corpus: Corpus) -> Dataset:
    return Dataset(documents=(str(corpus.folder / "documents" / "*"),))


def test_the_least_similar_pair_comes_first_with_what_differs(found: Corpus) -> None:
    first, second = inspect(dataset(found), "near")
    documents = found.folder / "documents"
    assert first == Pair(
        id="b.jsonl-1",
        file=str(documents / "b.jsonl"),
        line=2,
        kept_id="b.jsonl-0",
        kept_file=str(documents / "b.jsonl"),
        kept_line=1,
        cluster=3,
        cluster_size=2,
        similarity=8 / 12,
        equal=False,
        changes=[
            Change(before="", kept="A", duplicate="a"),
            Change(before="e f g h", kept="i j", duplicate="k l"),
        ],
    )
    assert (second.id, second.similarity) == ("a.jsonl-2", 9 / 11)


def test_pairs_are_chosen_by_similarity_and_number(found: Corpus) -> None:
    def ids(**given: Any) -> list[str]:
        return [pair.id for pair in inspect(dataset(found), "near", **given)]

    assert ids(pairs=1) == ["b.jsonl-1"]
    assert ids(above=0.7) == ["a.jsonl-2"]
    assert ids(below=0.7) == ["b.jsonl-1"]
    assert ids(below=0.1) == []


def test_exact_copies_are_equal(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x y", "x y", "x y"])
    corpus.dedupe(keep="last")
    (pair,) = inspect(dataset(corpus), "dedupe")
    assert (pair.id, pair.kept_id, pair.kept_line, pair.equal, pair.similarity) == (
        *("a.jsonl-0", "a.jsonl-2", 3, True, None),
    )


def test_a_set_that_is_not_there_and_one_without_clusters_are_refused(found: Corpus) -> None:
    with pytest.raises(ConfigError, match=r"there is no attribute set 'neer'\n  did you mean 'near'\?"):
        inspect(dataset(found), "neer")
    found.dedupe(by="paragraphs", name="lines")
    with pytest.raises(ConfigError, match="'lines' has no 'cluster': it says nothing of clusters of documents"):
        inspect(dataset(found), "lines")


def test_the_command_shows_them(found: Corpus) -> None:
    arguments = ["dedupe", "inspect", "near", "--documents", str(found.folder / "documents" / "*"), "--pairs", "1"]
    said = CliRunner().invoke(dolma, arguments).output
    assert "cluster 3 of 2 documents, similarity 0.667\n  kept       b.jsonl-0  " in said
    assert "\n    e f g h [-i j-]{+k l+}\n" in said
    assert json.loads(CliRunner().invoke(dolma, [*arguments, "--json"]).output)["cluster"] == 3


def test_a_kept_document_may_be_a_reference(corpora: Callable[[], Corpus]) -> None:
    corpus, reference = corpora(), corpora()
    reference.write_texts("r.jsonl", ["other", "one two"])
    corpus.write_texts("a.jsonl", ["one two", "three"])
    pattern = str(reference.folder / "documents" / "*")
    corpus.dedupe(reference=[pattern])
    dataset = Dataset(documents=(str(corpus.folder / "documents" / "*"),))
    (pair,) = inspect(dataset, "dedupe", reference=Dataset(documents=(pattern,)))
    assert (pair.id, pair.kept_id, pair.kept_line, pair.equal) == ("a.jsonl-0", "r.jsonl-1", 2, True)
    assert pair.kept_file.endswith("r.jsonl")
    with pytest.raises(ConfigError, match=r"the kept document 'r\.jsonl-1' is none of these documents"):
        inspect(dataset, "dedupe")


def test_the_command_takes_what_stands_before_its_name(found: Corpus) -> None:
    recipe = found.folder / "recipe.yaml"
    recipe.write_text(f"documents: ['{found.folder}/documents/*']\n")
    before = CliRunner().invoke(dolma, ["dedupe", "-c", str(recipe), "inspect", "near", "--json"])
    after = CliRunner().invoke(dolma, ["dedupe", "inspect", "near", "-c", str(recipe), "--json"])
    assert before.output == after.output and json.loads(before.output.splitlines()[0])["cluster"] == 3
    flags = ["dedupe", "--documents", f"{found.folder}/documents/*", "inspect", "near", "--json"]
    assert CliRunner().invoke(dolma, flags).output == before.output


def test_the_command_refuses_what_stands_before_its_name_and_is_not_its_own() -> None:
    ended = CliRunner().invoke(dolma, ["dedupe", "--workers", "2", "inspect", "near"])
    assert ended.exit_code == 2
    assert "`dolma dedupe inspect` has no option '--workers'\n  leave it out" in ended.output
