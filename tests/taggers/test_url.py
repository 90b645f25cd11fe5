from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from dolma.data.batch import TextBatch
from dolma.errors import ConfigError, MissingExtraError
from dolma.taggers.url import Suffixes, Url


def batch_of(*urls: Any) -> TextBatch:
    return TextBatch.of([""] * len(urls), metadata=[json.dumps({"title": "t", "url": url}).encode() for url in urls])


def answers(tagger: Url, *urls: Any) -> dict[str, list[Any]]:
    return {name: column.to_pylist() for name, column in tagger(batch_of(*urls)).items()}


def test_all_parts() -> None:
    found = answers(Url(), "https://WWW.News.Example.co.uk:8080/a//b/c.html?q=1#d")
    assert {name: values[0] for name, values in found.items()} == {
        "domain": "example.co.uk",
        "host": "www.news.example.co.uk",
        "suffix": "co.uk",
        "scheme": "https",
        "is_ip": False,
        "n_subdomains": 2,
        "path_depth": 3,
        "has_query": True,
        "length": 53,
    }


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("http://example.com", "example.com"),
        ("a.b.example.com/x", "example.com"),
        ("http://www.bücher.example/", "xn--bcher-kva.example"),
        ("http://someone.github.io/x", "someone.github.io"),
        ("http://www.city.kawasaki.jp", "city.kawasaki.jp"),
        ("http://a.unknown-suffix", "a.unknown-suffix"),
        ("http://co.uk/", None),
        ("http://localhost/", None),
        ("http://1.2.3.4/", None),
    ],
)
def test_registered_domains(url: str, domain: str | None) -> None:
    assert answers(Url(), url)["domain"] == [domain]


def test_without_the_private_section_a_hosting_company_is_the_domain() -> None:
    assert answers(Url(private=False), "http://someone.github.io/x")["domain"] == ["github.io"]


def test_addresses() -> None:
    found = answers(Url(), "http://1.2.3.4/", "http://[2001:DB8::1]:80/")
    assert (found["host"], found["is_ip"]) == (["1.2.3.4", "2001:db8::1"], [True, True])


@pytest.mark.parametrize("url", [None, "", "no url", 3, ["http://a.example"], "mailto:a@b.example"])
def test_what_is_no_url_has_no_values(url: Any) -> None:
    assert all(values == [None] for values in answers(Url(), url).values())


def test_documents_without_metadata_have_no_values() -> None:
    columns = Url()(TextBatch.of(["a", "b"]))
    assert all(column.null_count == 2 for column in columns.values())


def test_an_empty_batch() -> None:
    assert all(len(column) == 0 for column in Url()(TextBatch.of([])).values())


def test_another_field() -> None:
    tagger = Url(field="metadata.warc.uri")
    batch = TextBatch.of([""], metadata=[b'{"warc":{"uri":"http://a.example"}}'])
    assert tagger(batch)["host"].to_pylist() == ["a.example"]
    assert [need.name for need in tagger.needs] == ["url", "metadata.warc.uri"]


def test_a_field_that_is_not_of_the_metadata() -> None:
    with pytest.raises(ConfigError, match=r"field 'url': expected one of the document's metadata"):
        Url(field="url")


def test_the_suffix_list_belongs_to_the_tagger() -> None:
    assert Url().files == (Suffixes(purpose="a test").path,)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    with pytest.raises(
        MissingExtraError, match=r"the tagger 'url' needs the package 'publicsuffixlist'.*\n.*dolma\[url\]"
    ):
        Url()
