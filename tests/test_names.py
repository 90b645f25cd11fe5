"""What may become a part of a path. Run: pytest tests/test_names.py"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.config import MixConfig, convert, make_recipe
from dolma.data.dataset import Dataset
from dolma.data.manifest import FileSet, OutputFile, manifest_of, read_manifest, write_manifest
from dolma.data.tokens import read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.graph import graph_of
from dolma.mixers.subject import check_names
from dolma.names import check_name, check_path, leads_below
from dolma.pipeline import check

BAD = {
    "": "is empty",
    ".": "starts with a dot",
    "..": "starts with a dot",
    ".journal": "starts with a dot",
    "a/b": "has a separator",
    "/etc": "has a separator",
    "a\\b": "has a separator",
    "s3://b": "has a separator",
    "a\0b": "control character",
    "a\nb": "control character",
    "a\x7f": "control character",
    "a\x9b": "control character",
    " a": "white space",
    "manifest.json": "is the name of a file or folder of ours",
    "Recipe.yaml": "is the name of a file or folder of ours",
    "x" * 201: "has 201 bytes",
    "é" * 101: "has 202 bytes",
    "a\ud800": "is not UTF-8",
}


@pytest.mark.parametrize(("name", "why"), BAD.items())
def test_a_name_that_is_no_part_of_a_path_is_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{why}.*expected a name without /"):
        check_name(name)


@given(st.text(max_size=300))
def test_what_is_let_through_is_one_visible_file_of_its_folder(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    path = os.path.normpath(os.path.join("/folder", name + ".reasons.jsonl"))
    assert os.path.dirname(path) == "/folder"
    assert len(os.path.basename(path).encode()) <= 255
    assert not name.startswith(".")
    assert name.isprintable() or not any(ord(character) < 32 for character in name)


@given(st.text(alphabet="ab./\\", max_size=12))
def test_a_path_that_is_let_through_stays_below(path: str) -> None:
    if leads_below(path):
        assert os.path.normpath(os.path.join("/folder", path)).startswith("/folder")
    try:
        check_path(path)
    except ValueError:
        return
    assert leads_below(path)
    assert os.path.normpath(path) == path


@pytest.mark.parametrize("name", [*BAD, "document", "documents"])
def test_a_dedupe_is_not_called_so(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\$.dedupe.name: `name` "):
        make_recipe({"dedupe": {"name": name}})


def test_a_dedupe_is_not_called_as_a_tagger_is(tmp_path: Path) -> None:
    recipe = {"output": str(tmp_path), "tag": {"taggers": ["length"]}, "dedupe": {"name": "length"}}
    with pytest.raises(ConfigError, match=r"\$.dedupe: tag writes attributes 'length' too"):
        check(graph_of(make_recipe(recipe)))


@pytest.mark.parametrize("name", ["..", "a/b", "x" * 201, "document", "documents", "manifest.json"])
def test_a_tagger_is_not_called_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a tagger cannot be called"):
        check(graph_of(make_recipe({"output": str(tmp_path), "tag": {"taggers": [{"use": "length", "name": name}]}})))


@pytest.mark.parametrize(
    "format",
    [".jsonl/../../X.jsonl", "/../x.jsonl", "x.jsonl", ".jsonl.jsonl", ".jsonl.txt", ".jsonlx", "", ".txt", ".."],
)
def test_a_format_is_a_suffix_and_nothing_else(format: str) -> None:
    with pytest.raises(ConfigError, match=r"\$.mix.*, expected (a suffix such as )?\.jsonl"):
        check_names(convert({"format": format}, MixConfig, path="$.mix"), [])


@pytest.mark.parametrize("format", [".jsonl", ".json.gz", ".ndjson", ".jsonl.zst", ".parquet"])
def test_a_suffix_is_a_format(format: str) -> None:
    recipe = make_recipe({"mix": {"format": format}})
    assert recipe.mix is not None
    check_names(recipe.mix, [])


@pytest.mark.parametrize("name", ["x" * 201, "a\\b"])
def test_a_document_file_that_no_output_can_be_named_after_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.jsonl").touch()
    with pytest.raises(ConfigError, match=r"outputs would be named after it, and .*\n  rename it"):
        Dataset(documents=(str(tmp_path / "*.jsonl"),)).shards()


@pytest.mark.parametrize("path", ["../victim", "/etc/hosts", "a/../../victim"])
def test_a_manifest_names_no_file_outside(path: str, tmp_path: Path) -> None:
    output = OutputFile(set="", path=path, bytes=0, checksum="")
    file_set = FileSet(folder=str(tmp_path), stage="mix", name="mix", config={}, inputs=[])
    write_manifest(str(tmp_path), manifest_of(file_set, outputs=[output], ledger={}, notes={}))
    with pytest.raises(DataError, match="is not as a stage of this version of dolma wrote it"):
        read_manifest(str(tmp_path))


def test_token_shards_lie_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(
        '{"format_version":1,"dtype":"uint16","vocab_size":1,"eos_id":0,"tokenizer":"../../tokenizer.json","tokenizer_sha256":"","shards":[],'
        '"bos_id":null,"pad_id":null,"seed":0,"shuffle":true}'
    )
    with pytest.raises(DataError, match=r"outside of its folder: '../../tokenizer.json'"):
        read_token_manifest(str(tmp_path))
