"""`pytest tests/data/test_discovery.py`: which files a pattern or a folder names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from dolma.data import discovery, streams
from dolma.data.manifest import FileSet, manifest_of, write_manifest
from dolma.errors import ConfigError, DataError


def found_by(pattern: str, **options: Any) -> list[str]:
    return discovery.find(pattern, **options).paths


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "a.jsonl",
        "x/b.jsonl.gz",
        "x/y/c.parquet",
        "x/.hidden.jsonl",
        ".deep/d.jsonl",
        "x/read.me",
        "[1].json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("**/*.jsonl*", ["a.jsonl", "x/b.jsonl.gz"]),
        ("x/**", ["x/b.jsonl.gz", "x/y/c.parquet"]),
        ("*/?.jsonl.gz", ["x/b.jsonl.gz"]),
        ("x/[a-c].*", ["x/b.jsonl.gz"]),
        ("x", ["x/b.jsonl.gz", "x/y/c.parquet"]),
        ("x/", ["x/b.jsonl.gz", "x/y/c.parquet"]),
        ("x/.*", ["x/.hidden.jsonl"]),
        ("[1].json", ["[1].json"]),
    ],
)
def test_patterns(tree: Path, pattern: str, found: list[str]) -> None:
    assert found_by(pattern) == found
    assert found_by(f"{tree}/{pattern}") == [f"{tree}/{path}" for path in found]


def test_file_urls_are_local_paths(tree: Path) -> None:
    assert found_by(f"file://{tree}/x/*.gz") == [f"{tree}/x/b.jsonl.gz"]
    assert streams.size(f"file://{tree}/a.jsonl") == 0
    streams.remove(f"file://{tree}/a.jsonl")
    streams.remove_tree(f"file://{tree}/x")
    assert sorted(os.listdir(tree)) == [".deep", "[1].json"]


def test_wildcards_in_a_web_address_are_refused() -> None:
    with pytest.raises(ConfigError, match="wildcards work for local paths and buckets"):
        discovery.find("https://example.org/*.jsonl")


# --- what is left out ------------------------------------------------------------------------------------------------


def put(*paths: str, data: bytes = b'{"text":"a"}\n') -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)


def finish(folder: str, stage: str) -> None:
    """Put a stage's manifest there."""
    made = FileSet(folder=folder, stage=stage, name=stage, config={}, inputs=[])
    write_manifest(folder, manifest_of(made, outputs=[], ledger={}, notes={}))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


EVERYWHERE = pytest.mark.parametrize("pattern", ["data", "data/**", "data/**/*.json*"])


@EVERYWHERE
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("_metadata.json", discovery.UNDERSCORE),
        ("_delta_log/0.json", discovery.UNDERSCORE),
        ("dataset_info.json", discovery.HUGGING_FACE),
        ("state.json", discovery.HUGGING_FACE),
        ("attributes/old/a.jsonl", discovery.ATTRIBUTES),
    ],
)
def test_other_programs_files_are_left_out_and_said(here: Path, pattern: str, name: str, reason: str) -> None:
    put("data/a.jsonl", f"data/{name}")
    found = discovery.find(pattern)
    top = name.split("/")[0]
    assert found.paths == ["data/a.jsonl"]
    assert found.left_out == {reason: [f"data/{top}/" if "/" in name else f"data/{name}"]}


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("data/_old/*", "data/_old/a.json"),
        ("data/_*/*.json", "data/_old/a.json"),
        ("data/*/state.json", "data/web/state.json"),
        ("data/state.json", "data/state.json"),
        ("data/attributes", "data/attributes/a.jsonl"),
        ("data/*/attributes/*", "data/web/attributes/a.jsonl"),
    ],
)
def test_what_is_named_is_read(here: Path, pattern: str, path: str) -> None:
    put(path)
    assert discovery.find(pattern) == ([path], {}, {})


