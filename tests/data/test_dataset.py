"""`pytest tests/data/test_dataset.py`: which files are documents, what they are called, where their attributes lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma.data.dataset import Dataset, Shard
from dolma.errors import ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"{}\n")


def shards(*patterns: str) -> list[Shard]:
    return Dataset(documents=patterns).shards()


def names(*patterns: str) -> list[str]:
    return [shard.name for shard in shards(*patterns)]


# --- which files -----------------------------------------------------------------------------------------------------


def test_corpus_order_is_by_name_in_whatever_order_patterns_stand() -> None:
    put("data/b/documents/1.jsonl", "data/a/documents/2.jsonl", "data/a/documents/10.jsonl")
    patterns = ("data/b/documents/*", "data/a/documents/*")
    assert names(*patterns) == names(*patterns[::-1]) == ["a/10.jsonl", "a/2.jsonl", "b/1.jsonl"]


def test_a_folder_stands_for_the_documents_in_it() -> None:
    put("data/a/documents/x/1.jsonl.gz", "data/a/documents/2.parquet", "data/a/documents/read.me")
    assert names("data/a/documents") == ["2.parquet", "x/1.jsonl.gz"]


@pytest.mark.parametrize("pattern", ["mix/documents/*", "mix/documents"])
def test_a_manifest_that_is_not_ours_is_never_left_out_in_silence(pattern: str) -> None:
    put("mix/documents/1.jsonl", "mix/documents/manifest.json")
    with pytest.raises(ConfigError, match=r"mix/documents/manifest\.json: outputs would be named after it"):
        names(pattern)
    assert Dataset(documents=(pattern,), exclude=("manifest.json",)).shards()[0].name == "1.jsonl"


def test_nothing_found_names_the_pattern() -> None:
    with pytest.raises(ConfigError, match=r"no document file matches 'data/\*'\n  expected \.jsonl"):
        shards("data/*")


def test_no_pattern_at_all() -> None:
    with pytest.raises(ConfigError, match="no documents given\n  name them: `--documents"):
        shards()


def test_another_kind_of_file_is_left_out_unless_it_is_named() -> None:
    put("documents/1.jsonl", "documents/notes.txt")
    dataset = Dataset(documents=("documents/*",))
    assert [shard.name for shard in dataset.shards()] == ["1.jsonl"]
    assert dataset.left_out() == {"of no document format": ["documents/notes.txt"]}
    with pytest.raises(ConfigError, match=r"documents/notes\.txt is no document file\n  expected \.jsonl"):
        shards("documents/notes.txt")


@pytest.mark.parametrize(
    "second", ["documents/1.jsonl", "./documents/1.jsonl", "documents/../documents/1.jsonl", "linked/1.jsonl"]
)
def test_one_file_named_twice_is_refused(second: str) -> None:
    put("documents/1.jsonl")
    os.symlink("documents", "linked")
    with pytest.raises(ConfigError, match=r"listed twice: .*documents/1\.jsonl\n"):
        shards("documents/1.jsonl", second)


def test_an_absolute_path_of_the_same_file_is_refused(here: Path) -> None:
    put("documents/1.jsonl")
    with pytest.raises(ConfigError, match="listed twice"):
        shards("documents/*", f"{here}/documents/1.jsonl")


def test_two_files_of_one_name_are_refused() -> None:
    put("data/a/documents/x.jsonl", "data/a/x.jsonl")
    with pytest.raises(
        ConfigError, match=r"two files would be called 'a/x\.jsonl': data/a/\S+ and data/a/\S+\n  rename"
    ):
        shards("data/**/*.jsonl")


# --- names and sources -----------------------------------------------------------------------------------------------


def test_names_depend_on_the_pattern_not_on_which_files_match() -> None:
    put("data/a/documents/deep/1.jsonl")
    assert names("data/*/documents/**/*.jsonl") == ["a/deep/1.jsonl"]
    put("data/b/documents/2.jsonl")
    assert names("data/*/documents/**/*.jsonl") == ["a/deep/1.jsonl", "b/2.jsonl"]


def test_relative_absolute_and_linked_paths_give_the_same_names(here: Path) -> None:
    put("data/a/documents/1.jsonl", "data/b/documents/1.jsonl")
    os.symlink("data", "linked")
    for start in ("data", "./data", f"{here}/data", "linked", f"file://{here}/data"):
        assert names(f"{start}/*/documents/*") == ["a/1.jsonl", "b/1.jsonl"]


@pytest.mark.parametrize(
    ("path", "source"),
    [("books/documents/1.jsonl", "books"), ("books/1.jsonl", "books"), ("a/documents/b/documents/1.jsonl", "b")],
)
def test_source_is_the_folder_of_documents_else_the_own_folder(path: str, source: str) -> None:
    put(path)
    assert shards(path)[0].source == source


def test_source_of_a_relative_documents_folder_is_the_one_it_lies_in(here: Path) -> None:
    put("documents/1.jsonl")
    assert shards("documents/*")[0].source == here.name == shards(f"{here}/documents/*")[0].source


# --- attributes ------------------------------------------------------------------------------------------------------


def attribute_path(path: str, **fields: str) -> str:
    put(path)
    dataset = Dataset(documents=(path,), **fields)  # type: ignore[arg-type]
    return dataset.places("length", dataset.shards())[0].path()


def test_attributes_lie_beside_documents_whichever_files_match() -> None:
    assert attribute_path("data/a/documents/deep/1.jsonl") == "data/a/attributes/length/deep/1.jsonl.parquet"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("documents/1.jsonl", "./attributes/length/1.jsonl.parquet"),
        ("documents/a/documents/1.jsonl", "documents/a/attributes/length/1.jsonl.parquet"),
        ("documents/documents/1.jsonl", "documents/attributes/length/1.jsonl.parquet"),
        ("my-documents/documents/1.jsonl", "my-documents/attributes/length/1.jsonl.parquet"),
    ],
)
def test_the_last_folder_called_documents_counts(path: str, expected: str) -> None:
    assert attribute_path(path) == expected


def test_documents_at_the_root_of_the_file_system() -> None:
    shard = Shard(path="/documents/1.jsonl", name="1.jsonl", root="/", inner="1.jsonl", size=0)
    folder = Dataset(documents=("/documents/*",)).attribute_folder("length", shard)
    assert folder == "/attributes/length"


def test_without_a_documents_folder_the_error_shows_the_path_tried() -> None:
    with pytest.raises(
        ConfigError,
        match=r"corpus/books/1\.jsonl: no folder called 'documents' in this path, so corpus/attributes/length would be "
        r"a guess\n  say where attributes lie with `--attributes DIR`",
    ):
        attribute_path("corpus/books/1.jsonl")


def test_a_folder_given_for_attributes_takes_them_by_name() -> None:
    assert attribute_path("corpus/books/1.jsonl", attributes="out") == "out/length/1.jsonl.parquet"


def test_the_dolma_1_form_is_called_as_the_documents_are() -> None:
    put("a/documents/1.jsonl.gz", "a/documents/2.parquet")
    dataset = Dataset(documents=("a/documents/*",))
    paths = [place.path("dolma1") for place in dataset.places("length", dataset.shards())]
    assert paths == ["a/attributes/length/1.jsonl.gz", "a/attributes/length/2.parquet.jsonl.gz"]


def test_either_form_is_found() -> None:
    put("a/documents/1.jsonl", "a/documents/2.jsonl", "a/documents/3.jsonl")
    put("a/attributes/length/1.jsonl.parquet", "a/attributes/length/2.jsonl")
    dataset = Dataset(documents=("a/documents/*",))
    assert [path for _, path in dataset.attribute_files("length", dataset.shards())] == [
        "a/attributes/length/1.jsonl.parquet",
        "a/attributes/length/2.jsonl",
        None,
    ]


def test_attributes_found_on_disk_are_listed_without_hidden_ones() -> None:
    put("a/documents/1.jsonl", "b/documents/1.jsonl")
    put("a/attributes/length/1", "b/attributes/gopher/x/1", "b/attributes/.journal/1", "b/attributes/stray")
    assert Dataset(documents=("*/documents/*",)).attribute_names() == ["gopher", "length"]
