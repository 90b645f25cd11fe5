from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dolma.config import TokenizeConfig
from dolma.data.dataset import Dataset
from dolma.data.manifest import read_manifest
from dolma.models.fetch import CACHE_VARIABLE, cached_path
from dolma.models.tokenizer_place import find_tokenizer, hub_cache
from dolma.runner.options import RunOptions
from dolma.tokens.tokenize import tokenize

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hugging Face's cache with the sample's tokenizer as `lab/tokenizer`."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    home = tmp_path / "hub" / "models--lab--tokenizer"
    (home / "refs" / "pr").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "refs" / "pr" / "1").write_text(f"{COMMIT}\n")
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    shutil.copy(SAMPLE / "tokenizer.json", home / "snapshots" / COMMIT / "tokenizer.json")
    return home


@pytest.mark.parametrize(
    "name", ["lab/tokenizer", "lab/tokenizer@main", "lab/tokenizer@pr/1", f"lab/tokenizer@{COMMIT}"]
)
def test_a_name_leads_to_the_snapshot_of_its_revision(hub: Path, name: str) -> None:
    found = find_tokenizer(name)
    assert found.path == str(hub / "snapshots" / COMMIT / "tokenizer.json")
    assert found.pinned == f"lab/tokenizer@{COMMIT}"


@pytest.mark.parametrize(
    "name", ["lab/other", "lab/tokenizer@other", "lab/tokenizer@../main", f"lab/tokenizer@{'0' * 40}"]
)
def test_what_is_not_in_the_cache_is_left_as_it_is(hub: Path, name: str) -> None:
    assert (find_tokenizer(name).path, find_tokenizer(name).pinned) == (name, None)


def test_a_file_comes_before_a_name(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "tokenizer").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_tokenizer("lab/tokenizer").path == "lab/tokenizer"


def test_the_cache_is_where_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert hub_cache() == "/home/ann/.cache/huggingface/hub"
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert hub_cache() == "/c/huggingface/hub"
    monkeypatch.setenv("HF_HOME", "/h")
    assert hub_cache() == "/h/hub"


def test_a_fetched_tokenizer_is_found_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    url = "hf://lab/tokenizer/tokenizer.json"
    assert find_tokenizer(url).path == url
    cached_path(url).parent.mkdir(parents=True)
    shutil.copy(SAMPLE / "tokenizer.json", cached_path(url))
    assert find_tokenizer(url).path == str(cached_path(url))


def test_the_manifest_pins_the_commit_and_the_bytes(hub: Path, tmp_path: Path) -> None:
    documents = Dataset(documents=(str(SAMPLE / "books" / "documents" / "*.jsonl.gz"),))
    out = str(tmp_path / "tokens")
    tokenize(documents, TokenizeConfig(tokenizer="lab/tokenizer"), output=out, options=RunOptions(workers=1))
    manifest = read_manifest(out)
    assert manifest is not None and manifest.notes["tokenizer"] == f"lab/tokenizer@{COMMIT}"
    assert len(manifest.config["tokenizer_sha256"]) == 64