@EVERYWHERE
def test_folders_that_stages_wrote_are_left_out(here: Path, pattern: str) -> None:
    put("data/a.jsonl", "data/kept/length/a.jsonl.json", "data/mixed/documents/a.jsonl", "data/tokens/tokens.json")
    put("data/going/.journal/run.json", "data/going/length/a.json")
    for folder, stage in (("kept/length", "tag"), ("mixed", "mix"), ("tokens", "tokenize")):
        finish(f"data/{folder}", stage)
    found = discovery.find(pattern)
    assert found.paths == ["data/a.jsonl"]
    folders = ["data/going/", "data/kept/length/", "data/mixed/", "data/tokens/"]
    assert found.left_out == {discovery.OUTPUT: folders}


@pytest.mark.parametrize("pattern", ["mixed", "mixed/**", "mixed/documents", "*/documents/*.jsonl", "mixed/**/*.jsonl"])
def test_of_a_mix_the_documents_are_taken_and_not_the_rows(here: Path, pattern: str) -> None:
    put("mixed/documents/a.jsonl", "mixed/rows/a.parquet")
    finish("mixed", "mix")
    assert found_by(pattern) == ["mixed/documents/a.jsonl"]


def test_the_output_of_another_stage_is_no_folder_of_documents(here: Path) -> None:
    put("length/a.jsonl.parquet")
    finish("length", "tag")
    with pytest.raises(ConfigError, match="length is the output of `tag`, which holds no documents"):
        discovery.find("length")


@EVERYWHERE
def test_what_a_command_writes_is_not_read_by_it(here: Path, pattern: str) -> None:
    put("data/a.jsonl", "data/run/quarantine/b.jsonl")
    assert found_by(pattern, outputs=[str(here / "data/run")]) == ["data/a.jsonl"]
    assert found_by("data/run/**/*.jsonl", outputs=["data/run"]) == ["data/run/quarantine/b.jsonl"]


@EVERYWHERE
@pytest.mark.parametrize("exclude", ["b.jsonl", "b*", "old", "old/", "data/old/*", "old/b.jsonl", "**/b.jsonl"])
def test_files_and_folders_can_be_excluded(here: Path, pattern: str, exclude: str) -> None:
    put("data/a.jsonl", "data/old/b.jsonl")
    assert found_by(pattern, exclude=[exclude]) == ["data/a.jsonl"]


def test_a_hidden_document_is_said(here: Path) -> None:
    put("data/a.jsonl", "data/.b.jsonl", "data/.deep/c.jsonl")
    assert discovery.find("data").left_out == {discovery.HIDDEN: ["data/.b.jsonl", "data/.deep/"]}


# --- links -----------------------------------------------------------------------------------------------------------


@EVERYWHERE
def test_links_to_folders_are_followed(here: Path, pattern: str) -> None:
    put("data/web/a.jsonl", "elsewhere/deep/b.jsonl")
    os.symlink("../elsewhere", "data/books")
    assert found_by(pattern) == ["data/books/deep/b.jsonl", "data/web/a.jsonl"]


def test_links_that_lead_to_themselves_are_to_be_mended(here: Path) -> None:
    os.symlink("b", "a")
    os.symlink("a", "b")
    with pytest.raises(DataError, match=r"a: cannot list this folder: Too many levels.*\n  mend the symbolic links"):
        found_by("a/*")


@EVERYWHERE
def test_a_loop_of_links_ends(here: Path, pattern: str) -> None:
    put("data/web/a.jsonl")
    os.symlink("..", "data/web/up")
    found = discovery.find(pattern)
    assert found.paths == ["data/web/a.jsonl"]
    assert found.left_out == {discovery.LOOP: ["data/web/up/"]}


