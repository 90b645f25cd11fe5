"""Answers of Dolma 1.2.1 (tests/goldens/make_dolma1_urls.py), and the cases in which ours are others."""

from __future__ import annotations

import functools
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.errors import ConfigError, MissingExtraError
from dolma.models.fetch import cached_path
from dolma.models.public import PUBLIC
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import make_tagger

GOLDEN = Path(__file__).parents[2] / "goldens" / "dolma1_urls.json"
NAMES = [name for name, place in BUILT_IN.items() if place.startswith("dolma.taggers.dolma1.urls:")]

# What 1.2.1 says and why ours says otherwise.
BROKEN, STRIPPED, ZERO, FORM, LABELS, CLEANED = (
    "a URL that cannot be read ended the run",
    "the letters w and . were removed from the beginning of hosts",
    "the address in front of a hosts file's names was taken for an entry",
    "letters beyond ASCII, a final dot, a scheme or a final slash in a list",
    "the last two labels were taken for the registered domain",
    "the rows of the cleaned list were not tested",
)
DIFFERENT = {
    "domain_blocklist_utp_v1": {
        "http://eb.example/": STRIPPED,
        "http://w.bad.example/": STRIPPED,
        "http://bücher.example/": FORM,
        "http://bad.example./": FORM,
    },
    "domain_blocklist_phishing_v1": {"http://w.bad.example/": STRIPPED, "http://bad.example./": FORM},
    "link_blocklist_phishing_v1": {
        "http://slash.example/login": FORM,
        "http://slash.example/login/": FORM,
        "http://scheme.example/login": FORM,
    },
    "blocklist_hosts_porn_v1": {
        "http://w.bad.example/": STRIPPED,
        "http://0.0.0.0/": ZERO,
        "http://127.0.0.1/": ZERO,
        "http://ow.example": STRIPPED,
        "http://bad.example./": FORM,
    },
    "blocklist_firebog_ads_v1": {"http://wide.example": STRIPPED},
    "oisd_big_abp_v1": {},
    "allowlist_wikidata_v1": {
        "http://www.other.co.uk/": LABELS,
        "http://my.other.co.uk/": LABELS,
        "http://other.blogspot.com/": LABELS,
    },
    "allowlist_wikidata_cleaned_v1": {
        "http://www.other.co.uk/": LABELS,
        "http://my.other.co.uk/": LABELS,
        "http://other.blogspot.com/": LABELS,
        "http://tabloid.example/": CLEANED,
        "http://nothing.example/": CLEANED,
        "http://vague.example/": CLEANED,
        "http://paper.cam/": CLEANED,
    },
}


@functools.cache
def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def put(folder: Path, text: str, name: str = "list.txt") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def answers(name: str, urls: list[Any], **options: Any) -> list[Any]:
    batch = TextBatch.of(["text"] * len(urls), metadata=[json.dumps({"url": url}).encode() for url in urls])
    return make_tagger(TaggerSpec(use=name, options=options))(batch)["url"].to_pylist()


@pytest.mark.golden
@pytest.mark.parametrize("name", DIFFERENT)
def test_answers_are_those_of_1_2_1(name: str, tmp_path: Path) -> None:
    case = golden()[name]
    urls = [url for url, _ in case["answers"]]
    ours = answers(name, urls, path=put(tmp_path, case["list"]))
    assert set(ours) <= {1.0, None}
    expected = DIFFERENT[name] | {"http://[::1": BROKEN}
    differing = {url for (url, theirs), mine in zip(case["answers"], ours, strict=True) if (mine == 1) is not theirs}
    assert differing == set(expected)


def test_every_kind_of_list_has_golden_answers() -> None:
    assert set(golden()) == set(DIFFERENT)


@pytest.mark.parametrize("name", NAMES)
def test_every_tagger_reads_what_has_been_fetched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=f"{name}: .* have not been fetched\n  run `dolma fetch {name}`"):
        answers(name, [])
    text = "||bad.example^\n" if "abp" in name else "bad.example\n"
    if "wikidata" in name:
        text = '[{"url":"http://bad.example","description":"magazine"}]'
    for url in PUBLIC[name].urls:
        cached_path(url).parent.mkdir(parents=True)
        if url.endswith(".gz"):
            cached_path(url).write_bytes(gzip.compress(text.encode()))
        else:
            cached_path(url).write_text(text)
    assert answers(name, ["http://bad.example/", "http://good.example/", None]) == [1.0, None, None]


@pytest.mark.parametrize("name", NAMES)
def test_documents_without_metadata_have_no_value(name: str, tmp_path: Path) -> None:
    case = golden()["allowlist_wikidata_v1" if "wikidata" in name else "blocklist_firebog_ads_v1"]
    tagger = make_tagger(TaggerSpec(use=name, options={"path": put(tmp_path, case["list"])}))
    assert tagger(TextBatch.of(["a", ""]))["url"].to_pylist() == [None, None]
    assert tagger(TextBatch.of([]))["url"].to_pylist() == []


def test_several_lists_and_another_field(tmp_path: Path) -> None:
    paths = [put(tmp_path, "a.example\n", "a"), put(tmp_path, "b.example\n", "b")]
    spec = TaggerSpec(use="blocklist_hosts_porn_v1", options={"path": paths, "field": "metadata.link"})
    tagger = make_tagger(spec)
    batch = TextBatch.of([""] * 2, metadata=[b'{"link":"http://b.example"}', b'{"url":"http://a.example"}'])
    assert tagger(batch)["url"].to_pylist() == [1.0, None]
    assert getattr(tagger, "files", None) == tuple(paths)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("blocklist_hosts_porn_v1", "no list at all\n", "blocklist_hosts_porn_v1: .*no list of domains"),
        ("link_blocklist_phishing_v1", "no list at all\n", "link_blocklist_phishing_v1: .*no list of links"),
        ("allowlist_wikidata_v1", "bad.example\n", "allowlist_wikidata_v1: .*no JSON"),
        ("allowlist_wikidata_v1", '["a"]', "expected JSON objects with `url` and `description`"),
        ("allowlist_wikidata_v1", "[]", "no rows with a URL"),
    ],
)
def test_lists_of_another_kind(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        answers(name, [], path=put(tmp_path, text))


def test_rows_over_several_lines(tmp_path: Path) -> None:
    path = put(tmp_path, '[\n {"url": "http://a.example",\n  "description": null}\n]\n')
    assert answers("allowlist_wikidata_v1", ["http://a.example/"], path=path) == [1.0]


def test_rules_need_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adblock", None)
    with pytest.raises(MissingExtraError, match=r"'dolma\[url\]'"):
        answers("oisd_big_abp_v1", [], path=put(tmp_path, "||a.example^\n"))
