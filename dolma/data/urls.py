"""What a URL is made of, for web pages as crawls name them.

Lenient where crawls and lists are: the scheme may be missing (`example.org/a`, `//example.org`), a host may have
capitals, a final dot, percent escapes or letters beyond ASCII. Hosts come out in one form: lower case, IDNA (punycode),
no final dot; IPv6 addresses compressed, without brackets. Fragments and user names are dropped.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from dolma.data.batch import TextBatch, clean_text
from dolma.data.fields import JsonField
from dolma.errors import ConfigError
from dolma.names import check_field

# Nearly all URLs of crawls, in one step: the same parts as by the steps after it, at a quarter of their time.
_USUAL = re.compile(
    r"(https?)://((?:[a-z0-9_-]{1,63}\.)*[a-z][a-z0-9_-]{0,62})(?::(\d{1,5}))?"
    r"([/\\][^?#\s]*)?(?:\?([^#\s]*))?(?:#\S*)?"
)
_PARTS = re.compile(
    r"(?:(?:(?P<scheme>[a-z][a-z0-9+.-]*):)?(?P<slashes>[/\\]{2}))?"
    r"(?P<authority>[^/\\?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?",
    re.I | re.S,
)
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d{0,5}))?", re.I)
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_DIGITS = re.compile(r"[\d.]+")


class Url(NamedTuple):
    """A URL in parts. `scheme` is lower case, empty when missing; `port` None when missing; `path` as it stands."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    kind: Literal["name", "ipv4", "ipv6"]


def parse_url(text: str) -> Url | None:
    """The parts of a URL, or None for what is none.

    >>> parse_url("https://WWW.Example.org:8080/a/b?c=d#e")
    Url(scheme='https', host='www.example.org', port=8080, path='/a/b', query='c=d', kind='name')
    >>> parse_url("mailto:a@example.org") is None
    True
    """
    if (usual := _USUAL.fullmatch(text)) is not None and len(usual[2]) <= 253:
        scheme, host, digits, path, query = usual.groups("")
        return Url(scheme, host, int(digits) if digits else None, path, query, "name")
    return _parse(text)


def _parse(text: str) -> Url | None:
    parts = _PARTS.match(text.strip())
    assert parts is not None  # every part may be empty
    authority = parts["authority"]
    if "@" in authority:
        if not parts["slashes"]:
            return None
        authority = authority.rpartition("@")[2]
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    found = _address(match["six"]) if match["six"] else _host(match["host"])
    if found is None or (found[1] == "name" and "." not in found[0] and not parts["slashes"]):
        return None
    host, kind = found
    port = int(match["port"]) if match["port"] else None
    return Url((parts["scheme"] or "").lower(), host, port, parts["path"], parts["query"] or "", kind)


def parse_host(text: str) -> str | None:
    """A host name or IP address in the form that `parse_url` gives it, or None for what is none.

    >>> parse_host("Bücher.example."), parse_host("no host")
    ('xn--bcher-kva.example', None)
    """
    found = _address(text[1:-1]) if text.startswith("[") and text.endswith("]") else _host(text)
    if found is None and ":" in text:
        found = _address(text)
    return found[0] if found else None


def is_address(host: str) -> bool:
    """Whether a host in the form of `parse_url` is an IP address."""
    return ":" in host or (_DIGITS.fullmatch(host) is not None and _address(host) is not None)


def parents(host: str) -> Iterator[str]:
    """The host itself and the names that it is a subdomain of, longest first; an address has none.

    >>> list(parents("a.b.example"))
    ['a.b.example', 'b.example', 'example']
    """
    yield host
    if is_address(host):
        return
    dot = host.find(".")
    while dot >= 0:
        host = host[dot + 1 :]
        yield host
        dot = host.find(".")


def _host(text: str) -> tuple[str, Literal["name", "ipv4", "ipv6"]] | None:
    name = unquote(text) if "%" in text else text
    name = name.lower().removesuffix(".")
    if len(name) > 1000:  # a hundred labels at the most are a name; and IDNA takes its time
        return None
    if not name.isascii():
        try:
            name = name.encode("idna").decode().lower()
        except UnicodeError:  # a label is empty or too long, or has a character that names cannot have
            return None
    if _DIGITS.fullmatch(name):
        return _address(name)
    return (name, "name") if _NAME.fullmatch(name) else None


def _address(text: str) -> tuple[str, Literal["name", "ipv4", "ipv6"]] | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(address), "ipv4" if address.version == 4 else "ipv6"


class UrlField:
    """Where in a document's metadata its URL stands: `metadata.url`, or deeper, `metadata.warc.target_uri`.

    >>> batch = TextBatch.of(["", "", ""], metadata=[b'{"url":"http://a.example"}', b'{"url":5}', None])
    >>> UrlField("metadata.url").of(batch)
    ['http://a.example', None, None]
    """

    def __init__(self, field: str) -> None:
        """Name it.

        Raises:
            ConfigError: it is not in the metadata, or has a key that cannot be read.
        """
        first, *rest = field.split(".") if isinstance(field, str) else [""]
        if first != "metadata" or not rest or not all(rest):
            raise ConfigError(f"field {field!r}: expected one of the document's metadata, like 'metadata.url'")
        try:
            check_field(field)
        except ValueError as error:
            raise ConfigError(f"field {error}") from None
        self._field = JsonField(rest)

    def of(self, batch: TextBatch) -> list[str | None]:
        """The text of the field in each document; None where there is none, or something that is no text."""
        if batch.metadata is None:
            return [None] * len(batch)
        return [None if encoded is None else self._text(encoded) for encoded in batch.metadata]

    def _text(self, encoded: bytes) -> str | None:
        try:
            value = self._field.of(encoded)
        except msgspec.DecodeError:  # an escape that is half of a character; the standard library reads it
            whole = clean_text(json.dumps(json.loads(encoded), ensure_ascii=False))[0]
            value = self._field.of(whole.encode())
        return value if isinstance(value, str) else None