@pytest.mark.parametrize("pattern", ["data", "data/**", "data/*.jsonl", "data/b.jsonl"])
def test_a_link_to_nothing_is_an_error(here: Path, pattern: str) -> None:
    put("data/a.jsonl")
    os.symlink("gone.jsonl", "data/b.jsonl")
    with pytest.raises(DataError, match=r"^data/b\.jsonl: a link to 'gone\.jsonl', which is not there\n.*--exclude"):
        discovery.find(pattern)


@pytest.mark.parametrize("pattern", ["data", "data/*/documents/*.jsonl", "data/**/*.jsonl"])
def test_a_source_that_is_a_link_to_nothing_is_an_error(here: Path, pattern: str) -> None:
    put("data/web/documents/a.jsonl")
    os.symlink("/mnt/unmounted", "data/books")
    with pytest.raises(DataError, match=r"^data/books: a link to '/mnt/unmounted', which is not there\n"):
        discovery.find(pattern)
    assert found_by(pattern, exclude=["books"]) == ["data/web/documents/a.jsonl"]


def test_a_link_to_nothing_that_no_pattern_names_is_nobodys_business(here: Path) -> None:
    put("data/a.jsonl")
    os.symlink("gone", "data/b.parquet")
    assert found_by("data/*.jsonl") == ["data/a.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_an_error(here: Path) -> None:
    put("data/a.jsonl", "data/closed/b.jsonl")
    os.chmod("data/closed", 0)
    with pytest.raises(DataError, match="data/closed: cannot list this folder: Permission denied"):
        discovery.find("data")


def test_a_pipe_is_no_document(here: Path) -> None:
    put("data/a.jsonl")
    os.mkfifo("data/b.jsonl")
    with pytest.raises(DataError, match=r"data/b\.jsonl: neither a file nor a folder"):
        discovery.find("data")


@pytest.mark.parametrize("pattern", ["data", "data/*.jsonl", os.fsdecode(b"data/caf\xe9.jsonl")])
def test_a_name_that_is_not_utf8_is_an_error(here: Path, pattern: str) -> None:
    put(os.fsdecode(b"data/caf\xe9.jsonl"))
    with pytest.raises(DataError, match=r"^'data/caf\\xe9\.jsonl': the name is not UTF-8\n  rename it"):
        discovery.find(pattern)


# --- what may have been meant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("~/x/*.jsonl", "`~` is the shell's, which leaves it alone within quotes: write '/home/me/x/*.jsonl'"),
        ("$HOME/*.jsonl", "variables are the shell's, .* write '/home/me/*.jsonl'"),
        ("a/{b,c}/*.jsonl", "write --documents 'a/b/*.jsonl' --documents 'a/c/*.jsonl'"),
        ("br[acket]/documents/*.jsonl", "'br[acket]' is there: write 'br[[]acket]/documents/*.jsonl'"),
        ("spark/*.json", "spark/out.json is a folder: give it, or 'spark/out.json/*'"),
        ("spark/_*/*.json", "expected .jsonl"),
        ("nothing*", "expected .jsonl, .csv, .tsv, plain or with .gz"),
        ("state/*", "left out: 1 of Hugging Face's own (state/state.json)"),
    ],
)
def test_a_pattern_that_matches_nothing_is_explained(
    here: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, hint: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    put("br[acket]/documents/a.jsonl", "spark/out.json/part-0.json", "state/state.json")
    said = ".*".join(map(re.escape, hint.split(".*")))
    with pytest.raises(ConfigError, match=rf"no document file matches {re.escape(repr(pattern))}\n  .*{said}"):
        discovery.find(pattern)


def test_the_way_out_of_brackets_works(here: Path) -> None:
    put("br[acket]/documents/a.jsonl")
    assert found_by("br[[]acket]/documents/*.jsonl") == ["br[acket]/documents/a.jsonl"]


def test_a_folder_that_is_not_there_is_said_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "wiki").mkdir()
    with pytest.raises(ConfigError, match=r"there is no .*wikki; did you mean .*wiki\?"):
        discovery.find(str(tmp_path / "wikki"))
