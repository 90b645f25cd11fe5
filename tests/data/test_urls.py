from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dolma.data.batch import TextBatch
from dolma.data.urls import Url, UrlField, _parse, is_address, normal_url, parents, parse_host, parse_url
from dolma.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.example/x", Url("http", "a.example", None, "/x", "", "name")),
        ("HTTPS://A.Example:443/X?Y#z", Url("https", "a.example", 443, "/X", "Y", "name")),
        ("//a.example", Url("", "a.example", None, "", "", "name")),
        ("a.example:80/x", Url("", "a.example", 80, "/x", "", "name")),
        ("http://user:word@a.example/", Url("http", "a.example", None, "/", "", "name")),
        ("http://a.example./", Url("http", "a.example", None, "/", "", "name")),
        ("http://%61.example", Url("http", "a.example", None, "", "", "name")),
        ("http://bücher.example", Url("http", "xn--bcher-kva.example", None, "", "", "name")),
        ("http://localhost/", Url("http", "localhost", None, "/", "", "name")),
        ("http://1.2.3.4/", Url("http", "1.2.3.4", None, "/", "", "ipv4")),
        ("http://[2001:DB8:0::1]:8080/x", Url("http", "2001:db8::1", 8080, "/x", "", "ipv6")),
        ("http://a.example?x/y", Url("http", "a.example", None, "", "x/y", "name")),
        ("http://a.example#/y", Url("http", "a.example", None, "", "", "name")),
        (" http://a.example\n", Url("http", "a.example", None, "", "", "name")),
    ],
)
def test_parts_of_a_url(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "no url", "foo/bar", "http://", "http://[::1", "http://a..b", "http://1.2.3", "mailto:a@b.example"),
        *("javascript:void(0)", "data:text/html,x", "C:\\x", "http://a b.example", "http://a.example:99999999/"),
        *(f"http://{'a' * 64}.example", f"http://{'é' * 100_000}.example"),
    ],
)
def test_what_is_no_url(text: str) -> None:
    assert parse_url(text) is None


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@example("http://\ud800.example")
@given(st.one_of(st.text(), st.from_regex(r"(https?://)?[\w.%\[\]:@-]{1,20}(/[a-z?#]{0,5}){0,3}", fullmatch=True)))
def test_any_text_is_a_url_in_one_form_or_none(text: str) -> None:
    url = parse_url(text)
    if url is not None:
        assert parse_host(url.host) == url.host
        assert is_address(url.host) == (url.kind != "name")
        assert url.host == url.host.lower()
        assert url.host.isascii()


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"https?://[a-z0-9_.-]{1,9}(:[0-9]{1,6})?([/?#\\][a-z?#/\\ ]{0,5}){0,3}", fullmatch=True))
def test_usual_urls_have_the_parts_of_all_others(text: str) -> None:
    assert parse_url(text) == _parse(text)


def test_parents_of_an_address_are_itself() -> None:
    assert list(parents("1.2.3.4")) == ["1.2.3.4"]
    assert list(parents("2001:db8::1")) == ["2001:db8::1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[::1]", "::1"), ("::1", "::1"), ("A.example.", "a.example"), ("a b", None), ("1.2.3", None), ("", None)],
)
def test_hosts(text: str, expected: str | None) -> None:
    assert parse_host(text) == expected


def test_a_field_further_down() -> None:
    batch = TextBatch.of(["", "", "", ""], metadata=[b'{"w":{"u":"x"}}', b'{"w":{}}', b'{"w":3}', b"{}"])
    assert UrlField("metadata.w.u").of(batch) == ["x", None, None, None]


def test_half_a_character_in_the_metadata() -> None:
    batch = TextBatch.of(
        [""] * 3, metadata=[rb'{"a":"\ud800","url":"x\ud800"}', rb'{"url":["\ud800"]}', rb'["\ud800"]']
    )
    assert UrlField("metadata.url").of(batch) == ["x\ufffd", None, None]


def test_documents_without_metadata_have_no_url() -> None:
    assert UrlField("metadata.url").of(TextBatch.of(["a", "b"])) == [None, None]


@pytest.mark.parametrize("field", ["url", "metadata", "metadata.", "metadata..url", ""])
def test_a_field_elsewhere(field: str) -> None:
    with pytest.raises(ConfigError, match=r"expected one of the document's metadata, like 'metadata\.url'"):
        UrlField(field)


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a\x01"])
def test_a_key_that_no_decoder_takes(key: str) -> None:
    with pytest.raises(ConfigError, match="has a quote, a backslash or a control character"):
        UrlField(f"metadata.{key}")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTP://User@Example.ORG.:80", "http://example.org"),
        ("https://example.org:80/", "https://example.org:80"),
        ("http://example.org/%7Euser/%c3%a9/é", "http://example.org/~user/%C3%A9/%C3%A9"),
        ("http://example.org/a/../b/./c//", "http://example.org/b/c"),
        ("http://example.org/../a", "http://example.org/a"),
        ("http://example.org/%2e%2E/a%2fb", "http://example.org/a%2Fb"),
        ("http://example.org/a?utm_source=x&b=2&a=1&fbclid=9", "http://example.org/a?b=2&a=1"),
        ("http://example.org/a?&&", "http://example.org/a"),
        ("http://example.org/a?x=a/../b", "http://example.org/a?x=a/../b"),
        ("http://Bücher.example/a b", "http://xn--bcher-kva.example/a%20b"),
        ("http://[::0001]:8080/", "http://[::1]:8080"),
        ("example.org/a/", "example.org/a"),
        (" mailto:a@example.org ", "mailto:a@example.org"),
        ("http://example.org/100%%37e", "http://example.org/100%257e"),
        ("", ""),
    ],
)
def test_a_url_has_one_form(text: str, normal: str) -> None:
    assert normal_url(text) == normal
    assert normal_url(normal) == normal


@pytest.mark.property
@given(st.text(alphabet="htps:/.a%7eE2fé?&=#@\\ []utm_-", max_size=30).map(lambda text: f"http://a.example/{text}"))
def test_the_form_of_the_form_is_the_form(text: str) -> None:
    assert normal_url(normal_url(text)) == normal_url(text)
