from __future__ import annotations

from pathlib import Path

import pytest

from dolma.data import streams
from dolma.errors import ConfigError
from dolma.models.fetch import cached_path, http_url
from dolma.models.public import PUBLIC, copies


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))


def put(url: str) -> Path:
    path = cached_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a.example\n")
    return path


@pytest.mark.parametrize("name", PUBLIC)
def test_every_entry_names_urls(name: str) -> None:
    entry = PUBLIC[name]
    assert entry.name == name
    assert entry.urls
    assert all(streams.is_url(url) and http_url(url).startswith("https://") for url in entry.urls)
    assert entry.licence
    assert entry.tagger


def test_the_published_models_of_taggers_have_names() -> None:
    from dolma.taggers.dolma1 import classifiers

    wanted = {need.name for kind in vars(classifiers).values() for need in getattr(kind, "needs", ())}
    assert wanted <= {http_url(url) for entry in PUBLIC.values() for url in entry.urls}


def test_a_path_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.example\n")
    assert copies(str(tmp_path / "list.txt"), tagger="t") == (tmp_path / "list.txt",)


def test_a_name_is_all_of_its_files() -> None:
    paths = tuple(put(url) for url in PUBLIC["brave_core_abp_v1"].urls)
    assert copies("brave_core_abp_v1", tagger="t") == paths


def test_a_name_of_which_a_file_is_missing() -> None:
    put(PUBLIC["brave_core_abp_v1"].urls[0])
    message = (
        r"t: 1 of the 2 files of 'brave_core_abp_v1' have not been fetched\n"
        r"  run `dolma fetch brave_core_abp_v1`, or give local files"
    )
    with pytest.raises(ConfigError, match=message):
        copies("brave_core_abp_v1", tagger="t")


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lid.176").write_text("x")
    assert copies("lid.176", tagger="t") == (Path("lid.176"),)


def test_a_missing_file_names_the_tagger() -> None:
    with pytest.raises(ConfigError, match=r"t: no such file: absent\.txt"):
        copies("absent.txt", tagger="t")
